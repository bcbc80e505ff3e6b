// Where each function of ours runs when it is called on a PL/Proxy proxy: on the partition of its key, on those of its keys, on all of
// them, or on the proxy itself.
//
// A key's partition is its first byte modulo their number. A null or empty key goes to the first one, which answers as ever.

/**
 * `on`: what PL/Proxy hashes, or `all`; `split`: the arrays that it deals out. Without a `body` the function itself is PL/Proxy's.
 * With one, that is plpgsql around helpers, which are PL/Proxy's, and whose names begin with `proxy_`; without `on` it has none.
 */
export interface Route {
  readonly on?: string
  readonly split?: string
  /** Variables of the body. */
  readonly declare?: string
  /** `proxy` stands for this function's helper, with all its arguments; `helper(…)` for the same with others. */
  readonly body?: string
  /** Parameters of the helper and what it returns, where they are not the function's. */
  readonly helper?: string
  /** What the helper runs there, where that is not the function. */
  readonly select?: string
}

const byKey: Route = { on: byteOf('p_key') }

/** A count over all partitions. */
const sum: Route = {
  on: 'all',
  body: 'return (select coalesce(sum(n), 0)::bigint from :proxy as n);',
}

const result = 'key, status, id, version, expires_at, data'

/**
 * PL/Proxy prints jsonb to send it, and a number of eight characters may print as 131,072: what is larger than what the function there
 * would print goes as a stand-in that gets the same verdict.
 */
function fitting(set: string, unset: string): string {
  return `if p_max_length is distinct from 0 and pg_column_size(${set}) > 5 * greatest(coalesce(p_max_length, 0), 0)::bigint + 64 then
    ${set} := :schema.proxy_stand_in(${set}, ${unset}, p_max_length);
  end if;`
}

const lives = `if :schema.valid_lives(p_lives) is not true then
    p_lives := '[]';
  end if;`

/** A row moves with its key only within its partition: the client draws tokens until the first byte is the same. */
const sameByte = `if octet_length(p_key) = 32 and octet_length(p_new_key) = 32 and get_byte(p_key, 0) <> get_byte(p_new_key, 0) then
    key := p_key;
    status := 'invalid';
    return;
  end if;`

const into = `select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into ${result}
  from :proxy as r;`

/** A body of these statements around one call. */
function around(...statements: readonly string[]): Route {
  return { ...byKey, body: [...statements, into].join('\n  ') }
}

/** A transaction on a proxy has no session, whose partition commits by itself. */
const refused: Route = {
  body: `raise exception 'Through PL/Proxy no transaction works for a session: it lies in another database' using errcode = '0A000';`,
}

const actor = `nullif(current_setting('pgstore.actor', true), '')`
const acted = (parameter: string) =>
  `case when set_config('pgstore.actor', coalesce(p_actor, ''), true) is not null then ${parameter} end`

