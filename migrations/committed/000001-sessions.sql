--! Previous: -
--! Hash: sha1:d9f9eefd05f261df15228b556a60151853e179e7
--! Message: sessions

--! split: 1-current.sql
-- Sessions, and nothing else: one row each, found by the digest of its token.

do $$
begin
  -- "if not exists" would ask for the right to create a schema even where there is one.
  if not exists (select from pg_catalog.pg_namespace where nspname = ':PGSTORE_SCHEMA') then
    create schema :PGSTORE_SCHEMA;
  end if;
end
$$;
comment on schema :PGSTORE_SCHEMA is 'HTTP sessions, kept by pgstore.';

create sequence :PGSTORE_SCHEMA.session_number as bigint;
comment on sequence :PGSTORE_SCHEMA.session_number is 'Numbers the sessions; a session''s id is number * 256 + first byte of its key.';

-- No CHECK: the functions are the only way in and they validate, and a violated CHECK prints its row into the server log.
-- What a save changes stands together at the end: WAL holds one stretch of the row, from the first change to the last.
create table :PGSTORE_SCHEMA.sessions (
  id bigint not null,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  key bytea not null,
  user_id text,
  signed_in_at timestamptz,
  updated_at timestamptz not null,
  -- squawk-ignore prefer-bigint-over-int
  version integer not null,
  data jsonb not null,
  constraint sessions_pkey primary key (key)
) with (
  fillfactor = 85,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_insert_scale_factor = 0.1
);
comment on table :PGSTORE_SCHEMA.sessions is 'HTTP sessions. Read and written through the functions of this schema alone.';
comment on column :PGSTORE_SCHEMA.sessions.id is 'Number of the session: not secret, fit for logs and for a page of devices.';
comment on column :PGSTORE_SCHEMA.sessions.created_at is 'When the session began: its absolute timeout counts from here.';
comment on column :PGSTORE_SCHEMA.sessions.updated_at is 'When its data last changed; a touch is no change.';
comment on column :PGSTORE_SCHEMA.sessions.expires_at is 'When it ends: rounded up by at most a hundredth of its ttl, so that frequent saves leave the indexed value as it is.';
comment on column :PGSTORE_SCHEMA.sessions.version is 'Counts the changes of its data, from 1.';
comment on column :PGSTORE_SCHEMA.sessions.key is 'SHA-256 of the token. The token itself is in the cookie and nowhere else.';
comment on column :PGSTORE_SCHEMA.sessions.user_id is 'Whose session it is; null for an anonymous visitor.';
comment on column :PGSTORE_SCHEMA.sessions.signed_in_at is 'When user_id became what it is; null for an anonymous visitor.';
comment on column :PGSTORE_SCHEMA.sessions.data is 'One JSON object; its top-level keys are the unit of merging.';

-- squawk-ignore require-concurrent-index-creation
create index sessions_expires_at_idx on :PGSTORE_SCHEMA.sessions (expires_at);
-- squawk-ignore require-concurrent-index-creation
create index sessions_user_id_idx on :PGSTORE_SCHEMA.sessions (user_id) where user_id is not null;

--! Included session_key.sql
-- The primary key of the session that a token opens: SHA-256 of the token's text. A client computes the same digest itself
-- and never sends the token; this twin is for psql, for tests and for programs that already run next to the database.
create or replace function :PGSTORE_SCHEMA.session_key(p_token text)
  returns bytea
  language plpgsql
  immutable parallel safe strict
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return sha256(convert_to(p_token, 'UTF8'));
end
$$;
comment on function :PGSTORE_SCHEMA.session_key(text) is
  'The key of the session that a token opens: SHA-256 of the token, 32 bytes.';
--! EndIncluded session_key.sql
--! Included session_get.sql
-- Live sessions by key. Unknown and expired are no row.
create or replace function :PGSTORE_SCHEMA.session_get(p_key bytea)
  returns table (
    key bytea,
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz
  )
  language plpgsql
  stable parallel safe rows 1
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
    select s.key, s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > now();
end
$$;
comment on function :PGSTORE_SCHEMA.session_get(bytea) is
  'The live session with this key, or no row.';

-- Several in one call; the order of the rows is free. The settings keep its plan to one look into the primary key for each
-- key, whatever the table's size was when it was planned, and spare a new plan for every call.
create or replace function :PGSTORE_SCHEMA.session_get(p_keys bytea[])
  returns table (
    key bytea,
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz
  )
  language plpgsql
  stable parallel safe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
    select s.key, s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > now();
