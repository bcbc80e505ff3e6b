--! Previous: sha1:34acee2ab7e703b3d792977fa41093da926d09fe
--! Hash: sha1:3394c49e58e0cb370e184c31b8999da794188b4e
--! Message: values

--! split: 1-current.sql
-- Values: put, take and increment, and values with a life of their own.

alter table :PGSTORE_SCHEMA.sessions add column value_ends jsonb;
comment on column :PGSTORE_SCHEMA.sessions.value_ends is 'When values with a life of their own end, by name, in seconds since 1970; null for none.';

--! Included drop_ended.sql
-- Data without the values that end at p_now or before. p_value_ends holds by name when a value ends, in seconds since 1970.
create or replace function :PGSTORE_SCHEMA.drop_ended(p_data jsonb, p_value_ends jsonb, p_now timestamptz)
  returns jsonb
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
as $$
begin
  return p_data - array(
    select e.key
    from jsonb_each(p_value_ends) as e
    where e.value::numeric <= extract(epoch from p_now)
  );
end
$$;
comment on function :PGSTORE_SCHEMA.drop_ended(jsonb, jsonb, timestamptz) is
  'Data without the values whose own life is over; internal.';
--! EndIncluded drop_ended.sql
--! Included next_ends.sql
-- When a session's values end, after a change of its data: those that have ended or been removed are forgotten, and with
-- them their lives: a new value of that name lives as long as the session. p_lives gives lives by name, in seconds from now; null for
-- as long as the session. Null where no value has a life of its own.
create or replace function :PGSTORE_SCHEMA.next_ends(p_value_ends jsonb, p_lives jsonb, p_data jsonb, p_now timestamptz)
  returns jsonb
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select jsonb_object_agg(e.name, e.ends_at)
    from (
      select k.key as name, k.value::numeric as ends_at
      from jsonb_each(p_value_ends) as k
      where (p_lives ? k.key) is not true
      union all
      select l.key, extract(epoch from p_now) + l.value::numeric
      from jsonb_each(jsonb_strip_nulls(p_lives)) as l
    ) as e
    where e.ends_at > extract(epoch from p_now)
      and p_data ? e.name
  );
end
$$;
comment on function :PGSTORE_SCHEMA.next_ends(jsonb, jsonb, jsonb, timestamptz) is
  'When a session''s values end, after a change of its data; internal.';
--! EndIncluded next_ends.sql
--! Included live_data.sql
-- A session's data without the values whose own life is over.
--
-- Written into the expressions of its callers, as valid_life: a session without such values costs no call.
create or replace function :PGSTORE_SCHEMA.live_data(p_data jsonb, p_value_ends jsonb, p_now timestamptz)
  returns jsonb
  language sql
  stable parallel safe
as $$
  select case when p_value_ends is null then p_data else :PGSTORE_SCHEMA.drop_ended(p_data, p_value_ends, p_now) end
$$;
comment on function :PGSTORE_SCHEMA.live_data(jsonb, jsonb, timestamptz) is
  'A session''s data without the values whose own life is over; internal.';
--! EndIncluded live_data.sql
--! Included valid_lives.sql
-- Whether these are lives of values: by name, seconds of more than 0 and at most a hundred years, or null. For the functions of
-- this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.valid_lives(p_lives jsonb)
  returns boolean
  language plpgsql
  immutable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_typeof(p_lives) = 'object'
    and not jsonb_path_exists(p_lives, 'strict $.* ? (@.type() != "null" && @.type() != "number")')
    and not jsonb_path_exists(p_lives, 'strict $.* ? (@ <= 0 || @ > 3155760000)');
end
$$;
comment on function :PGSTORE_SCHEMA.valid_lives(jsonb) is
  'Whether these are lives of values by name; internal.';
--! EndIncluded valid_lives.sql
--! Included session_get.sql
-- Live sessions by key. Unknown and expired are no row.
--
-- The settings keep its plan to one look into the primary key, whatever the table's size was when it was planned: one made for an
-- empty table would go on reading all of it. Volatile, as every function that reads: a load-balancing proxy sends what is not to a
-- standby.
create or replace function :PGSTORE_SCHEMA.session_get(p_key bytea)
  returns table (
    key bytea,
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz,
    seen_at timestamptz,
    signed_in_at timestamptz,
    label jsonb,
    tags text[]
  )
  language plpgsql
  volatile parallel unsafe rows 1
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
    select
      s.key,
      s.id,
      s.user_id,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, statement_timestamp()),
      s.version,
      s.created_at,
      s.updated_at,
      s.expires_at,
      s.seen_at,
      s.signed_in_at,
      s.label,
      s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > statement_timestamp();
