-- When a session that expires at this moment is due for purging: at most a fifth of its ttl later. The indexed column holds this,
-- and not the expiry: it stays what it was before, p_before, until the expiry has overtaken it, and only then is it set anew, the
-- whole fifth later. The updates in between are heap-only.
--
-- Written into the expressions of its callers, as valid_life; stable as the sum of a time and an interval is, for what is called
-- immutable and holds something stable is not written in.
create or replace function :PGSTORE_SCHEMA.purge_time(p_expires_at timestamptz, p_ttl interval, p_before timestamptz)
  returns timestamptz
  language sql
  stable parallel safe
as $$
  select case
    when p_before >= p_expires_at
      and p_before <= p_expires_at + pg_catalog.make_interval(secs => pg_catalog.date_part('epoch', p_ttl) / 5)
      then p_before
    else p_expires_at + pg_catalog.make_interval(secs => pg_catalog.date_part('epoch', p_ttl) / 5)
  end
$$;
comment on function :PGSTORE_SCHEMA.purge_time(timestamptz, interval, timestamptz) is
  'When a session that expires then may be purged: within a fifth of its ttl after that, and the same as before where that is; internal.';
