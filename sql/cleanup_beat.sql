-- A worker says that it is there, and hears whether cleaning is still on. A next run further ahead than the interval, set while
-- the server's clock was ahead, is pulled back.
create or replace function :PGSTORE_SCHEMA.cleanup_beat()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = v_now,
    next_run_at = case
      when c.next_run_at > v_now + c.every then date_trunc('milliseconds', v_now + c.every)
      else c.next_run_at
    end;
  return :PGSTORE_SCHEMA.cleanup_status();
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_beat() is
  'For the worker: records that it is there; status started or stopped.';