end
$$;
comment on function :PGSTORE_SCHEMA.session_get(bytea) is
  'The live session with this key, or no row.';

-- Several in one call; the order of the rows is free.
create or replace function :PGSTORE_SCHEMA.session_get(p_keys bytea[])
  returns table (
    key bytea,
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz,
    seen_at timestamptz,
    signed_in_at timestamptz,
    label jsonb,
    tags text[]
  )
  language plpgsql
  volatile parallel unsafe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
    select
      s.key,
      s.id,
      s.user_id,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, statement_timestamp()),
      s.version,
      s.created_at,
      s.updated_at,
      s.expires_at,
      s.seen_at,
      s.signed_in_at,
      s.label,
      s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp();
end
$$;
comment on function :PGSTORE_SCHEMA.session_get(bytea[]) is
  'The live sessions with these keys, in any order; an unknown or expired one is no row.';
--! EndIncluded session_get.sql
--! Included session_save.sql
-- Creates, merges or touches one session: always one row, whose status tells what happened.
--
-- p_version null merges into the live session and never creates one, so a save cannot revive what was destroyed; 0 creates, in
-- place of an expired one too; n merges only while the version is still n. With nothing to set or unset it is a touch: it extends
-- the expiry, never shortens it, and leaves version and updated_at alone unless the user, the label or the tags change.
--
-- p_user_id null leaves the user as it is, the empty string clears it; so do p_label null and 'null', p_tags null and '{}'. A
-- change of the user is announced, and with p_announce every save; p_relaxed commits a change of data, or a touch, without waiting
-- for the disk.
--
-- The settings keep its plans to one look into the primary key, and values out of the plans that a server may log.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_key bytea,
  p_set jsonb default '{}',
  p_unset text[] default '{}',
  p_ttl interval default '30 days',
  p_version integer default null,
  p_user_id text default null,
  p_max_length integer default 4096,
  p_lifetime interval default null,
  p_label jsonb default null,
  p_tags text[] default null,
  p_announce boolean default false,
  p_relaxed boolean default false,
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
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_expires_at timestamptz;
  v_is_data boolean;
  v_is_user_new boolean;
  v_fits boolean;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_set is null or jsonb_typeof(p_set) <> 'object'
    or array_ndims(p_unset) > 1 or p_set ?| p_unset
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
    or p_max_length is null or p_max_length < 0
    or p_version < 0
    or octet_length(p_user_id) > 1024
    or (p_label is not null or p_tags is not null) and not :PGSTORE_SCHEMA.valid_label(p_label, p_tags)
  then
    status := 'invalid';
    return;
  end if;

  -- A number of 8 characters may print as 131072. Text is never much shorter than a fifth of its jsonb, so that whatever is
  -- larger than this is too large, and is not printed to find out.
  v_fits := p_max_length = 0 or pg_column_size(p_set) <= 5::bigint * p_max_length + 64;

  if p_version = 0 then
    if p_max_length > 0 and (not v_fits or octet_length(p_set::text) > p_max_length) then
      status := 'too_large';
      return;
    end if;
    v_expires_at := :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, v_now, null);
    -- The number's low byte is the key's routing byte: unique across shards that count for themselves.
    insert into :PGSTORE_SCHEMA.sessions as s (
      id, created_at, purge_at, key, user_id, signed_in_at, data, updated_at, version, expires_at, seen_at, label, tags
    )
    values (
      nextval(':PGSTORE_SCHEMA.session_number') * 256 + get_byte(p_key, 0),
      v_now,
      :PGSTORE_SCHEMA.purge_time(v_expires_at, p_ttl, null),
      p_key,
      nullif(p_user_id, ''),
      :PGSTORE_SCHEMA.signed_in_when(null, null, p_user_id, v_now),
      p_set,
      v_now,
      1,
      v_expires_at,
      v_now,
      nullif(p_label, 'null'),
      nullif(p_tags, '{}')
    )
    on conflict (key) do update
    set
      id = excluded.id,
      created_at = excluded.created_at,
      purge_at = excluded.purge_at,
      user_id = excluded.user_id,
      signed_in_at = excluded.signed_in_at,
      data = excluded.data,
      updated_at = excluded.updated_at,
      version = excluded.version,
      expires_at = excluded.expires_at,
      seen_at = excluded.seen_at,
      label = excluded.label,
      tags = excluded.tags,
      former_keys = null,
      value_ends = null
    where s.expires_at <= v_now
      or :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at)
    returning s.id, s.version, s.expires_at into id, version, expires_at;
    if found then
      status := 'saved';
      return;
    end if;
    status := 'conflict';
    select s.id, s.version, s.expires_at, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into id, version, expires_at, data
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now;
    return;
  end if;

  v_is_data := p_set <> '{}' or cardinality(coalesce(p_unset, '{}')) > 0;
  if p_relaxed and p_user_id is null and p_label is null and p_tags is null then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  update :PGSTORE_SCHEMA.sessions as s
  set
    data = case when v_is_data then (:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set else s.data end,
    value_ends = case
      when s.value_ends is null or not v_is_data then s.value_ends
      else :PGSTORE_SCHEMA.next_ends(s.value_ends, null, (s.data - coalesce(p_unset, '{}')) || p_set, v_now)
    end,
    version = case
      when not v_is_data and not :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then s.version
      when s.version = 2147483647 then 1
      else s.version + 1
    end,
    updated_at = case
      when v_is_data or :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then v_now
      else s.updated_at
    end,
    purge_at = :PGSTORE_SCHEMA.purge_time(
      greatest(
        case when not v_is_data then s.expires_at end,
        :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now))
      ),
      p_ttl,
      s.purge_at
    ),
    expires_at = greatest(
      case when not v_is_data then s.expires_at end,
      :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now))
    ),
    seen_at = v_now,
    user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
    signed_in_at = :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now),
    label = case when p_label is null then s.label else nullif(p_label, 'null') end,
    tags = case when p_tags is null then s.tags else nullif(p_tags, '{}') end
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
    and (p_version is null or s.version = p_version)
    and case
      when p_max_length = 0 or not v_is_data then true
      when v_fits then octet_length(((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
      else false
    end
  returning s.id, s.version, s.expires_at, p_user_id = '' or p_user_id is not null and s.signed_in_at = v_now
  into id, version, expires_at, v_is_user_new;
  if found then
    if p_announce or v_is_user_new then
      perform :PGSTORE_SCHEMA.session_announce('changed', array[id]);
    end if;
    status := 'saved';
    return;
  end if;

  select s.id, s.version, s.expires_at, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into id, version, expires_at, data
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true;
  if not found then
    status := 'gone';
  elsif version <> p_version then
    status := 'conflict';
  else
    status := case
      when v_is_data and p_max_length > 0
        and (not v_fits or octet_length(((data - coalesce(p_unset, '{}')) || p_set)::text) > p_max_length)
        then 'too_large'
      else 'gone' -- another session took the key after the update had looked for it
    end;
    data := null;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(
  bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean
) is
  'Merges into a live session (version null), creates one (0), or merges at a version (n). Status: saved, gone, conflict, too_large or invalid; data comes with conflict only.';

-- The same, and gives values a life of their own: p_lives holds seconds by name, or null for as long as the session. A value keeps
-- its life until it ends or is removed; that of a name without a value is not kept.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_key bytea,
  p_set jsonb,
  p_unset text[],
  p_ttl interval,
  p_version integer,
  p_user_id text,
  p_max_length integer,
  p_lifetime interval,
  p_label jsonb,
  p_tags text[],
  p_announce boolean,
  p_relaxed boolean,
  p_lives jsonb,
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
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  if :PGSTORE_SCHEMA.valid_lives(p_lives) is not true then
    key := p_key;
    status := 'invalid';
    return;
  end if;
  select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into key, status, id, version, expires_at, data
  from :PGSTORE_SCHEMA.session_save(
    p_key, p_set, p_unset, p_ttl, p_version, p_user_id, p_max_length, p_lifetime, p_label, p_tags, p_announce, p_relaxed
  ) as r;
  if status = 'saved' then
    update :PGSTORE_SCHEMA.sessions as s
    set value_ends = :PGSTORE_SCHEMA.next_ends(s.value_ends, p_lives, s.data, statement_timestamp())
    where s.key = p_key;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(
  bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean, jsonb
) is
  'As the form without p_lives, and gives values a life of their own: seconds by name.';

-- Many saves in one call. The arrays run in parallel and have one length; p_unsets holds a JSON array of names or null for
-- each. Saves of one key keep their order, and each has its own verdict; the order of the rows is free otherwise. p_relaxed is for
-- all of them.
--
-- It waits for nobody: a session that another transaction has locked gets the status locked, to be sent alone, so that it
-- delays no other, and two such calls cannot wait for each other in a ring.
--
-- Plain merges, nearly all of a busy server's saves, are one statement: a quarter of the loop's cost.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_keys bytea[],
  p_sets jsonb[],
  p_unsets jsonb[],
  p_ttls interval[],
  p_versions integer[],
  p_user_ids text[],
  p_max_length integer,
  p_lifetime interval,
  p_relaxed boolean default false
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
  v_now constant timestamptz := statement_timestamp();
  v_length integer := least(
    coalesce(cardinality(p_keys), 0), coalesce(cardinality(p_sets), 0), coalesce(cardinality(p_unsets), 0),
    coalesce(cardinality(p_ttls), 0), coalesce(cardinality(p_versions), 0), coalesce(cardinality(p_user_ids), 0)
  );
  v_is_saved boolean[] := array_fill(false, array[v_length]);
  v_position bigint;
  v_item record;
  v_locked_key bytea;
begin
  if p_relaxed
    and not exists (select from unnest(p_versions) as v (version) where v.version = 0)
    and not exists (select from unnest(p_user_ids) as u (user_id) where u.user_id is not null)
  then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  for v_position, key, id, version, expires_at in
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) || i.set,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, s.data || i.set, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now,
      purge_at = :PGSTORE_SCHEMA.purge_time(:PGSTORE_SCHEMA.expiry(v_now, i.ttl, p_lifetime, s.created_at, s.signed_in_at), i.ttl, s.purge_at),
      expires_at = :PGSTORE_SCHEMA.expiry(v_now, i.ttl, p_lifetime, s.created_at, s.signed_in_at),
      seen_at = v_now
    from (
      select held.ctid, merge.position, merge.set, merge.ttl
      from (
        select u.key, u.position, u.set, u.ttl
        from (
          select distinct on (a.key) a.key, a.position, a.set, a.unset, a.ttl, a.version, a.user_id
          from unnest(p_keys, p_sets, p_unsets, p_ttls, p_versions, p_user_ids)
            with ordinality as a (key, set, unset, ttl, version, user_id, position)
          order by a.key, a.position
        ) as u
        where u.position <= v_length
          and u.version is null
          and u.unset is null
          and u.user_id is null
          and octet_length(u.key) = 32
          and jsonb_typeof(u.set) = 'object'
          and u.set <> '{}'
          and (p_max_length = 0 or pg_column_size(u.set) <= 5::bigint * p_max_length + 64)
          and :PGSTORE_SCHEMA.valid_life(u.ttl)
      ) as merge
      join :PGSTORE_SCHEMA.sessions as held on held.key = merge.key
      for no key update of held skip locked
    ) as i
    where s.ctid = i.ctid
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.valid_life(p_lifetime) is not false
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
      and (p_max_length = 0 or p_max_length > 0 and octet_length((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) || i.set)::text) <= p_max_length)
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
          and s.expires_at > v_now;
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
comment on function :PGSTORE_SCHEMA.session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval, boolean) is
  'Many saves in one call, one row each with its verdict, those of one key in the order given; locked: another transaction holds this session, send it alone.';
