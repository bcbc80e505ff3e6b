-- Ends up to p_limit sessions, whosoever they are and live or expired, in the order of their keys; call it until it returns
-- less than the limit.
create or replace function :PGSTORE_SCHEMA.session_clear(p_limit integer default 1000)
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
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    order by s.key
    limit greatest(p_limit, 0)
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
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids, 'cleared');
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'cleared');
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_clear(integer) is
  'Ends a batch of all sessions and announces them; returns how many ended.';
