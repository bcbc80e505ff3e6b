-- The recurring purge from psql: start it, see it at work, stop it. It needs a worker somewhere:
--
--   npx pgstore migrate --database-url "$DATABASE_URL"
--   npx pgstore worker --database-url "$DATABASE_URL" &
--   psql -v ON_ERROR_STOP=1 -X -f examples/psql/cleanup.sql "$DATABASE_URL"
--
-- It leaves the purge switched off, and purges what has expired in this database.

\set QUIET on
\pset footer off
\pset null '-'

\echo 'Some sessions of one millisecond, for the purge to find.'
do $$
begin
  perform pgstore.session_save(sha256(n::text::bytea), p_version => 0, p_ttl => '1 millisecond')
  from generate_series(1, 3) as n;
end
$$;

\echo 'Start: one schedule for all servers. Starting it again changes nothing but the interval.'
select status, enabled, every
from pgstore.cleanup_start('1 second');

\echo 'An invalid interval is answered with a status, and changes nothing.'
select status, enabled, every
from pgstore.cleanup_start('1 microsecond');

-- A running worker knows of it by now. The script waits until one has purged and recorded the run, for at most half a minute.
do $$
begin
  for attempt in 1 .. 300 loop
    exit when pgstore.count_expired() = 0 and (pgstore.cleanup_status()).total_purged >= 3;
    perform pg_sleep(0.1);
    commit;
  end loop;
end
$$;

\echo 'Status: the schedule, when a worker was last seen, and what the last run did.'
select
  enabled,
  every,
  worker_seen_at > now() - interval '1 minute' as "a worker is there",
  next_run_at > now() - interval '5 seconds' as "a run is set",
  total_purged >= 3 as "all were purged",
  last_error
from pgstore.cleanup_status();
select pgstore.count_expired() as due;

\echo 'Stop: for all servers. Workers wait for the next start.'
select status, enabled, next_run_at
from pgstore.cleanup_stop();
