-- Forgets a consumer of endings that will not come back, and what waits for it. Returns how many endings did.
create or replace function :PGSTORE_SCHEMA.endings_forget(p_consumer text)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_forgotten bigint;
begin
  if p_consumer = '' then
    return 0;
  end if;
  -- See endings_spread: nothing is spread to it from here on.
  update :PGSTORE_SCHEMA.ending_consumers as c
  set added_at = statement_timestamp()
  where c.name = '';
  delete from :PGSTORE_SCHEMA.ending_consumers as c
  where c.name = p_consumer;
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.consumer = p_consumer;
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;
comment on function :PGSTORE_SCHEMA.endings_forget(text) is
  'Forgets a consumer of endings; returns how many waited for it.';
