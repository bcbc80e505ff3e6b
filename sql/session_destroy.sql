-- Ends a session. One that is unknown or has expired already is no error: 0.
--
-- A session that was regenerated is ended by each of its last eight keys too: a request that signs out while others regenerate has
-- read an old key, and is right when it is told that the session ended.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_key bytea, p_reason text default null)
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
  v_id bigint;
  v_ended jsonb;
begin
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  returning
    s.id,
    case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, statement_timestamp())) end
  into v_id, v_ended;
  if not found then
    -- A statement of its own: its snapshot has what a regenerate committed that the one above waited for.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys @> array[p_key]
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    returning
      s.id,
      case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, statement_timestamp())) end
    into v_id, v_ended;
    if not found then
      return 0;
    end if;
  end if;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = v_id;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id], coalesce(p_reason, 'signed_out'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'signed_out'));
  end if;
  return 1;
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea, text) is
  'Ends the live session with this key, or the one that was regenerated from it, and announces it; returns how many ended.';

-- Several in one call, locked in key order.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_keys bytea[], p_reason text default null)
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
  v_ids bigint[];
  v_ended jsonb;
  v_moved_keys bytea[];
  v_moved bigint[];
  v_moved_ended jsonb;
begin
  with locked as (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    using locked
    where s.key = locked.key
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;

  -- Two statements, as in session_revoke. By an expression: for the order's sake a plan would read all of the primary key.
  select array_agg(locked.key) into v_moved_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys && p_keys
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by substr(s.key, 1)
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_moved_keys)
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_moved, v_moved_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids || v_moved);
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved, coalesce(p_reason, 'signed_out'));
  v_ended := coalesce(v_ended || v_moved_ended, v_ended, v_moved_ended);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'signed_out'));
  end if;
  return cardinality(v_ids || v_moved);
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea[], text) is
  'Ends the live sessions with these keys, or regenerated from them, and announces them; returns how many ended.';