/** By signature, as in grants.ts; what is neither here nor in `localFiles` is missing on a proxy. */
export const routes: Readonly<Record<string, Route>> = {
  'session_get(bytea)': byKey,
  'session_get(bytea[])': { on: byteOf('p_keys'), split: 'p_keys' },
  'session_save(bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean)':
    around(fitting('p_set', 'p_unset')),
  'session_save(bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean, jsonb)':
    around(lives, fitting('p_set', 'p_unset')),
  'session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval, boolean)': {
    on: byteOf('p_keys'),
    split: 'p_keys, p_sets, p_unsets, p_ttls, p_versions, p_user_ids',
    declare: `v_length integer := least(
    coalesce(cardinality(p_keys), 0), coalesce(cardinality(p_sets), 0), coalesce(cardinality(p_unsets), 0),
    coalesce(cardinality(p_ttls), 0), coalesce(cardinality(p_versions), 0), coalesce(cardinality(p_user_ids), 0)
  );
  v_most integer := greatest(
    cardinality(p_keys), cardinality(p_sets), cardinality(p_unsets), cardinality(p_ttls), cardinality(p_versions),
    cardinality(p_user_ids)
  );
  v_surely_fits bigint := 5 * greatest(coalesce(p_max_length, 0), 0)::bigint + 64;`,
    body: `if p_max_length is distinct from 0 and pg_column_size(p_sets) > v_surely_fits or pg_column_size(p_unsets) > 65536 then
    p_unsets := array(
      select case when u.unset is null or pg_column_size(u.unset) <= 65536 or jsonb_typeof(u.unset) = 'array' and not jsonb_path_exists(
        u.unset, 'strict $[*] ? (@.type() != "string")'
      ) then u.unset else 'null' end
      from unnest(p_unsets) with ordinality as u (unset, position)
      order by u.position
    );
    p_sets := array(
      select case when i.set is null or p_max_length = 0 or pg_column_size(i.set) <= v_surely_fits then i.set else :schema.proxy_stand_in(
        i.set,
        case when jsonb_typeof(i.unset) = 'array' then array(select jsonb_array_elements_text(i.unset)) end,
        p_max_length
      ) end
      from unnest(p_sets, p_unsets) with ordinality as i (set, unset, position)
      where i.position <= cardinality(p_sets)
      order by i.position
    );
  end if;
  if v_length = v_most then
    return query select * from :proxy;
    return;
  end if;
  -- To PL/Proxy arrays of different lengths are an error: what is too long is answered here.
  return query select * from :helper(
    p_keys[:v_length], p_sets[:v_length], p_unsets[:v_length], p_ttls[:v_length], p_versions[:v_length],
    p_user_ids[:v_length], p_max_length, p_lifetime, p_relaxed
  );
  return query
    select p_keys[place], 'invalid', null::bigint, null::integer, null::timestamptz, null::jsonb
    from generate_series(v_length + 1, v_most) as place;`,
  },
  'session_destroy(bytea, text)': byKey,
  'session_destroy(bytea[], text)': { ...sum, on: byteOf('p_keys'), split: 'p_keys' },
  'session_try_destroy(bytea[])': { on: byteOf('p_keys'), split: 'p_keys' },
  'session_regenerate(bytea, bytea, interval, text, interval)': around(sameByte),
  'session_regenerate(bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean)':
    around(sameByte, fitting('p_set', 'p_unset')),
  'session_regenerate(bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean, jsonb)':
    around(sameByte, lives, fitting('p_set', 'p_unset')),
  'session_limit(text, integer, bytea, text)': {
    on: 'int8and(p_ids, 255)',
    split: 'p_ids',
    helper: '(p_user_id text, p_ids bigint[], p_reason text) returns setof bigint',
    select: 'session_revoke_some',
    // No lock spans the partitions: one on this proxy, so that of sign-ins at once the next sees whom the one before has ended.
    body: `if coalesce(p_max, 0) < 1 or p_user_id is null then
    return 0;
  end if;
  perform pg_advisory_xact_lock(hashtext(':schema.session_limit'), hashtext(p_user_id));
  return (
    select coalesce(sum(n), 0)::bigint
    from :helper(p_user_id, array(
      select s.id
      from :schema.proxy_session_sign_ins(p_user_id, p_except) as s
      order by s.is_spared desc, s.signed_in_at desc nulls last, s.id desc
      offset p_max
    ), coalesce(p_reason, 'limited')) as n
  );`,
  },
  'session_take(bytea, text)': byKey,
  'session_increment(bytea, text, numeric, interval, integer)': byKey,
  'session_put(bytea, jsonb, interval, text, integer, interval)': around(fitting('p_data', `'{}'`)),
  'session_bind(bytea, bigint, bytea, text, bytea)': byKey,
  'session_binding(bytea)': byKey,
  'session_rebind(bytea, bytea, bytea, interval, interval)': byKey,
  'session_unbound(bytea, bytea, boolean)': byKey,
  'announcement_number()': sum,
  'announcement_echo(text)': sum,
  'session_list(text, boolean)': {
    on: 'all',
    body: 'return query select l.* from :proxy as l order by l.created_at desc, l.id desc;',
  },
  'session_revoke(text, bigint, bytea, text)': {
    on: 'all',
    helper: '(p_user_id text, p_id bigint, p_except bytea, p_reason text, p_actor text) returns setof bigint',
    select: `select :schema.session_revoke(${acted('p_user_id')}, p_id, p_except, p_reason)`,
    // A number's low byte is its key's first one.
    body: `if p_id is not null then
    return (
      select coalesce(sum(n), 0)::bigint from :schema.proxy_session_revoke_one(p_user_id, p_id, p_except, p_reason, ${actor}) as n
    );
  end if;
  return (
    select coalesce(sum(n), 0)::bigint from :helper(p_user_id, p_id, p_except, p_reason, ${actor}) as n
  );`,
  },
  'session_revoke_tag(text, bytea, text)': {
    on: 'all',
    helper: '(p_tag text, p_except bytea, p_reason text, p_actor text) returns setof bigint',
    select: `select :schema.session_revoke_tag(${acted('p_tag')}, p_except, p_reason)`,
    body: `return (select coalesce(sum(n), 0)::bigint from :helper(p_tag, p_except, p_reason, ${actor}) as n);`,
  },
  'session_history(text, bigint, integer)': {
    on: 'all',
    body: `return query
    select h.* from :proxy as h order by h.id desc limit greatest(coalesce(p_limit, 0), 0);`,
  },
  // Without a lease endings are done with the caller's transaction, which does not reach the partitions.
  'endings_take(text, bigint[], text, integer, interval)': {
    on: 'all',
    body: `if p_lease is null then
    status := 'invalid';
    return next;
    return;
  end if;
  return query
    with answers as materialized (
      select e.* from :proxy as e
    )
    select a.* from answers as a where a.status = 'ended'
    union all
    select distinct a.* from answers as a where a.status = 'invalid'
    union all
    select distinct a.*
    from answers as a
    where a.status = 'off'
      and (select count(*) from answers as o where o.status = 'off') = (select count(*) from :schema.proxy_partitions())
    order by id;`,
  },
  'count_expired()': sum,
  // The limit is each partition's, so that all work at once. One that was full makes the sum no less than the limit.
  'purge_expired(integer)': sum,
  'session_stats(integer)': {
    on: 'all',
    body: `select
    sum(s.live), sum(s.expired), sum(s.anonymous), bool_or(s.is_estimate), min(s.oldest_expired_at), sum(s.table_bytes),
    sum(s.used_bytes), sum(s.index_bytes), sum(s.total_bytes), sum(s.updates), sum(s.heap_only_updates), sum(s.dead_rows),
    min(s.vacuumed_at), min(s.migration)
  into
    live, expired, anonymous, is_estimate, oldest_expired_at, table_bytes, used_bytes, index_bytes, total_bytes, updates,
    heap_only_updates, dead_rows, vacuumed_at, migration
  from :proxy as s;`,
  },
  'count_live()': sum,
  'session_all(bytea, integer)': {
    on: 'all',
    body: 'return query select a.* from :proxy as a order by a.place limit greatest(p_limit, 0);',
  },
  // Null is now by each partition's own clock, which also says when its sessions began.
  'session_end_before(text, timestamp with time zone)': {
    on: 'all',
    body: 'select min(e.status), min(e.not_before) into status, not_before from :proxy as e;',
  },
  'session_enter(bytea)': refused,
  'current_session_id()': refused,
  'current_session_user()': refused,
  'session_changed(text)': sum,
  'session_clear(integer)': sum,
  'audit_set(boolean, interval)': {
    on: 'all',
    body: 'select a.status, a.keep into status, keep from :proxy as a order by a.status, a.keep limit 1;',
  },
  'audit_status()': {
    on: 'all',
    body: `return query
    select min(a.status), min(a.keep), a.consumer, sum(a.waiting)::bigint, min(a.oldest_at)
    from :proxy as a
    group by a.consumer
    order by a.consumer;`,
  },
  'endings_forget(text)': sum,
  'history_erase(text)': sum,
}

/** The first byte of a key; PL/Proxy takes a function's call, which this begins like. */
function byteOf(key: string): string {
  return `coalesce(get_byte(nullif(${key}, ''), 0), 0)`
}