--! EndIncluded session_save.sql
--! Included session_regenerate.sql
-- Gives a live session a new key: its old token is dead at once, its data stays. The expiry is set anew, shorter too, and
-- whatever signing in changes goes with it, the user id and the data, so that it happens in one statement or not at all. Of
-- several concurrent callers one wins; the others find the old key gone. A new key that has a live session already is a conflict.
--
-- Naming a user signs in, the same one again too: its time is set, and the lifetime counts from there. The row keeps its
-- last eight keys, so that ending a session by one of them ends what it has become: see session_destroy. Eight are more than are
-- regenerated while one request runs, and keep the row short.
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
  p_label jsonb default null,
  p_tags text[] default null,
  p_announce boolean default false,
  p_relaxed boolean default false,
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
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_is_data boolean;
  v_fits boolean;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_new_key is null or octet_length(p_new_key) <> 32 or p_new_key = p_key
    or p_set is null or jsonb_typeof(p_set) <> 'object'
    or array_ndims(p_unset) > 1 or p_set ?| p_unset
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
    or p_max_length is null or p_max_length < 0
    or octet_length(p_user_id) > 1024
    or (p_label is not null or p_tags is not null) and not :PGSTORE_SCHEMA.valid_label(p_label, p_tags)
  then
    status := 'invalid';
    return;
  end if;

  v_is_data := p_set <> '{}' or cardinality(coalesce(p_unset, '{}')) > 0;
  v_fits := not v_is_data or p_max_length = 0 or pg_column_size(p_set) <= 5::bigint * p_max_length + 64; -- see session_save

  begin
    update :PGSTORE_SCHEMA.sessions as s
    set
      key = p_new_key,
      former_keys = (array_prepend(p_key, s.former_keys))[1:8],
      data = case when v_is_data then (:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set else s.data end,
      value_ends = case
        when s.value_ends is null or not v_is_data then s.value_ends
        else :PGSTORE_SCHEMA.next_ends(s.value_ends, null, (s.data - coalesce(p_unset, '{}')) || p_set, v_now)
      end,
      version = case
        when not v_is_data and not :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then s.version
        when s.version = 2147483647 then 1
        else s.version + 1
      end,
      updated_at = case
        when v_is_data or :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then v_now
        else s.updated_at
      end,
      purge_at = :PGSTORE_SCHEMA.purge_time(
        :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, null, p_user_id, v_now)),
        p_ttl,
        s.purge_at
      ),
      expires_at = :PGSTORE_SCHEMA.expiry(
        v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, null, p_user_id, v_now)
      ),
      seen_at = v_now,
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      -- Whoever it was before: to sign in again is to sign in.
      signed_in_at = :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, null, p_user_id, v_now),
      label = case when p_label is null then s.label else nullif(p_label, 'null') end,
      tags = case when p_tags is null then s.tags else nullif(p_tags, '{}') end
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
      and (p_version is null or s.version = p_version)
      -- Asked first: to wait for the holder of that key could be to wait in a ring.
      and not exists (select from :PGSTORE_SCHEMA.sessions as t where t.key = p_new_key)
      and case
        when p_max_length = 0 or not v_is_data then true
        when v_fits then octet_length(((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
        else false
      end
    returning s.id, s.version, s.expires_at into id, version, expires_at;
  exception when unique_violation then
    status := 'conflict';
    return;
  end;
  if found then -- announced in any case, and never relaxed
    perform :PGSTORE_SCHEMA.session_announce('regenerated', array[id]);
    key := p_new_key;
    status := 'saved';
    return;
  end if;

  select s.version into version
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true;
  if found and version is not distinct from coalesce(p_version, version) then
    -- An expired session under the new key counts as none.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_new_key
      and s.expires_at <= v_now;
    if found then
      select r.key, r.status, r.id, r.version, r.expires_at, r.data
      into key, status, id, version, expires_at, data
      from :PGSTORE_SCHEMA.session_regenerate(
        p_key, p_new_key, p_ttl, p_user_id, p_lifetime, p_set, p_unset, p_max_length, p_version, p_label, p_tags
      ) as r;
      return;
    end if;
  end if;
  status := case
    when version is null then 'gone'
    when version <> p_version then 'conflict'
    when exists (select from :PGSTORE_SCHEMA.sessions as s where s.key = p_new_key) then 'conflict'
    else 'too_large'
  end;
  version := null;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(
  bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean
) is
  'Moves a live session to a new key, sets its expiry anew and merges changes of its data, at a version if one is given. Status: saved, gone, conflict (another version, or the new key exists), too_large or invalid.';

-- The same, and gives values a life of their own, as session_save does.
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
  p_label jsonb,
  p_tags text[],
  p_announce boolean,
  p_relaxed boolean,
  p_lives jsonb,
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
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  if :PGSTORE_SCHEMA.valid_lives(p_lives) is not true then
    key := p_key;
    status := 'invalid';
    return;
  end if;
  select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into key, status, id, version, expires_at, data
  from :PGSTORE_SCHEMA.session_regenerate(
    p_key, p_new_key, p_ttl, p_user_id, p_lifetime, p_set, p_unset, p_max_length, p_version, p_label, p_tags, p_announce, p_relaxed
  ) as r;
  if status = 'saved' then
    update :PGSTORE_SCHEMA.sessions as s
    set value_ends = :PGSTORE_SCHEMA.next_ends(s.value_ends, p_lives, s.data, statement_timestamp())
    where s.key = p_new_key;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(
  bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean, jsonb
) is
  'As the form without p_lives, and gives values a life of their own: seconds by name.';

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
-- A user's live sessions, newest first, without their keys: for a page of devices, and for administrators. data is null unless
-- p_data asks for it.
create or replace function :PGSTORE_SCHEMA.session_list(p_user_id text, p_data boolean default false)
  returns table (
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz,
    seen_at timestamptz,
    signed_in_at timestamptz,
    label jsonb,
    tags text[]
  )
  language plpgsql
  volatile parallel unsafe rows 10
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
    select
      s.id,
      s.user_id,
      case when p_data then :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, statement_timestamp()) end,
      s.version,
      s.created_at,
      s.updated_at,
      s.expires_at,
      s.seen_at,
      s.signed_in_at,
      s.label,
      s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp()
    order by s.created_at desc, s.id desc;
end
$$;
comment on function :PGSTORE_SCHEMA.session_list(text, boolean) is
  'The live sessions of a user, newest first, without their keys.';
--! EndIncluded session_list.sql
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
    expires_at timestamptz,
    seen_at timestamptz,
    signed_in_at timestamptz,
    label jsonb,
    tags text[]
  )
  language plpgsql
  volatile parallel unsafe rows 1000
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
    select
      substr(s.key, 1, 16),
      s.id,
      s.user_id,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, statement_timestamp()),
      s.version,
      s.created_at,
      s.updated_at,
      s.expires_at,
      s.seen_at,
      s.signed_in_at,
      s.label,
      s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.key > v_after
      and s.expires_at > statement_timestamp()
    order by s.key
    limit greatest(p_limit, 0);
