-- A worker records its run, p_error being a code where it failed, and announces it.
create or replace function :PGSTORE_SCHEMA.cleanup_end_run(
  p_purged bigint,
  p_ms integer,
  p_error text default null
)
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_purged constant bigint := greatest(coalesce(p_purged, 0), 0);
  v_ms constant integer := greatest(coalesce(p_ms, 0), 0);
  v_error constant text := left(p_error, 100);
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = v_now,
    last_run_at = v_now,
    last_purged = v_purged,
    last_ms = v_ms,
    total_purged = c.total_purged + v_purged,
    last_error = v_error;
  perform :PGSTORE_SCHEMA.cleanup_announce(
    case when v_error is null then 'purged' else 'failed' end,
    jsonb_build_object('purged', v_purged, 'ms', v_ms, 'remaining', :PGSTORE_SCHEMA.count_expired())
      || case when v_error is null then '{}' else jsonb_build_object('code', v_error) end
  );
  return :PGSTORE_SCHEMA.cleanup_status();
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_end_run(bigint, integer, text) is
  'For the worker: records a run and announces purged, or failed with a code.';
