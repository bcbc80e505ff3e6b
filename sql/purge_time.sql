-- When a session that expires at this moment is due for purging: at the next multiple of a tenth of its ttl. The indexed column
-- holds this, and not the expiry: saves within one step leave it as it is, and only then is the update heap-only.
--
-- Written into the expressions of its callers, as valid_life; stable as the sum of a time and an interval is, for what is called
-- immutable and holds something stable is not written in.
create or replace function :PGSTORE_SCHEMA.purge_time(p_expires_at timestamptz, p_ttl interval)
  returns timestamptz
  language sql
  stable parallel safe
as $$
  select pg_catalog.date_bin(
    pg_catalog.make_interval(secs => pg_catalog.date_part('epoch', p_ttl) / 10), p_expires_at, timestamptz '2000-01-01 00:00:00+00'
  ) + pg_catalog.make_interval(secs => pg_catalog.date_part('epoch', p_ttl) / 10)
$$;
comment on function :PGSTORE_SCHEMA.purge_time(timestamptz, interval) is
  'When a session that expires then may be purged: the expiry rounded up to a tenth of the ttl; internal.';
