-- Reads one top-level value of a live session and removes it: of several concurrent callers one gets it, and the others are told
-- none. For one-time tokens, OAuth state, flash messages. With a null name it ends the session and returns its data.
--
-- Status: taken, with the value; none: the session lives and has no such value; gone: there is no live session, under this very
-- key: an old key of a session that was regenerated reads nothing. The expiry stays what it was.
create or replace function :PGSTORE_SCHEMA.session_take(
  p_key bytea,
  p_name text,
  out status text,
  out value jsonb
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
  v_now constant timestamptz := statement_timestamp();
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_id bigint;
  v_ended jsonb;
begin
  if p_name is null then
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    returning
      s.id,
      case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, v_now)) end,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now)
    into v_id, v_ended, value;
    if not found then
      status := 'gone';
      return;
    end if;
    delete from :PGSTORE_SCHEMA.bindings as b
    where b.session_id = v_id;
    perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id], 'taken');
    if v_ended is not null then
      perform :PGSTORE_SCHEMA.history_end(v_ended, 'taken');
    end if;
    status := 'taken';
    return;
  end if;

  -- Locked before it is read: whoever waited sees the data without it. A session that has no such value is not written to.
  select :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) -> p_name into value
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    and s.data ? p_name
  for no key update;

  if value is not null then
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - p_name,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, s.data - p_name, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now
    where s.key = p_key;
    status := 'taken';
    return;
  end if;

  perform from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  status := case when found then 'none' else 'gone' end;
end
$$;
comment on function :PGSTORE_SCHEMA.session_take(bytea, text) is
  'Reads one value of a live session and removes it, for one of several concurrent callers; with a null name it ends the session and returns its data. Status: taken, none or gone.';
