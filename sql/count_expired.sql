-- Expired sessions that are due for purging: within a fifth of their ttl after the expiry.
create or replace function :PGSTORE_SCHEMA.count_expired()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_expired() is
  'How many expired sessions wait to be purged.';
