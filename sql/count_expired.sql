-- Expired sessions that the purge has not deleted yet.
create or replace function :PGSTORE_SCHEMA.count_expired()
  returns bigint
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= v_now
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_expired() is
  'How many expired sessions wait to be purged.';
