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
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_expires_at timestamptz;
  v_is_data boolean;
  v_is_user_new boolean;
  v_fits boolean;
  v_replaced jsonb;
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
      bound_hash = null,
      bound_until = null,
      -- Of the expired one, for the history: after an upsert only the new row is there to be returned. It stays for a moment.
      value_ends = :PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, least(s.expires_at, v_now))
    where s.expires_at <= v_now
      or :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at)
      or :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate) is not true
    returning s.id, s.version, s.expires_at, s.value_ends into id, version, expires_at, v_replaced;
    if found then
      if v_replaced is not null then
        update :PGSTORE_SCHEMA.sessions as s
        set value_ends = null
        where s.key = p_key;
        delete from :PGSTORE_SCHEMA.bindings as b
        where b.session_id = (v_replaced ->> 'id')::bigint;
        if (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then
          perform :PGSTORE_SCHEMA.history_end(jsonb_build_array(v_replaced), 'expired');
        end if;
      end if;
      if p_user_id <> '' then
        perform :PGSTORE_SCHEMA.history_note('signed_in', p_key);
      end if;
      status := 'saved';
      return;
    end if;
    status := 'conflict';
    select s.id, s.version, s.expires_at, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into id, version, expires_at, data
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
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
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
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
    if v_is_user_new and p_user_id <> '' then
      perform :PGSTORE_SCHEMA.history_note('signed_in', p_key);
    end if;
    status := 'saved';
    return;
  end if;

  select s.id, s.version, s.expires_at, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into id, version, expires_at, data
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
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
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
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
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
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
          and s.expires_at > v_now
          and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
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
