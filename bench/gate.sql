-- What looking for marks costs a lone read, a transaction each: with the gate, and the same function without it. Made in turns of ten, in
-- random order, so that drift concerns both alike. On a database with pgstore's schema, as its owner: psql -q -f bench/gate.sql
do $$
begin
  -- The function as it is, without the one condition; in a schema of its own, gone at the end.
  create schema pgstore_bench;
  execute replace(
    regexp_replace(pg_get_functiondef('pgstore.session_get(bytea)'::regprocedure), '\n\s+and pgstore\.is_standing\([^\n]*;', ';'),
    'FUNCTION pgstore.session_get', 'FUNCTION pgstore_bench.session_get'
  );
end
$$;
select count(*) as sessions
from generate_series(1, 20000) as n, pgstore.session_put(sha256(n::text::bytea), jsonb_build_object('n', n, 'x', repeat('x', 200)), '1 hour');
vacuum analyze pgstore.sessions;
create temp table t (kind text, us float8);
do $$
declare
  v_kind text;
  v_keys bytea[];
  v_began timestamptz;
begin
  for n in 1..1500 loop
    v_keys := array(select sha256((1 + (random() * 19999)::integer)::text::bytea) from generate_series(1, 10));
    commit;
    for v_kind in select k from unnest(array['with the gate', 'without']) as k order by random() loop
      perform from pgstore.session_get(v_keys[1]);
      commit;
      v_began := clock_timestamp();
      if v_kind = 'without' then
        for i in 1..10 loop
          perform from pgstore_bench.session_get(v_keys[i]);
          commit;
        end loop;
      else
        for i in 1..10 loop
          perform from pgstore.session_get(v_keys[i]);
          commit;
        end loop;
      end if;
      insert into t values (v_kind, extract(epoch from clock_timestamp() - v_began) * 1e5);
      commit;
    end loop;
  end loop;
end
$$;
select
  kind,
  count(*),
  round(min(us)::numeric, 1) as min,
  round(percentile_cont(0.05) within group (order by us)::numeric, 1) as p5,
  round(percentile_cont(0.25) within group (order by us)::numeric, 1) as p25,
  round(percentile_cont(0.5) within group (order by us)::numeric, 1) as median
from t
group by kind
order by kind;
drop schema pgstore_bench cascade;