end
$$;
comment on function :PGSTORE_SCHEMA.session_all(bytea, integer) is
  'A page of all live sessions, without their keys; p_after is the last page''s last place.';
--! EndIncluded session_all.sql
--! Included session_take.sql
-- Reads one top-level value of a live session and removes it: of several concurrent callers one gets it, and the others are told
-- none. For one-time tokens, OAuth state, flash messages. With a null name it ends the session and returns its data.
--
-- Status: taken, with the value; none: the session lives and has no such value; gone: there is no live session, under this very
-- key: an old key of a session that was regenerated reads nothing. The expiry stays what it was.
create or replace function :PGSTORE_SCHEMA.session_take(
  p_key bytea,
  p_name text,
  out status text,
  out value jsonb
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_id bigint;
begin
  if p_name is null then
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
    returning s.id, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into v_id, value;
    if not found then
      status := 'gone';
      return;
    end if;
    perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id], 'taken');
    status := 'taken';
    return;
  end if;

  -- Locked before it is read: whoever waited sees the data without it. A session that has no such value is not written to.
  select :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) -> p_name into value
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and s.data ? p_name
  for no key update;

  if value is not null then
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - p_name,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, s.data - p_name, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now
    where s.key = p_key;
    status := 'taken';
    return;
  end if;

  perform from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now;
  status := case when found then 'none' else 'gone' end;
