-- Binds a live session to a device: p_public_key is what the device proves itself with, and p_hash the digest of the short-lived cookie
-- that is to come with the session's own. p_id is the session that the challenge was made for.
--
-- The first one wins. Another key takes its place only where the device has never come back, and not within half a minute: then the
-- answer was lost. Until it comes back bound_until is the time of the binding, and only what is asked for after a grace is refused.
create or replace function :PGSTORE_SCHEMA.session_bind(
  p_key bytea,
  p_id bigint,
  p_public_key bytea,
  p_alg text,
  p_hash bytea,
  out status text
)
  returns text
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_before bytea;
  v_binding record;
begin
  if p_key is null or octet_length(p_key) <> 32
    or p_id is null
    or p_public_key is null or octet_length(p_public_key) not between 1 and 1024
    or p_alg is null or p_alg not in ('ES256')
    or p_hash is null or octet_length(p_hash) <> 32
  then
    status := 'invalid';
    return;
  end if;

  select s.bound_hash into v_before
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.id = p_id
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  for no key update;
  if not found then
    status := 'gone';
    return;
  end if;

  -- In a statement after the lock: it sees what whoever held it wrote.
  select b.public_key, b.created_at, b.refreshed_at into v_binding
  from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = p_id;
  if found then
    if v_binding.public_key = p_public_key and v_before = p_hash then
      status := 'bound'; -- the same proof once more
      return;
    end if;
    if v_binding.refreshed_at is not null or v_binding.created_at > v_now - interval '30 seconds' then
      status := 'taken';
      return;
    end if;
  end if;

  insert into :PGSTORE_SCHEMA.bindings as b (session_id, public_key, alg, created_at)
  values (p_id, p_public_key, p_alg, v_now)
  on conflict (session_id) do update
  set
    public_key = excluded.public_key,
    alg = excluded.alg,
    created_at = excluded.created_at;
  update :PGSTORE_SCHEMA.sessions as s
  set
    bound_hash = p_hash,
    bound_until = v_now
  where s.key = p_key
    and s.id = p_id;
  perform :PGSTORE_SCHEMA.session_announce('changed', array[p_id]);
  status := 'bound';
end
$$;
comment on function :PGSTORE_SCHEMA.session_bind(bytea, bigint, bytea, text, bytea) is
  'Binds a live session to a device''s public key. Status: bound, taken (by another key), gone or invalid.';
