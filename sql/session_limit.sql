-- Keeps at most p_max of a user's live sessions, those signed in last, and ends the others: to be called after each sign-in,
-- in a transaction of its own. p_except is the key of the session that has just signed in, or a key that it was regenerated from
-- meanwhile: it stays, whatever the clocks were when the others did. Of several sign-ins at once the last one to call sees the
-- sessions of all: when every call is answered, no more than p_max are left. Sharded, the cap is each shard's.
create or replace function :PGSTORE_SCHEMA.session_limit(
  p_user_id text,
  p_max integer,
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
  if coalesce(p_max, 0) < 1 then
    return 0; -- no cap: to end all there is session_revoke
  end if;
  -- All are locked before any is chosen: a session that another sign-in ended meanwhile no longer counts, so that two of them do
  -- not end each other. Deleted in a second statement, as in session_revoke.
  select (array_agg(
    locked.key order by locked.is_spared desc, locked.signed_in_at desc nulls last, locked.id desc
  ))[least(p_max, 2147483646) + 1 :] into v_keys
  from (
    select s.key, coalesce(p_except = s.key or p_except = any (s.former_keys), false) as is_spared, s.signed_in_at, s.id
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
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
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'limited'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'limited'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_limit(text, integer, bytea, text) is
  'Ends all but the p_max live sessions of a user that signed in last, and announces them; returns how many ended.';