end
$$;
comment on function :PGSTORE_SCHEMA.session_take(bytea, text) is
  'Reads one value of a live session and removes it, for one of several concurrent callers; with a null name it ends the session and returns its data. Status: taken, none or gone.';
--! EndIncluded session_take.sql
--! Included session_increment.sql
-- Adds to one top-level number of a live session, which counts from 0, and returns the sum; creates the session where there is
-- none. Of several callers at once each counts. The ttl is that of a session created here: one that lives keeps its expiry, so that
-- a counter has a fixed window.
--
-- Status: saved; too_large; invalid: an argument is not what it should be, or the value there is not a number.
create or replace function :PGSTORE_SCHEMA.session_increment(
  p_key bytea,
  p_name text,
  p_by numeric default 1,
  p_ttl interval default '30 days',
  p_max_length integer default 4096,
  out status text,
  out value numeric
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_data jsonb;
begin
  if p_key is null or octet_length(p_key) <> 32
    or p_name is null
    or p_by is null or abs(p_by) <= 1e100 is not true
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or p_max_length is null or p_max_length < 0
  then
    status := 'invalid';
    return;
  end if;

  loop -- again where another caller creates it between the two statements
    select :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into v_data
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
    for no key update;
    if not found then
      select r.status into status
      from :PGSTORE_SCHEMA.session_save(
        p_key, jsonb_build_object(p_name, p_by), '{}', p_ttl, 0, null, p_max_length
      ) as r;
      continue when status = 'conflict';
      value := case when status = 'saved' then p_by end;
      return;
    end if;

    if v_data ? p_name and jsonb_typeof(v_data -> p_name) <> 'number' then
      status := 'invalid';
      return;
    end if;
    value := coalesce((v_data -> p_name)::numeric, 0) + p_by;
    v_data := v_data || jsonb_build_object(p_name, value);
    if p_max_length > 0 and octet_length(v_data::text) > p_max_length then
      status := 'too_large';
      value := null;
      return;
    end if;
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = v_data,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, v_data, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now
    where s.key = p_key;
    status := 'saved';
    return;
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_increment(bytea, text, numeric, interval, integer) is
  'Adds to one number of a live session and returns the sum; creates the session where there is none. Status: saved, too_large or invalid.';
--! EndIncluded session_increment.sql
--! Included session_put.sql
-- Gives a key this data, whatever was there: creates the session, or replaces all data of the live one, which keeps its number, its
-- label and its tags. The expiry is set anew, shorter too.
--
-- p_user_id null leaves the user of a live session as it is, the empty string clears it; a change of it is announced. Status and
-- columns are those of session_save: saved, too_large or invalid.
create or replace function :PGSTORE_SCHEMA.session_put(
  p_key bytea,
  p_data jsonb,
  p_ttl interval default '30 days',
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
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_is_user_new boolean;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_data is null or jsonb_typeof(p_data) <> 'object'
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
    or p_max_length is null or p_max_length < 0
    or octet_length(p_user_id) > 1024
  then
    status := 'invalid';
    return;
  end if;

  -- The first as in session_save: what is larger than this is not printed to find out.
  if p_max_length > 0
    and (pg_column_size(p_data) > 5::bigint * p_max_length + 64 or octet_length(p_data::text) > p_max_length)
  then
    status := 'too_large';
    return;
  end if;

  loop -- again where another caller creates it between the two statements
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = p_data,
      value_ends = null,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now,
      purge_at = :PGSTORE_SCHEMA.purge_time(
        :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now)),
        p_ttl,
        s.purge_at
      ),
      expires_at = :PGSTORE_SCHEMA.expiry(
        v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now)
      ),
      seen_at = v_now,
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      signed_in_at = :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now)
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
    returning s.id, s.version, s.expires_at, p_user_id = '' or p_user_id is not null and s.signed_in_at = v_now
    into id, version, expires_at, v_is_user_new;
    if found then
      if v_is_user_new then
        perform :PGSTORE_SCHEMA.session_announce('changed', array[id]);
      end if;
      status := 'saved';
      return;
    end if;

    select r.status, r.id, r.version, r.expires_at
    into status, id, version, expires_at
    from :PGSTORE_SCHEMA.session_save(p_key, p_data, '{}', p_ttl, 0, p_user_id, 0, p_lifetime) as r;
    exit when status <> 'conflict';
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_put(bytea, jsonb, interval, text, integer, interval) is
  'Creates a session, or replaces all data of the live one with this key. Status: saved, too_large or invalid.';
--! EndIncluded session_put.sql
