-- Whether this is a ttl or a lifetime: from a millisecond to a hundred years; null where it is null. Parts of different sign may
-- cancel out in a comparison and still leave the calendar, so each is looked at.
--
-- In language sql and without a path of its own, so that Postgres writes it into the expressions of its callers, whose path is
-- pinned: it costs no call. Granted to nobody.
create or replace function :PGSTORE_SCHEMA.valid_life(p_life interval)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select p_life between interval '1 millisecond' and interval '100 years'
    and pg_catalog.date_part('epoch', p_life) >= 0.001
    and pg_catalog.abs(pg_catalog.date_part('year', p_life)) <= 100
    and pg_catalog.abs(pg_catalog.date_part('day', p_life)) <= 36600
$$;
comment on function :PGSTORE_SCHEMA.valid_life(interval) is
  'Whether a session can live so long: from a millisecond to a hundred years; internal.';
