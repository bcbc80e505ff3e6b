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
