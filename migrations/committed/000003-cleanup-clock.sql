--! Previous: sha1:d7f2b91feb696944aa8b559b382f8b869bb89066
--! Hash: sha1:7e54e0e167635966b1805e038774b3555baed6a5
--! Message: cleanup clock

--! split: 1-current.sql
-- Tables and indexes here; functions by include, one line a changed file, grants.sql last.
--! Included cleanup_beat.sql
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
--! EndIncluded cleanup_beat.sql
--! Included cleanup_begin_run.sql
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
--! EndIncluded cleanup_begin_run.sql
--! Included cleanup_end_run.sql
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
--! EndIncluded cleanup_end_run.sql
--! Included cleanup_start.sql
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
--! EndIncluded cleanup_start.sql
--! Included cleanup_status.sql
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
--! EndIncluded cleanup_status.sql
--! Included count_expired.sql
-- Expired sessions that the purge has not deleted yet.
create or replace function :PGSTORE_SCHEMA.count_expired()
  returns bigint
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= v_now
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_expired() is
  'How many expired sessions wait to be purged.';
--! EndIncluded count_expired.sql
--! Included count_live.sql
-- Sessions that have not expired, counted one by one: seconds for millions. See session_stats for an estimate.
create or replace function :PGSTORE_SCHEMA.count_live()
  returns bigint
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at > v_now
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_live() is
  'How many live sessions there are.';
--! EndIncluded count_live.sql
--! Included purge_expired.sql
-- Deletes up to p_limit expired sessions, oldest first. Rows that somebody else holds are skipped, so that several purges
-- run side by side and none waits. Call it until it returns less than the limit.
create or replace function :PGSTORE_SCHEMA.purge_expired(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= v_now
    order by s.expires_at
    limit greatest(coalesce(p_limit, 0), 0)
    for update skip locked
  )
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.ctid = any (array(select due.ctid from due));
  get diagnostics v_purged = row_count;
  return v_purged;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_expired(integer) is
  'Deletes one batch of expired sessions, oldest first, skipping locked rows; returns how many.';
--! EndIncluded purge_expired.sql
--! Included grants.sql
-- PUBLIC may execute every new function unless that is taken back. Last in every migration.
revoke all on schema :PGSTORE_SCHEMA from public;
revoke all on all tables in schema :PGSTORE_SCHEMA from public;
revoke all on all sequences in schema :PGSTORE_SCHEMA from public;
revoke all on all functions in schema :PGSTORE_SCHEMA from public;
--! EndIncluded grants.sql
