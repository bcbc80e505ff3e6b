-- Writes into the history that these sessions ended, and puts each before the consumers of endings: in the statement that ends
-- them, so that neither is there without the other. p_ended is an array of what ending gives. For the functions of this schema,
-- which ask whether the history is on; granted to nobody.
--
-- The consumer '' stands for all: endings_spread gives each its own. Read here, the list of consumers could lack one that is added
-- before this transaction commits, and that one would never hear.
create or replace function :PGSTORE_SCHEMA.history_end(p_ended jsonb, p_reason text)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  with noted as (
    insert into :PGSTORE_SCHEMA.history as h (id, session_id, happened_at, user_id, type, reason, actor, label, tags)
    select
      nextval(':PGSTORE_SCHEMA.history_number') * 256 + (e.id & 255),
      e.id,
      e.ended_at,
      e.user_id,
      'ended',
      left(p_reason, 50),
      left(nullif(current_setting('pgstore.actor', true), ''), 255),
      e.label,
      e.tags
    from jsonb_to_recordset(p_ended) as e (id bigint, user_id text, label jsonb, tags text[], ended_at timestamptz)
    returning h.id
  )
  insert into :PGSTORE_SCHEMA.ending_deliveries (consumer, id)
  select '', noted.id
  from noted;
end
$$;
comment on function :PGSTORE_SCHEMA.history_end(jsonb, text) is
  'Writes ends of sessions into the history; internal.';
