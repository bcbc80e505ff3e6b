-- The schedule of the recurring purge and what became of it: one row, always.
create or replace function :PGSTORE_SCHEMA.cleanup_status()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_state :PGSTORE_SCHEMA.cleanup_state;
begin
  select
    c.enabled,
    c.every,
    c.worker_seen_at,
    c.next_run_at,
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
