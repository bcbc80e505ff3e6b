-- The user of the session that session_enter has noted in this transaction; null where there is none, or the note is not its.
--
-- Stable, so that the planner can look it up in an index. In a policy write (select current_session_user()): it is then asked once a
-- statement, and not for each row.
create or replace function :PGSTORE_SCHEMA.current_session_user()
  returns text
  language plpgsql
  stable parallel restricted
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_entered constant text := current_setting(':PGSTORE_SCHEMA.entered', true);
  v_proving_key bytea;
  v_former bytea;
begin
  if v_entered <> '' then
    select e.newest, e.former into v_proving_key, v_former
    from :PGSTORE_SCHEMA.entry_keys as e
    where e.id;
    if :PGSTORE_SCHEMA.is_entered(v_proving_key, v_entered) or :PGSTORE_SCHEMA.is_entered(v_former, v_entered) then
      return nullif(substr(v_entered, 66 + strpos(substr(v_entered, 66), ':')), '');
    end if;
  end if;
  return null;
end
$$;
comment on function :PGSTORE_SCHEMA.current_session_user() is
  'The user of the session that this transaction works for, or null.';
