-- Rings the bell of <schema>_cleanup: whoever hears it reads the table. Counts and times only. For the functions of this
-- schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.cleanup_announce(p_type text, p_details jsonb)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify(':PGSTORE_SCHEMA' || '_cleanup', (jsonb_build_object('type', p_type) || p_details)::text);
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_announce(text, jsonb) is
  'Announces what the recurring purge does on its channel; internal.';
