-- Tells the listeners of <schema>_sessions which sessions ended or changed their key: numbers only, a message stays under
-- the 8000 bytes that NOTIFY takes. For the functions of this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.session_announce(p_type text, p_ids bigint[])
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
      json_build_object('type', p_type, 'ids', to_json(p_ids[v_from : v_from + 349]))::text
    );
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_announce(text, bigint[]) is
  'Announces session numbers on the sessions channel; internal.';
