-- Gives each consumer its own of the endings that are there for all, up to 10,000; where there is no consumer, forgets them. Returns
-- how many. It waits for nobody: what another transaction is spreading is left to it. For the functions of this schema; granted to
-- nobody.
--
-- The lock on the consumer '' is shared by all who spread, and excludes the one who adds a consumer: an ending is spread either
-- before it is added, or to it too. Under repeatable read, where this would not see what was added, it fails to serialize.
create or replace function :PGSTORE_SCHEMA.endings_spread()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_ids bigint[];
begin
  if not exists (select from :PGSTORE_SCHEMA.ending_deliveries as d where d.consumer = '') then
    return 0;
  end if;
  perform from :PGSTORE_SCHEMA.ending_consumers as c
  where c.name = ''
  for share skip locked;
  if not found then
    return 0;
  end if;

  select coalesce(array_agg(fresh.id), '{}') into v_ids
  from (
    select d.id
    from :PGSTORE_SCHEMA.ending_deliveries as d
    where d.consumer = ''
    order by d.id
    limit 10000
    for update skip locked
  ) as fresh;
  insert into :PGSTORE_SCHEMA.ending_deliveries (consumer, id)
  select c.name, fresh.id
  from :PGSTORE_SCHEMA.ending_consumers as c, unnest(v_ids) as fresh (id)
  where c.name > ''
  on conflict do nothing;
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.consumer = ''
    and d.id = any (v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.endings_spread() is
  'Gives each consumer its own of the endings that are there for all; internal.';
