-- Replaces the cookie that a bound session's device sends: p_new_hash is the digest of the new one, which holds for p_ttl. To be
-- called when the device has proved itself. Of several callers at once one wins; the others, and whoever comes within ten seconds of
-- one that won, are told held, with what holds: what one browser asks for twice must not put it two steps behind.
--
-- The cookie before stays good as long as it would have, and for two minutes more at least: requests are under way with it. A refresh
-- is a touch too: the session lives as long from now as it did from the last visit, and never less than before.
create or replace function :PGSTORE_SCHEMA.session_rebind(
  p_key bytea,
  p_old_hash bytea,
  p_new_hash bytea,
  p_ttl interval,
  p_lifetime interval default null,
  out status text,
  out bound_hash bytea,
  out bound_until timestamptz,
  out previous_hash bytea
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
  v_id bigint;
  v_refreshed_at timestamptz;
  v_held_until timestamptz;
begin
  if p_key is null or octet_length(p_key) <> 32
    or p_old_hash is null or octet_length(p_old_hash) <> 32
    or p_new_hash is null or octet_length(p_new_hash) <> 32 or p_new_hash = p_old_hash
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
  then
    status := 'invalid';
    return;
  end if;

  select s.id, s.bound_hash, s.bound_until into v_id, bound_hash, bound_until
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.bound_hash is not null
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  for no key update;
  if found then
    select b.previous_hash, b.refreshed_at into previous_hash, v_refreshed_at
    from :PGSTORE_SCHEMA.bindings as b
    where b.session_id = v_id;
  end if;
  if not found then
    bound_hash := null;
    bound_until := null;
    status := 'gone';
    return;
  end if;
  if bound_hash <> p_old_hash or v_refreshed_at > v_now - interval '10 seconds' then
    status := 'held';
    return;
  end if;
  v_held_until := bound_until;

  update :PGSTORE_SCHEMA.bindings as b
  set
    previous_hash = p_old_hash,
    previous_until = greatest(v_held_until, v_now + interval '2 minutes'),
    refreshed_at = v_now
  where b.session_id = v_id;
  update :PGSTORE_SCHEMA.sessions as s
  set
    bound_hash = p_new_hash,
    bound_until = :PGSTORE_SCHEMA.expiry(v_now, p_ttl, null, v_now, null),
    purge_at = :PGSTORE_SCHEMA.purge_time(
      greatest(s.expires_at, :PGSTORE_SCHEMA.expiry(v_now, s.expires_at - s.seen_at, p_lifetime, s.created_at, s.signed_in_at)),
      s.expires_at - s.seen_at,
      s.purge_at
    ),
    expires_at = greatest(s.expires_at, :PGSTORE_SCHEMA.expiry(v_now, s.expires_at - s.seen_at, p_lifetime, s.created_at, s.signed_in_at)),
    seen_at = v_now
  where s.key = p_key
  returning s.bound_hash, s.bound_until into bound_hash, bound_until;
  previous_hash := p_old_hash;
  status := 'rebound';
end
$$;
comment on function :PGSTORE_SCHEMA.session_rebind(bytea, bytea, bytea, interval, interval) is
  'Replaces the cookie of a bound session''s device, for one of several callers, and touches the session. Status: rebound, held (what there is still holds), gone or invalid.';
