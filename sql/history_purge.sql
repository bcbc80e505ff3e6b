-- Deletes up to p_limit rows of the history that were kept for as long as they should be, and what still waits of them. It waits for
-- nobody, and looks at no more than p_limit rows: numbers are drawn in the order of time. For the functions of this schema; granted
-- to nobody.
create or replace function :PGSTORE_SCHEMA.history_purge(p_limit integer)
  returns void
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
  select array_agg(old.id) into v_ids
  from (
    select h.id
    from :PGSTORE_SCHEMA.history as h
    where h.id = any (array(
      select first.id
      from (
        select f.id, f.happened_at
        from :PGSTORE_SCHEMA.history as f
        order by f.id
        limit p_limit
      ) as first
      where first.happened_at <= statement_timestamp() - (select a.keep from :PGSTORE_SCHEMA.audit as a where a.id)
    ))
    for update skip locked
  ) as old;
  if v_ids is not null then
    delete from :PGSTORE_SCHEMA.history as h
    where h.id = any (v_ids);
    -- One that a consumer holds in its transaction stays, and endings_take deletes it if that transaction does not.
    delete from :PGSTORE_SCHEMA.ending_deliveries as d
    where d.ctid = any (array(
      select e.ctid
      from :PGSTORE_SCHEMA.ending_consumers as c
      join :PGSTORE_SCHEMA.ending_deliveries as e on e.consumer = c.name
      where e.id = any (v_ids)
      for update of e skip locked
    ));
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.history_purge(integer) is
  'Deletes one batch of the history that has been kept long enough; internal.';
