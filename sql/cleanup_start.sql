-- Switches the recurring purge on, or changes its interval, for everybody, and rings the bell. A new schedule is due at once;
-- starting one that is on already, as each server of a fleet does, leaves its clock alone, unless
-- the next run is further ahead than the interval, as the server's clock was. An interval under 100 milliseconds
-- or over a year changes nothing: status invalid. So does one with a negative part: '-1 month 31 days' is nothing in some months.
create or replace function :PGSTORE_SCHEMA.cleanup_start(p_every interval default '5 minutes')
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_state :PGSTORE_SCHEMA.cleanup_state;
begin
  -- By its length: in a comparison of intervals a year has 360 days.
  if extract(epoch from p_every) between 0.1 and 366 * 86400
    and extract(year from p_every) >= 0
    and extract(month from p_every) >= 0
    and extract(day from p_every) >= 0
    and extract(hour from p_every) >= 0
    and extract(minute from p_every) >= 0
    and extract(second from p_every) >= 0
  then
    update :PGSTORE_SCHEMA.cleanup as c
    set
      enabled = true,
      every = p_every,
      next_run_at = case
        when not c.enabled or c.every <> p_every then date_trunc('milliseconds', v_now)
        when c.next_run_at > v_now + p_every then date_trunc('milliseconds', v_now + p_every)
        else c.next_run_at
      end;
    perform :PGSTORE_SCHEMA.cleanup_announce(
      'started',
      jsonb_build_object('every_ms', (extract(epoch from p_every) * 1000)::bigint)
    );
    return :PGSTORE_SCHEMA.cleanup_status();
  end if;
  v_state := :PGSTORE_SCHEMA.cleanup_status();
  v_state.status := 'invalid';
  return v_state;
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_start(interval) is
  'Switches the recurring purge on at this interval, from 100 ms to a year, for everybody; status started or invalid.';
