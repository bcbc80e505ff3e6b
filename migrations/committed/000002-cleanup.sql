--! Previous: sha1:d564108aaffbb23255039fe6a1404ba5af717d9b
--! Hash: sha1:d7f2b91feb696944aa8b559b382f8b869bb89066
--! Message: cleanup

--! split: 1-current.sql
-- The recurring purge: one row of state, read and written by the functions below.

create table :PGSTORE_SCHEMA.cleanup (
  enabled boolean not null,
  every interval not null,
  worker_seen_at timestamptz,
  next_run_at timestamptz,
  last_run_at timestamptz,
  last_purged bigint,
  -- squawk-ignore prefer-bigint-over-int
  last_ms integer,
  total_purged bigint not null,
  last_error text
) with (fillfactor = 50);
comment on table :PGSTORE_SCHEMA.cleanup is 'The schedule of the recurring purge and its last run: one row.';
comment on column :PGSTORE_SCHEMA.cleanup.enabled is 'Whether the purge runs.';
comment on column :PGSTORE_SCHEMA.cleanup.every is 'The interval between two runs.';
comment on column :PGSTORE_SCHEMA.cleanup.worker_seen_at is 'When a worker last showed itself.';
comment on column :PGSTORE_SCHEMA.cleanup.next_run_at is 'When the next run is due; null while it is off.';
comment on column :PGSTORE_SCHEMA.cleanup.last_run_at is 'When a run last ended.';
comment on column :PGSTORE_SCHEMA.cleanup.last_purged is 'How many sessions that run deleted.';
comment on column :PGSTORE_SCHEMA.cleanup.last_ms is 'How many milliseconds it took.';
comment on column :PGSTORE_SCHEMA.cleanup.total_purged is 'How many sessions all runs deleted.';
comment on column :PGSTORE_SCHEMA.cleanup.last_error is 'The code that the last run failed with; null when it did not.';

-- squawk-ignore require-concurrent-index-creation
create unique index cleanup_one_row_idx on :PGSTORE_SCHEMA.cleanup ((true));

insert into :PGSTORE_SCHEMA.cleanup (enabled, every, total_purged)
values (false, '5 minutes', 0);

create type :PGSTORE_SCHEMA.cleanup_state as (
  enabled boolean,
  every interval,
  worker_seen_at timestamptz,
  next_run_at timestamptz,
  last_run_at timestamptz,
  last_purged bigint,
  last_ms integer,
  total_purged bigint,
  last_error text,
  status text
);
comment on type :PGSTORE_SCHEMA.cleanup_state is 'What the cleanup functions answer: the row of state, and the status of the call.';

--! Included cleanup_announce.sql
-- Rings the bell of <schema>_cleanup: whoever hears it reads the table. Counts and times only. For the functions of this
-- schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.cleanup_announce(p_type text, p_details jsonb)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify(':PGSTORE_SCHEMA' || '_cleanup', (jsonb_build_object('type', p_type) || p_details)::text);
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_announce(text, jsonb) is
  'Announces what the recurring purge does on its channel; internal.';
--! EndIncluded cleanup_announce.sql
--! Included cleanup_status.sql
-- The schedule of the recurring purge and what became of it: one row, always.
create or replace function :PGSTORE_SCHEMA.cleanup_status()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  stable parallel safe
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
--! EndIncluded cleanup_status.sql
--! Included cleanup_start.sql
-- Switches the recurring purge on, or changes its interval, for everybody, and rings the bell. A new schedule is due at once;
-- starting one that is on already, as each server of a fleet does, leaves its clock alone. An interval under 100 milliseconds
-- or over a year changes nothing: status invalid. So does one with a negative part: '-1 month 31 days' is nothing in some months.
create or replace function :PGSTORE_SCHEMA.cleanup_start(p_every interval default '5 minutes')
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
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
        when c.enabled and c.every = p_every then c.next_run_at
        else date_trunc('milliseconds', now())
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
--! Included cleanup_stop.sql
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
--! EndIncluded cleanup_stop.sql
--! Included cleanup_begin_run.sql
-- A worker asks whether a run is due. Of several that ask at once one gets status due, and the next run is set before this one
-- begins, so that a worker killed in the middle delays nothing. The others get started, or stopped where cleaning is off.
create or replace function :PGSTORE_SCHEMA.cleanup_begin_run()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_state :PGSTORE_SCHEMA.cleanup_state;
  v_is_due boolean;
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = now(),
    -- Whole milliseconds: a job is set for this moment by programs whose clocks count no less.
    next_run_at = date_trunc('milliseconds', now() + c.every)
  where c.enabled
    and c.next_run_at <= now();
  v_is_due := found;
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
--! Included cleanup_beat.sql
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
--! EndIncluded cleanup_beat.sql
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
  v_purged constant bigint := greatest(coalesce(p_purged, 0), 0);
  v_ms constant integer := greatest(coalesce(p_ms, 0), 0);
  v_error constant text := left(p_error, 100);
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = now(),
    last_run_at = now(),
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
--! Included session_stats.sql
-- How the table stands, for whoever watches over it: counts, sizes, and how well updates and vacuuming go.
--
-- What it reads is bounded, whatever the table's size: of a table of more than p_pages pages it takes a random sample of as
-- many, and is_estimate says so; of the index it reads at most 10,000 expired entries. Sizes, and what the statistics
-- collector knows, cost next to nothing.
--
-- used_bytes is what the rows take up, as far as they are in the table itself: much less than table_bytes is bloat.
create or replace function :PGSTORE_SCHEMA.session_stats(
  p_pages integer default 1000,
  out live bigint,
  out expired bigint,
  out anonymous bigint,
  out is_estimate boolean,
  out oldest_expired_at timestamptz,
  out table_bytes bigint,
  out used_bytes bigint,
  out index_bytes bigint,
  out total_bytes bigint,
  out updates bigint,
  out heap_only_updates bigint,
  out dead_rows bigint,
  out vacuumed_at timestamptz,
  out migration text
)
  returns record
  language plpgsql
  stable parallel restricted
  security definer
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
  set enable_bitmapscan = off
