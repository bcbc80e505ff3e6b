-- Writes into the history, where it is on, that a session signed in or was regenerated: the one with this key, as it is now. For the
-- functions of this schema; granted to nobody.
--
-- Who did it is what the caller's transaction says in the setting pgstore.actor. A number's low byte is the session's: shards that
-- count for themselves give no number twice.
create or replace function :PGSTORE_SCHEMA.history_note(p_type text, p_key bytea)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  insert into :PGSTORE_SCHEMA.history (id, session_id, happened_at, user_id, type, actor, label, tags)
  select
    nextval(':PGSTORE_SCHEMA.history_number') * 256 + (s.id & 255),
    s.id,
    statement_timestamp(),
    s.user_id,
    p_type,
    left(nullif(current_setting('pgstore.actor', true), ''), 255),
    s.label,
    s.tags
  from :PGSTORE_SCHEMA.sessions as s, :PGSTORE_SCHEMA.audit as a
  where s.key = p_key
    and a.id
    and a.is_on;
end
$$;
comment on function :PGSTORE_SCHEMA.history_note(text, bytea) is
  'Writes a sign-in or a regeneration into the history, where it is on; internal.';
