-- Deletes what the history holds of a user, and the endings among it that consumers have not had yet. Returns how many rows.
create or replace function :PGSTORE_SCHEMA.history_erase(p_user_id text)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_erased bigint;
begin
  delete from :PGSTORE_SCHEMA.history as h
  where h.user_id = p_user_id;
  get diagnostics v_erased = row_count;
  return v_erased;
end
$$;
comment on function :PGSTORE_SCHEMA.history_erase(text) is
  'Deletes the history of a user; returns how many rows.';