end
$$;
comment on function :PGSTORE_SCHEMA.session_get(bytea[]) is
  'The live sessions with these keys, in any order; an unknown or expired one is no row.';
--! EndIncluded session_get.sql
--! Included session_save.sql
-- Creates, merges or touches one session: always one row, whose status tells what happened.
--
-- p_version null merges into the live session and never creates one, so a save cannot revive what was destroyed; 0 creates;
-- n merges only while the version is still n. With nothing to set or unset it is a touch: it extends the expiry, never
-- shortens it, and leaves version and updated_at alone; with nothing to gain it writes nothing.
--
-- The expiry is rounded up to a multiple of a hundredth of the ttl. Saves within one such step leave the indexed column as
-- it is, and only then is the update heap-only.
--
-- p_user_id null leaves the user as it is; the empty string clears it.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_key bytea,
  p_set jsonb default '{}',
  p_unset text[] default '{}',
  p_ttl interval default '30 days',
  p_version integer default null,
  p_user_id text default null,
  p_max_length integer default 4096,
  p_lifetime interval default null,
  out key bytea,
  out status text,
  out id bigint,
  out version integer,
  out expires_at timestamptz,
  out data jsonb
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_step interval;
  v_expires_at timestamptz;
  v_fits boolean;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_set is null or jsonb_typeof(p_set) <> 'object'
    or array_ndims(p_unset) > 1 or p_set ?| p_unset
    or p_ttl is null or p_ttl < interval '1 millisecond' or p_ttl > interval '100 years'
    or p_lifetime < interval '1 millisecond' or p_lifetime > interval '100 years'
    -- Parts of different sign may cancel out in a comparison and still leave the calendar.
    or date_part('epoch', p_ttl) < 0.001
    or abs(date_part('year', p_ttl)) > 100 or abs(date_part('day', p_ttl)) > 36600
    or abs(date_part('year', p_lifetime)) > 100 or abs(date_part('day', p_lifetime)) > 36600
    or p_max_length is null or p_max_length < 0
    or p_version < 0
    or octet_length(p_user_id) > 1024
  then
    status := 'invalid';
    return;
  end if;

  v_step := make_interval(secs => date_part('epoch', p_ttl) / 100);
  v_expires_at := date_bin(v_step, now() + p_ttl, timestamptz '2000-01-01 00:00:00+00') + v_step;

  -- A number of 8 characters may print as 131072. Text is never much shorter than a fifth of its jsonb, so that whatever is
  -- larger than this is too large, and is not printed to find out.
  v_fits := p_max_length = 0 or pg_column_size(p_set) <= 5::bigint * p_max_length + 64;

  if p_version = 0 then
    if p_max_length > 0 and (not v_fits or octet_length(p_set::text) > p_max_length) then
      status := 'too_large';
      return;
    end if;
    -- The number's low byte is the key's routing byte: unique across shards that count for themselves.
    insert into :PGSTORE_SCHEMA.sessions as s (id, created_at, updated_at, expires_at, version, key, user_id, signed_in_at, data)
    values (
      nextval(':PGSTORE_SCHEMA.session_number') * 256 + get_byte(p_key, 0),
      now(),
      now(),
      least(v_expires_at, now() + p_lifetime),
      1,
      p_key,
      nullif(p_user_id, ''),
      case when p_user_id <> '' then now() end,
      p_set
    )
    on conflict (key) do nothing
    returning s.id, s.version, s.expires_at into id, version, expires_at;
    if found then
      status := 'saved';
      return;
    end if;
    status := 'conflict';
    select s.id, s.version, s.expires_at, s.data into id, version, expires_at, data
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > now();
    return;
  end if;

  if p_set = '{}' and cardinality(coalesce(p_unset, '{}')) = 0 then
    update :PGSTORE_SCHEMA.sessions as s
    set
      expires_at = greatest(s.expires_at, least(v_expires_at, s.created_at + p_lifetime)),
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      signed_in_at = case
        when p_user_id is null or p_user_id = s.user_id then s.signed_in_at
        when p_user_id <> '' then now()
      end
    where s.key = p_key
      and s.expires_at > now()
      and (p_lifetime is null or s.created_at + p_lifetime > now())
      and (p_version is null or s.version = p_version)
      and (p_user_id is not null or s.expires_at < least(v_expires_at, s.created_at + p_lifetime))
    returning s.id, s.version, s.expires_at into id, version, expires_at;
  else
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = (s.data - coalesce(p_unset, '{}')) || p_set,
      version = s.version + 1,
      updated_at = now(),
      expires_at = least(v_expires_at, s.created_at + p_lifetime),
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      signed_in_at = case
        when p_user_id is null or p_user_id = s.user_id then s.signed_in_at
        when p_user_id <> '' then now()
      end
    where s.key = p_key
      and s.expires_at > now()
      and (p_lifetime is null or s.created_at + p_lifetime > now())
      and (p_version is null or s.version = p_version)
      and case
        when p_max_length = 0 then true
        when v_fits then octet_length(((s.data - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
        else false
      end
    returning s.id, s.version, s.expires_at into id, version, expires_at;
    if not found then
      status := 'too_large'; -- what is left when the session below is live and at the version asked for
    end if;
  end if;
  if found then
    status := 'saved';
    return;
  end if;

  select s.id, s.version, s.expires_at, s.data into id, version, expires_at, data
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > now()
    and (p_lifetime is null or s.created_at + p_lifetime > now());
  if not found then
    status := 'gone';
  elsif version <> p_version then
    status := 'conflict';
  else
    status := case
      when status is null then 'saved' -- a touch with nothing to gain
      when p_max_length > 0
        and (not v_fits or octet_length(((data - coalesce(p_unset, '{}')) || p_set)::text) > p_max_length)
        then 'too_large'
      else 'gone' -- another session took the key after the update had looked for it
    end;
    data := null;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(bytea, jsonb, text[], interval, integer, text, integer, interval) is
  'Merges into a live session (version null), creates one (0), or merges at a version (n). Status: saved, gone, conflict, too_large or invalid; data comes with conflict only.';

-- Many saves in one call. The arrays run in parallel and have one length; p_unsets holds a JSON array of names or null for
-- each. Saves of one key keep their order, and each has its own verdict; the order of the rows is free otherwise.
--
-- It waits for nobody: a session that another transaction has locked gets the status locked, to be sent alone, so that it
-- delays no other, and two such calls cannot wait for each other in a ring.
--
-- Plain merges, nearly all of a busy server's saves, are one statement: a quarter of the loop's cost. The settings keep its
-- plan to one look into the primary key for each item, whatever the table's size was when it was planned.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_keys bytea[],
  p_sets jsonb[],
  p_unsets jsonb[],
  p_ttls interval[],
  p_versions integer[],
  p_user_ids text[],
  p_max_length integer,
  p_lifetime interval
)
  returns table (
    key bytea,
    status text,
    id bigint,
    version integer,
    expires_at timestamptz,
    data jsonb
  )
  language plpgsql
  volatile parallel unsafe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
  set enable_hashjoin = off
  set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_length integer := least(
    coalesce(cardinality(p_keys), 0), coalesce(cardinality(p_sets), 0), coalesce(cardinality(p_unsets), 0),
    coalesce(cardinality(p_ttls), 0), coalesce(cardinality(p_versions), 0), coalesce(cardinality(p_user_ids), 0)
  );
  v_is_saved boolean[] := array_fill(false, array[v_length]);
  v_position bigint;
  v_item record;
  v_locked_key bytea;
begin
  for v_position, key, id, version, expires_at in
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = s.data || i.set,
      version = s.version + 1,
      updated_at = now(),
      expires_at = least(i.expires_at, s.created_at + p_lifetime),
      user_id = case when i.user_id is null then s.user_id else nullif(i.user_id, '') end,
      signed_in_at = case
        when i.user_id is null or i.user_id = s.user_id then s.signed_in_at
        when i.user_id <> '' then now()
      end
    from (
      select held.ctid, merge.position, merge.set, merge.user_id, merge.expires_at
      from (
        select
          u.key,
          u.position,
          u.set,
          u.user_id,
          date_bin(
            make_interval(secs => date_part('epoch', u.ttl) / 100), now() + u.ttl, timestamptz '2000-01-01 00:00:00+00'
          ) + make_interval(secs => date_part('epoch', u.ttl) / 100) as expires_at
        from (
          select distinct on (a.key) a.key, a.position, a.set, a.unset, a.ttl, a.version, a.user_id
          from unnest(p_keys, p_sets, p_unsets, p_ttls, p_versions, p_user_ids)
            with ordinality as a (key, set, unset, ttl, version, user_id, position)
          order by a.key, a.position
        ) as u
        where u.position <= v_length
          and u.version is null
          and u.unset is null
          and octet_length(u.key) = 32
          and jsonb_typeof(u.set) = 'object'
          and u.set <> '{}'
          and (p_max_length = 0 or pg_column_size(u.set) <= 5::bigint * p_max_length + 64)
          and u.ttl between interval '1 millisecond' and interval '100 years'
          and date_part('epoch', u.ttl) >= 0.001
          and abs(date_part('year', u.ttl)) <= 100 and abs(date_part('day', u.ttl)) <= 36600
          and (u.user_id is null or octet_length(u.user_id) <= 1024)
      ) as merge
      join :PGSTORE_SCHEMA.sessions as held on held.key = merge.key
      for no key update of held skip locked
    ) as i
    where s.ctid = i.ctid
      and s.expires_at > now()
      and (
        p_lifetime is null
        or p_lifetime between interval '1 millisecond' and interval '100 years'
        and abs(date_part('year', p_lifetime)) <= 100 and abs(date_part('day', p_lifetime)) <= 36600
        and s.created_at + p_lifetime > now()
      )
      and (p_max_length = 0 or p_max_length > 0 and octet_length((s.data || i.set)::text) <= p_max_length)
    returning i.position, s.key, s.id, s.version, s.expires_at
  loop
    status := 'saved';
    v_is_saved[v_position] := true;
    return next;
  end loop;

  for v_item in
    select i.key, i.set, i.unset, i.ttl, i.version, i.user_id, i.position
    from unnest(p_keys, p_sets, p_unsets, p_ttls, p_versions, p_user_ids)
      with ordinality as i (key, set, unset, ttl, version, user_id, position)
    where v_is_saved[i.position] is not true
    order by i.key, i.position
  loop
    key := v_item.key;
    id := null;
    version := null;
    expires_at := null;
    data := null;
    status := case
      when v_item.position > v_length then 'invalid'
      when jsonb_typeof(v_item.unset) <> 'array' then 'invalid'
      when jsonb_path_exists(v_item.unset, 'strict $[*] ? (@.type() != "string")') then 'invalid'
      when v_item.key = v_locked_key then 'locked'
    end;
    if status is null and v_item.version is distinct from 0 then
      perform from :PGSTORE_SCHEMA.sessions as s
      where s.key = v_item.key
      for no key update skip locked;
      if not found then
        perform from :PGSTORE_SCHEMA.sessions as s
        where s.key = v_item.key
          and s.expires_at > now();
        if found then
          status := 'locked';
          v_locked_key := v_item.key;
        end if;
      end if;
    end if;
    if status is null then
      select r.status, r.id, r.version, r.expires_at, r.data
      into status, id, version, expires_at, data
      from :PGSTORE_SCHEMA.session_save(
        v_item.key,
        v_item.set,
        case when v_item.unset is null then '{}' else array(select jsonb_array_elements_text(v_item.unset)) end,
        v_item.ttl,
        v_item.version,
        v_item.user_id,
        p_max_length,
        p_lifetime
      ) as r;
    end if;
    return next;
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval) is
  'Many saves in one call, one row each with its verdict, those of one key in the order given; locked: somebody else holds this session, send it alone.';
--! EndIncluded session_save.sql
--! Included session_announce.sql
-- Tells the listeners of <schema>_sessions which sessions ended or changed their key: numbers only, a message stays under
-- the 8000 bytes that NOTIFY takes. For the functions of this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.session_announce(p_type text, p_ids bigint[])
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  for v_from in 1 .. cardinality(p_ids) by 350 loop
    perform pg_notify(
      ':PGSTORE_SCHEMA' || '_sessions',
      json_build_object('type', p_type, 'ids', to_json(p_ids[v_from : v_from + 349]))::text
    );
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_announce(text, bigint[]) is
  'Announces session numbers on the sessions channel; internal.';
--! EndIncluded session_announce.sql
--! Included session_destroy.sql
-- Ends a session. One that is unknown or has expired already is no error: 0.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_key bytea)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > now()
  returning s.id into v_id;
  if not found then
    return 0;
  end if;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id]);
  return 1;
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea) is
  'Ends the live session with this key and announces it; returns how many ended.';