as $$
declare
  v_most constant integer := 10000;
  v_table constant regclass := ':PGSTORE_SCHEMA.sessions';
  v_pages bigint;
  v_percent real;
  v_expired bigint;
begin
  table_bytes := pg_relation_size(v_table);
  index_bytes := pg_indexes_size(v_table);
  total_bytes := pg_total_relation_size(v_table);
  updates := pg_stat_get_tuples_updated(v_table);
  heap_only_updates := pg_stat_get_tuples_hot_updated(v_table);
  dead_rows := pg_stat_get_dead_tuples(v_table);
  vacuumed_at := greatest(pg_stat_get_last_vacuum_time(v_table), pg_stat_get_last_autovacuum_time(v_table));

  v_pages := table_bytes / current_setting('block_size')::integer;
  v_percent := least(100, 100.0 * greatest(p_pages, 1) / greatest(v_pages, 1));
  is_estimate := v_percent < 100;
  select
    count(*) filter (where s.expires_at > now()),
    count(*) filter (where s.expires_at > now() and s.user_id is null),
    count(*) filter (where s.expires_at <= now()),
    -- A row's fixed part, its key and the page's pointer to it take 100 bytes; data beyond some 2,000 lives elsewhere.
    coalesce(sum(100 + coalesce(octet_length(s.user_id), 0) + least(pg_column_size(s.data), 2000)), 0)
  into live, anonymous, v_expired, used_bytes
  from :PGSTORE_SCHEMA.sessions as s tablesample system (v_percent);
  live := round(live * 100 / v_percent);
  anonymous := round(anonymous * 100 / v_percent);
  used_bytes := round(used_bytes * 100 / v_percent);

  -- Few among many would not show in a sample, so they are counted, up to a limit.
  select count(*)
  into expired
  from (
    select
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= now()
    order by s.expires_at
    limit v_most
  ) as counted;
  if expired = v_most then
    expired := greatest(expired, round(v_expired * 100 / v_percent));
    is_estimate := true;
  end if;

  select s.expires_at
  into oldest_expired_at
  from :PGSTORE_SCHEMA.sessions as s
  where s.expires_at <= now()
  order by s.expires_at
  limit 1;

  -- A host that applies our SQL by its own means may have left the ledger out.
  if to_regclass(':PGSTORE_SCHEMA.migrations') is not null then
    select m.name
    into migration
    from :PGSTORE_SCHEMA.migrations as m
    order by m.name desc
    limit 1;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_stats(integer) is
  'How the table stands: counts (estimated from a sample of p_pages pages when the table is larger), sizes, heap-only updates, vacuuming, and the newest migration.';
--! EndIncluded session_stats.sql
--! Included grants.sql
-- PUBLIC may execute every new function unless that is taken back. Last in every migration.
revoke all on schema :PGSTORE_SCHEMA from public;
revoke all on all tables in schema :PGSTORE_SCHEMA from public;
revoke all on all sequences in schema :PGSTORE_SCHEMA from public;
revoke all on all functions in schema :PGSTORE_SCHEMA from public;
--! EndIncluded grants.sql
