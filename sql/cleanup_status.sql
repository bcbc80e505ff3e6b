-- The schedule of the recurring purge and what became of it: one row, always. Shows no next run further ahead than the
-- interval: the next look of a worker pulls it back. Volatile, as every function: what is stable, a proxy may send to a standby.
create or replace function :PGSTORE_SCHEMA.cleanup_status()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_state :PGSTORE_SCHEMA.cleanup_state;
begin
  select
    c.enabled,
    c.every,
    c.worker_seen_at,
    case when c.next_run_at > v_now + c.every then date_trunc('milliseconds', v_now + c.every) else c.next_run_at end,
    c.last_run_at,
    c.last_purged,
    c.last_ms,
    c.total_purged,
    c.last_error,
    case when c.enabled then 'started' else 'stopped' end
  into v_state
  from :PGSTORE_SCHEMA.cleanup as c;
  return v_state;
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_status() is
  'The recurring purge: its schedule, its last run, and status started or stopped.';
