-- Gives a live session a new key: its old token is dead at once, its data stays. The expiry is set anew, shorter too, and
-- the user id with it, so that signing in is one statement. Of several concurrent callers one wins; the others find the old
-- key gone. A new key that exists already opens nobody's session: conflict.
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
declare
  v_step interval;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_new_key is null or octet_length(p_new_key) <> 32 or p_new_key = p_key
    or p_ttl is null or p_ttl < interval '1 millisecond' or p_ttl > interval '100 years'
    or p_lifetime < interval '1 millisecond' or p_lifetime > interval '100 years'
    or octet_length(p_user_id) > 1024
  then
    status := 'invalid';
    return;
  end if;

  v_step := make_interval(secs => extract(epoch from p_ttl)::float8 / 100);

  begin
    update :PGSTORE_SCHEMA.sessions as s
    set
      key = p_new_key,
      expires_at = least(
        date_bin(v_step, now() + p_ttl, timestamptz '2000-01-01 00:00:00+00') + v_step,
        s.created_at + p_lifetime
      ),
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end
    where s.key = p_key
      and s.expires_at > now()
      and (p_lifetime is null or s.created_at + p_lifetime > now())
    returning s.id, s.version, s.expires_at into id, version, expires_at;
  exception when unique_violation then
    status := 'conflict';
    return;
  end;
  if not found then
    status := 'gone';
    return;
  end if;

  perform :PGSTORE_SCHEMA.session_announce('regenerated', array[id]);
  key := p_new_key;
  status := 'saved';
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(bytea, bytea, interval, text, interval) is
  'Moves a live session to a new key and sets its expiry anew. Status: saved, gone, conflict (the new key exists) or invalid.';
