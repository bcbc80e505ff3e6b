-- Deletes what the history holds of a user, and the endings among it that consumers have not had yet. Returns how many rows.
create or replace function :PGSTORE_SCHEMA.history_erase(p_user_id text)
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
  with erased as (
    delete from :PGSTORE_SCHEMA.history as h
    where h.user_id = p_user_id
    returning h.id
  )
  select coalesce(array_agg(erased.id), '{}') into v_ids
  from erased;
  -- One that a consumer holds in its transaction stays, and endings_take deletes it if that transaction does not.
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.ctid = any (array(
    select e.ctid
    from :PGSTORE_SCHEMA.ending_consumers as c
    join :PGSTORE_SCHEMA.ending_deliveries as e on e.consumer = c.name
    where e.id = any (v_ids)
    for update of e skip locked
  ));
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.history_erase(text) is
  'Deletes the history of a user; returns how many rows.';
