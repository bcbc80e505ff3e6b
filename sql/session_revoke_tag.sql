-- Ends the sessions that carry a tag (a tenant, the sid of an identity provider); p_except is the key of one to spare, as in
-- session_revoke. Locked in key order.
create or replace function :PGSTORE_SCHEMA.session_revoke_tag(
  p_tag text,
  p_except bytea default null,
  p_reason text default null
)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  -- Two statements, as in session_revoke.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.tags @> array[p_tag]
      and (p_except is null or s.key <> p_except and (p_except = any (s.former_keys)) is not true)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'revoked'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke_tag(text, bytea, text) is
  'Ends the live sessions that carry a tag, but one, and announces them; returns how many ended.';
