-- Renews the secret of session_enter, where it is an hour old: the one before stays good for the transactions that are under way.
-- For purge_expired; granted to nobody.
create or replace function :PGSTORE_SCHEMA.entry_renew()
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  update :PGSTORE_SCHEMA.entry_keys as e
  set
    former = e.newest,
    newest = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
      || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    made_at = statement_timestamp()
  where e.ctid = (
    select due.ctid
    from :PGSTORE_SCHEMA.entry_keys as due
    where due.id
      and due.made_at <= statement_timestamp() - interval '1 hour'
    for no key update skip locked
  );
end
$$;
comment on function :PGSTORE_SCHEMA.entry_renew() is
  'Renews the secret of session_enter each hour; internal.';