-- Several in one call, locked in key order.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_keys bytea[])
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  with locked as (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > now()
    order by s.key
    for update
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    using locked
    where s.key = locked.key
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea[]) is
  'Ends the live sessions with these keys and announces them; returns how many ended.';
--! EndIncluded session_destroy.sql
--! Included session_regenerate.sql
-- Gives a live session a new key: its old token is dead at once, its data stays. The expiry is set anew, shorter too, and
-- whatever signing in changes goes with it, the user id and the data, so that it happens in one statement or not at all. Of
-- several concurrent callers one wins; the others find the old key gone. A new key that exists already opens nobody's session:
-- conflict.
create or replace function :PGSTORE_SCHEMA.session_regenerate(
  p_key bytea,
  p_new_key bytea,
  p_ttl interval,
  p_user_id text,
  p_lifetime interval,
  p_set jsonb,
  p_unset text[],
  p_max_length integer,
  p_version integer,
  out key bytea,
  out status text,
  out id bigint,
  out version integer,
  out expires_at timestamptz,
  out data jsonb
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
  v_step interval;
  v_is_change boolean;
  v_fits boolean;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_new_key is null or octet_length(p_new_key) <> 32 or p_new_key = p_key
    or p_ttl is null or p_ttl < interval '1 millisecond' or p_ttl > interval '100 years'
    or p_lifetime < interval '1 millisecond' or p_lifetime > interval '100 years'
    -- Parts of different sign may cancel out in a comparison and still leave the calendar.
    or extract(epoch from p_ttl) < 0.001
    or abs(extract(year from p_ttl)) > 100 or abs(extract(day from p_ttl)) > 36600
    or abs(extract(year from p_lifetime)) > 100 or abs(extract(day from p_lifetime)) > 36600
    or p_set is null or jsonb_typeof(p_set) <> 'object'
    or array_ndims(p_unset) > 1 or p_set ?| p_unset
    or p_max_length is null or p_max_length < 0
    or octet_length(p_user_id) > 1024
  then
    status := 'invalid';
    return;
  end if;

  v_step := make_interval(secs => extract(epoch from p_ttl)::float8 / 100);
  v_is_change := p_set <> '{}' or cardinality(coalesce(p_unset, '{}')) > 0;
  v_fits := not v_is_change or p_max_length = 0 or pg_column_size(p_set) <= 5::bigint * p_max_length + 64; -- see session_save

  begin
    update :PGSTORE_SCHEMA.sessions as s
    set
      key = p_new_key,
      expires_at = least(
        date_bin(v_step, now() + p_ttl, timestamptz '2000-01-01 00:00:00+00') + v_step,
        s.created_at + p_lifetime
      ),
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      signed_in_at = case
        when p_user_id is null or p_user_id = s.user_id then s.signed_in_at
        when p_user_id <> '' then now()
      end,
      data = case when v_is_change then (s.data - coalesce(p_unset, '{}')) || p_set else s.data end,
      version = case when v_is_change then s.version + 1 else s.version end,
      updated_at = case when v_is_change then now() else s.updated_at end
    where s.key = p_key
      and s.expires_at > now()
      and (p_lifetime is null or s.created_at + p_lifetime > now())
      and (p_version is null or s.version = p_version)
      -- Asked first: to wait for the holder of that key could be to wait in a ring.
      and not exists (select from :PGSTORE_SCHEMA.sessions as t where t.key = p_new_key)
      and case
        when p_max_length = 0 or not v_is_change then true
        when v_fits then octet_length(((s.data - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
        else false
      end
    returning s.id, s.version, s.expires_at into id, version, expires_at;
  exception when unique_violation then
    status := 'conflict';
    return;
  end;
  if found then
    perform :PGSTORE_SCHEMA.session_announce('regenerated', array[id]);
    key := p_new_key;
    status := 'saved';
    return;
  end if;

  select s.version into version
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > now()
    and (p_lifetime is null or s.created_at + p_lifetime > now());
  status := case
    when not found then 'gone'
    when version <> p_version then 'conflict'
    when exists (select from :PGSTORE_SCHEMA.sessions as s where s.key = p_new_key) then 'conflict'
    else 'too_large'
  end;
  version := null;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(bytea, bytea, interval, text, interval, jsonb, text[], integer, integer) is
  'Moves a live session to a new key, sets its expiry anew and merges changes of its data, at a version if one is given. Status: saved, gone, conflict (another version, or the new key exists), too_large or invalid.';

-- The same with the data as it is.
create or replace function :PGSTORE_SCHEMA.session_regenerate(
  p_key bytea,
  p_new_key bytea,
  p_ttl interval default '30 days',
  p_user_id text default null,
  p_lifetime interval default null,
  out key bytea,
  out status text,
  out id bigint,
  out version integer,
  out expires_at timestamptz,
  out data jsonb
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into key, status, id, version, expires_at, data
  from :PGSTORE_SCHEMA.session_regenerate(p_key, p_new_key, p_ttl, p_user_id, p_lifetime, '{}', '{}', 0, null) as r;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(bytea, bytea, interval, text, interval) is
  'Moves a live session to a new key and sets its expiry anew. Status: saved, gone, conflict (the new key exists) or invalid.';
--! EndIncluded session_regenerate.sql
--! Included session_list.sql
-- A user's live sessions, newest first, without their keys: for a page of devices, and for administrators.
create or replace function :PGSTORE_SCHEMA.session_list(p_user_id text)
  returns table (
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz
  )
  language plpgsql
  stable parallel safe rows 10
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
    select s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > now()
    order by s.created_at desc, s.id desc;
end
$$;
comment on function :PGSTORE_SCHEMA.session_list(text) is
  'The live sessions of a user, newest first, without their keys.';
--! EndIncluded session_list.sql
--! Included session_revoke.sql
-- Ends sessions of one user: the one with number p_id, or all of them; p_except is the key of one to spare ("sign out
-- everywhere else"). Locked in key order.
create or replace function :PGSTORE_SCHEMA.session_revoke(
  p_user_id text,
  p_id bigint default null,
  p_except bytea default null
)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys bytea[];
  v_ids bigint[];
begin
  -- Two statements: only the second one's snapshot has a session under the key that a regenerate gave it while the first waited.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and (p_id is null or s.id = p_id)
      and (p_except is null or s.key <> p_except)
      and s.expires_at > now()
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke(text, bigint, bytea) is
  'Ends one, all, or all but one of a user''s live sessions and announces them; returns how many ended.';
--! EndIncluded session_revoke.sql
--! Included session_limit.sql
-- Keeps at most p_max of a user's live sessions, those signed in last, and ends the others: to be called after each sign-in,
-- in a transaction of its own. Of several sign-ins at once the last one to call sees the sessions of all, and all agree on
-- which are the newest: when every call is answered, no more than p_max are left. Sharded, the cap is each shard's.
create or replace function :PGSTORE_SCHEMA.session_limit(p_user_id text, p_max integer)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys bytea[];
  v_ids bigint[];
begin
  if coalesce(p_max, 0) < 1 then
    return 0; -- no cap: to end all there is session_revoke
  end if;
  -- Locked in key order, in one statement with the choice; deleted in a second one, as in session_revoke.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.id = any (array(
        select old.id
        from :PGSTORE_SCHEMA.sessions as old
        where old.user_id = p_user_id
          and old.expires_at > now()
        order by old.signed_in_at desc, old.id desc
        offset p_max
      ))
      and s.user_id = p_user_id
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
      and s.user_id = p_user_id
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_limit(text, integer) is
  'Ends all but the p_max live sessions of a user that signed in last, and announces them; returns how many ended.';
--! EndIncluded session_limit.sql
--! Included session_clear.sql
-- Ends up to p_limit sessions, whosoever they are and live or expired, in the order of their keys; call it until it returns
-- less than the limit.
create or replace function :PGSTORE_SCHEMA.session_clear(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_keys bytea[];
  v_ids bigint[];
begin
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    order by s.key
    limit greatest(p_limit, 0)
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_clear(integer) is
  'Ends a batch of all sessions and announces them; returns how many ended.';
--! EndIncluded session_clear.sql
--! Included session_all.sql
-- Everybody's live sessions, a page at a time in the order of their keys, without their keys: for administrators.
--
-- place is where the next page begins: half of the key, which opens nothing.
create or replace function :PGSTORE_SCHEMA.session_all(p_after bytea default null, p_limit integer default 1000)
  returns table (
    place bytea,
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz
  )
  language plpgsql
  stable parallel safe rows 1000
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  -- The last key that begins with p_after; of those, 2^128 to one, there is no other.
  v_after bytea := coalesce(substr(p_after, 1, 16) || decode(repeat('ff', 16), 'hex'), '');
begin
  return query
    select substr(s.key, 1, 16), s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at
    from :PGSTORE_SCHEMA.sessions as s
    where s.key > v_after
      and s.expires_at > now()
    order by s.key
    limit greatest(p_limit, 0);
end
$$;
comment on function :PGSTORE_SCHEMA.session_all(bytea, integer) is
  'A page of all live sessions, without their keys; p_after is the last page''s last place.';
--! EndIncluded session_all.sql
--! Included count_expired.sql
-- Expired sessions that the purge has not deleted yet.
create or replace function :PGSTORE_SCHEMA.count_expired()
  returns bigint
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= now()
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
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at > now()
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
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= now()
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
