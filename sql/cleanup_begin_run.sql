-- A worker asks whether a run is due. Of several that ask at once one gets status due, and the next run is set before this one
-- begins, so that a worker killed in the middle delays nothing. The others get started, or stopped where cleaning is off. A next
-- run further ahead than the interval, set while the server's clock was ahead, is pulled back.
create or replace function :PGSTORE_SCHEMA.cleanup_begin_run()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_state :PGSTORE_SCHEMA.cleanup_state;
  v_is_due boolean;
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = v_now,
    -- Whole milliseconds: a job is set for this moment by programs whose clocks count no less.
    next_run_at = date_trunc('milliseconds', v_now + c.every)
  where c.enabled
    and c.next_run_at <= v_now;
  v_is_due := found;
  if not v_is_due then
    update :PGSTORE_SCHEMA.cleanup as c
    set next_run_at = date_trunc('milliseconds', v_now + c.every)
    where c.enabled
      and c.next_run_at > v_now + c.every;
  end if;
  v_state := :PGSTORE_SCHEMA.cleanup_status();
  if v_is_due then
    v_state.status := 'due';
  end if;
  return v_state;
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_begin_run() is
  'For the worker: claims a run that is due and sets the next; status due, started (not due) or stopped.';
