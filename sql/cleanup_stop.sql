-- Switches the recurring purge off for everybody, and rings the bell. A purge under way ends after the batch in hand.
create or replace function :PGSTORE_SCHEMA.cleanup_stop()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    enabled = false,
    next_run_at = null;
  perform :PGSTORE_SCHEMA.cleanup_announce('stopped', '{}');
  return :PGSTORE_SCHEMA.cleanup_status();
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_stop() is
  'Switches the recurring purge off for everybody; status stopped.';
