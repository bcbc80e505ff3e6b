-- What a device's proof is judged by: the binding of the session with this key. Status: bound, unbound, moved (the session has been
-- regenerated from this key: the browser is about to hear of the new one), or gone.
create or replace function :PGSTORE_SCHEMA.session_binding(
  p_key bytea,
  out status text,
  out id bigint,
  out public_key bytea,
  out alg text,
  out bound_hash bytea,
  out bound_until timestamptz,
  out previous_hash bytea,
  out previous_until timestamptz
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
begin
  select
    case when b.session_id is null then 'unbound' else 'bound' end,
    s.id,
    b.public_key,
    b.alg,
    s.bound_hash,
    s.bound_until,
    b.previous_hash,
    b.previous_until
  into status, id, public_key, alg, bound_hash, bound_until, previous_hash, previous_until
  from :PGSTORE_SCHEMA.sessions as s
  left join :PGSTORE_SCHEMA.bindings as b on b.session_id = s.id
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  if found then
    return;
  end if;

  perform from :PGSTORE_SCHEMA.sessions as s
  where s.former_keys @> array[p_key]
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  status := case when found then 'moved' else 'gone' end;
end
$$;
comment on function :PGSTORE_SCHEMA.session_binding(bytea) is
  'The binding of a live session to its device. Status: bound, unbound, moved or gone.';
