-- A worker says that it is there, and hears whether cleaning is still on.
create or replace function :PGSTORE_SCHEMA.cleanup_beat()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set worker_seen_at = now();
  return :PGSTORE_SCHEMA.cleanup_status();
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_beat() is
  'For the worker: records that it is there; status started or stopped.';
