-- Deletes up to p_limit sessions that are due for purging, oldest first. Rows that another transaction holds are skipped, so that
-- several purges run side by side and none waits. Call it until it returns less than the limit.
--
-- purge_at is never earlier than the expiry; both are asked, so that nothing live is ever deleted.
create or replace function :PGSTORE_SCHEMA.purge_expired(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
      and s.expires_at <= statement_timestamp()
    order by s.purge_at
    limit greatest(coalesce(p_limit, 0), 0)
    for update skip locked
  )
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.ctid = any (array(select due.ctid from due));
  get diagnostics v_purged = row_count;
  return v_purged;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_expired(integer) is
  'Deletes one batch of expired sessions that are due, oldest first, skipping locked rows; returns how many.';
