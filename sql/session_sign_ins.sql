-- When a user's live sessions signed in, for a cap over several partitions: no partition knows the sessions of the others. is_spared
-- says which one has the key p_except, or was regenerated from it.
create or replace function :PGSTORE_SCHEMA.session_sign_ins(p_user_id text, p_except bytea)
  returns table (
    id bigint,
    signed_in_at timestamptz,
    is_spared boolean
  )
  language plpgsql
  volatile parallel unsafe rows 10
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
begin
  return query
    select
      s.id,
      s.signed_in_at,
      coalesce(p_except = s.key or p_except = any (s.former_keys), false)
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
end
$$;
comment on function :PGSTORE_SCHEMA.session_sign_ins(text, bytea) is
  'When the live sessions of a user signed in, for a cap over several partitions.';
