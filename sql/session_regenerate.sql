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
