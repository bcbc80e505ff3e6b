-- Tells the listeners of <schema>_sessions which sessions ended, changed their key or their user: {"type", "ids", "n", "reason"}.
-- Numbers only, so that a message stays under the 8000 bytes that NOTIFY takes; n counts the messages, so that a listener can
-- tell a gap. For the functions of this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.session_announce(p_type text, p_ids bigint[], p_reason text default null)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  for v_from in 1 .. cardinality(p_ids) by 350 loop
    perform pg_notify(
      ':PGSTORE_SCHEMA' || '_sessions',
      json_strip_nulls(json_build_object(
        'type', p_type,
        'ids', to_json(p_ids[v_from : v_from + 349]),
        'n', nextval(':PGSTORE_SCHEMA.announcement'),
        'reason', left(p_reason, 50)
      ))::text
    );
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_announce(text, bigint[], text) is
  'Announces session numbers on the sessions channel; internal.';
