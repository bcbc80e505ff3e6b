-- Notes whose session the current transaction works for, after looking whether it lives: for row-level security by current_session_user
-- and current_session_id. Returns the session's number and user; nulls, and a transaction that is nobody's, where none lives.
--
-- The note is a setting of this transaction, which any program may overwrite and none can forge: it carries a proof that only a secret
-- in this schema can make, for this process and this transaction. So nothing is written, a read-only transaction will do, what a pooled
-- connection keeps is worth nothing in the next transaction, and a rollback to a savepoint goes back to what was noted before.
--
-- Send the key as a parameter, never in the query's text: pg_stat_activity shows that to every program of the same role.
create or replace function :PGSTORE_SCHEMA.session_enter(
  p_key bytea,
  out id bigint,
  out user_id text
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
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_proving_key bytea;
  v_note text := '';
begin
  select s.id, s.user_id, (select e.newest from :PGSTORE_SCHEMA.entry_keys as e where e.id)
  into id, user_id, v_proving_key
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  if found then
    v_note := id || ':' || coalesce(user_id, '');
    v_note := :PGSTORE_SCHEMA.entry_proof(v_proving_key, v_note) || ':' || v_note;
  end if;
  v_note := set_config(':PGSTORE_SCHEMA.entered', v_note, true);
end
$$;
comment on function :PGSTORE_SCHEMA.session_enter(bytea) is
  'Notes, until the transaction ends, that it works for the live session with this key; returns its number and user, or nulls.';
