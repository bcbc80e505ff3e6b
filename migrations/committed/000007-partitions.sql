--! Previous: sha1:8a31c28692248ccaedf6b7e3b0d7d78fdb959cb2
--! Hash: sha1:899ea4287a920340df8d4e46c3cbda0b3ac8fca4
--! Message: partitions

--! split: 1-current.sql
-- What a partition needs for a cap over all partitions, which a proxy in front of them keeps.

--! Included session_sign_ins.sql
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
begin
  return query
    select
      s.id,
      s.signed_in_at,
      coalesce(p_except = s.key or p_except = any (s.former_keys), false)
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp();
end
$$;
comment on function :PGSTORE_SCHEMA.session_sign_ins(text, bytea) is
  'When the live sessions of a user signed in, for a cap over several partitions.';
--! EndIncluded session_sign_ins.sql
--! Included session_revoke_some.sql
-- Ends those of a user's sessions that have these numbers: what a cap over several partitions has chosen. Locked in key order.
create or replace function :PGSTORE_SCHEMA.session_revoke_some(p_user_id text, p_ids bigint[], p_reason text default null)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  -- Two statements, as in session_revoke.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.id = any (p_ids)
      and s.expires_at > statement_timestamp()
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
      and s.user_id = p_user_id
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'revoked'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke_some(text, bigint[], text) is
  'Ends the live sessions of a user that have these numbers, and announces them; returns how many ended.';
--! EndIncluded session_revoke_some.sql
