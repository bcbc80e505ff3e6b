-- Ends the sessions with these keys, one row for each key: destroyed, gone (there was none) or locked: another transaction holds it,
-- send it alone. It waits for nobody, so that one of them delays no other; for the batches of a client. A session that was
-- regenerated is ended by its former keys too: see session_destroy.
create or replace function :PGSTORE_SCHEMA.session_try_destroy(p_keys bytea[])
  returns table (key bytea, status text)
  language plpgsql
  volatile parallel unsafe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
  v_moved_keys bytea[];
  v_moved_ids bigint[];
  v_moved_ended jsonb;
  v_held bytea[];
begin
  with locked as (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update skip locked
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    using locked
    where s.key = locked.key
    returning s.key, s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.key), '{}'),
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(:PGSTORE_SCHEMA.ending(ended.id, ended.user_id, ended.label, ended.tags, ended.ended_at)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_keys, v_ids, v_ended
  from ended;

  -- As in session_destroy.
  select array_agg(locked.key) into v_moved_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys && p_keys
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by substr(s.key, 1)
    for update skip locked
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_moved_keys)
    returning s.former_keys, s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    array(select former.key from ended, unnest(ended.former_keys) as former (key)),
    array(select ended.id from ended),
    (
      select jsonb_agg(:PGSTORE_SCHEMA.ending(ended.id, ended.user_id, ended.label, ended.tags, ended.ended_at))
      from ended
      where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id)
    )
  into v_moved_keys, v_moved_ids, v_moved_ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids || v_moved_ids);
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved_ids, 'signed_out');
  v_ended := coalesce(v_ended || v_moved_ended, v_ended, v_moved_ended);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'signed_out');
  end if;

  -- What is left is held by another transaction, or was none. Looked up by arrays: an "exists" for each key may be planned as a scan.
  select coalesce(array_agg(s.key), '{}') into v_held
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = any (p_keys)
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  select v_held || coalesce(array_agg(former.key), '{}') into v_held
  from :PGSTORE_SCHEMA.sessions as s, unnest(s.former_keys) as former (key)
  where s.former_keys && p_keys
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);

  return query
    select
      asked.key,
      case
        when asked.key = any (v_keys || v_moved_keys) then 'destroyed'
        when asked.key = any (v_held) then 'locked'
        else 'gone'
      end
    from (select distinct u.key from unnest(p_keys) as u (key)) as asked;
end
$$;
comment on function :PGSTORE_SCHEMA.session_try_destroy(bytea[]) is
  'Ends the live sessions with these keys that no other transaction holds and announces them; a row for each key: destroyed, gone or locked.';
