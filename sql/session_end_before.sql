-- Ends all sessions that began before p_at, and whose user has not signed in since: everybody's (p_scope 'all'), a user's ('user:' and
-- the user's id) or those that carry a tag ('tag:' and the tag). One row is written, however many they are: the functions that judge
-- whether a session lives compare it with the mark, and the purge removes the dead later, at its own pace.
--
-- p_at null is now, and so is a time to come; a mark that is there already never goes back. A session that commits later is judged by
-- when it began, so that none slips through. Announced without numbers: a listener can only take it that its own have ended.
--
-- Status: marked, with the mark that holds now; or invalid.
create or replace function :PGSTORE_SCHEMA.session_end_before(
  p_scope text,
  p_at timestamptz default null,
  out status text,
  out not_before timestamptz
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
  v_at constant timestamptz := greatest(least(p_at, statement_timestamp()), 'epoch');
  v_kind constant text := split_part(p_scope, ':', 1);
  v_name constant text := substr(p_scope, length(split_part(p_scope, ':', 1)) + 2);
begin
  if (p_scope = 'all' or v_kind in ('user', 'tag') and v_name <> '' and octet_length(v_name) <= 1024) is not true then
    status := 'invalid';
    return;
  end if;

  -- Locked by all that move the gate. That does not go back with the transaction: it is then higher than it need be.
  update :PGSTORE_SCHEMA.watermark as w
  set everybody = case when p_scope = 'all' then greatest(w.everybody, v_at) else w.everybody end
  where w.id
  returning w.everybody into not_before;
  perform setval(
    ':PGSTORE_SCHEMA.mark_gate',
    greatest(pg_sequence_last_value(':PGSTORE_SCHEMA.mark_gate'), ceil(date_part('epoch', v_at))::bigint)
  );
  perform :PGSTORE_SCHEMA.mark_gate_switch(true);

  if p_scope <> 'all' then
    insert into :PGSTORE_SCHEMA.marks as m (kind, name, not_before, made_at, made_in)
    values (v_kind, v_name, v_at, statement_timestamp(), pg_current_xact_id())
    on conflict (kind, name) do update
    set
      not_before = greatest(m.not_before, excluded.not_before),
      made_at = excluded.made_at,
      made_in = excluded.made_in
    returning m.not_before into not_before;
  end if;

  perform pg_notify(
    ':PGSTORE_SCHEMA' || '_sessions',
    json_build_object(
      'type', 'ended_before',
      'ids', '[]'::json,
      'n', nextval(':PGSTORE_SCHEMA.announcement'),
      'scope', v_kind
    )::text
  );
  status := 'marked';
end
$$;
comment on function :PGSTORE_SCHEMA.session_end_before(text, timestamptz) is
  'Ends all sessions that began before a time, of everybody (all), a user (user:ID) or a tag (tag:TAG), by one row, and announces it. Status: marked or invalid.';
