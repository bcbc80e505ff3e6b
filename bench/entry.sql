-- What a transaction pays to know whose session it is, and row-level security to ask: docs/row-level-security.md. On a database with
-- pgstore's schema, as its owner: psql -q -f bench/entry.sql
select from pgstore.session_put(sha256('a session for a measurement'::bytea), '{}', '1 hour', 'user 7');
create temp table t (kind text, us float8);
create temp table notes (owner text, body text);
insert into notes select 'user ' || (n % 100), repeat('x', 50) from generate_series(1, 10000) as n;
analyze notes;
do $$
declare t0 timestamptz; k bytea := sha256('a session for a measurement'::bytea); x text; y bigint;
begin
  for r in 1..2000 loop
    commit;
    t0 := clock_timestamp(); perform 1; commit;
    insert into t values ('empty transaction', extract(epoch from clock_timestamp() - t0) * 1e6); commit;
    t0 := clock_timestamp(); perform * from pgstore.session_enter(k); commit;
    insert into t values ('session_enter, transaction', extract(epoch from clock_timestamp() - t0) * 1e6); commit;
    perform * from pgstore.session_enter(k);
    t0 := clock_timestamp(); x := pgstore.current_session_user();
    insert into t values ('current_session_user', extract(epoch from clock_timestamp() - t0) * 1e6);
    t0 := clock_timestamp(); x := pgstore.current_session_user();
    insert into t values ('current_session_user, again', extract(epoch from clock_timestamp() - t0) * 1e6);
  end loop;
  for r in 1..60 loop
    perform * from pgstore.session_enter(k);
    t0 := clock_timestamp(); select count(*) into y from notes where owner = 'user 7';
    insert into t values ('10,000 rows, owner = constant', extract(epoch from clock_timestamp() - t0) * 1e6);
    t0 := clock_timestamp(); select count(*) into y from notes where owner = (select pgstore.current_session_user());
    insert into t values ('10,000 rows, (select …)', extract(epoch from clock_timestamp() - t0) * 1e6);
    t0 := clock_timestamp(); select count(*) into y from notes where owner = pgstore.current_session_user();
    insert into t values ('10,000 rows, bare', extract(epoch from clock_timestamp() - t0) * 1e6);
  end loop;
end $$;
select
  kind,
  count(*),
  round(min(us)) as min,
  round(percentile_cont(0.1) within group (order by us)) as p10,
  round(percentile_cont(0.5) within group (order by us)) as median
from t
group by kind
order by kind;
select from pgstore.session_destroy(sha256('a session for a measurement'::bytea));
