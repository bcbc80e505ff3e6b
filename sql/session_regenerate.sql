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
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_is_data boolean;
  v_fits boolean;
  v_is_audited boolean;
  v_expired jsonb;
  v_expired_id bigint;
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
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
      and (p_version is null or s.version = p_version)
      -- Asked first: to wait for the holder of that key could be to wait in a ring.
      and not exists (select from :PGSTORE_SCHEMA.sessions as t where t.key = p_new_key)
      and case
        when p_max_length = 0 or not v_is_data then true
        when v_fits then octet_length(((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
        else false
      end
    returning s.id, s.version, s.expires_at, (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id)
    into id, version, expires_at, v_is_audited;
  exception when unique_violation then
    status := 'conflict';
    return;
  end;
  if found then -- announced in any case, and never relaxed
    perform :PGSTORE_SCHEMA.session_announce('regenerated', array[id]);
    if v_is_audited then
      perform :PGSTORE_SCHEMA.history_note(case when p_user_id <> '' then 'signed_in' else 'regenerated' end, p_new_key);
    end if;
    key := p_new_key;
    status := 'saved';
    return;
  end if;

  select s.version into version
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true;
  if found and version is not distinct from coalesce(p_version, version) then
    -- An expired session under the new key counts as none.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_new_key
      and (
        s.expires_at <= v_now
        or :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate) is not true
      )
    returning s.id, case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, s.expires_at)) end
    into v_expired_id, v_expired;
    if found then
      delete from :PGSTORE_SCHEMA.bindings as b
      where b.session_id = v_expired_id;
      if v_expired is not null then
        perform :PGSTORE_SCHEMA.history_end(v_expired, 'expired');
      end if;
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
