-- Announces that a user's sessions have changed: after a change elsewhere that no server may go on without, such as a role that was
-- taken away. Nothing is written. Returns how many sessions were named.
create or replace function :PGSTORE_SCHEMA.session_changed(p_user_id text)
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
begin
  select coalesce(array_agg(s.id), '{}') into v_ids
  from :PGSTORE_SCHEMA.sessions as s
  where s.user_id = p_user_id
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  perform :PGSTORE_SCHEMA.session_announce('changed', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_changed(text) is
  'Announces a user''s live sessions as changed; returns how many.';
