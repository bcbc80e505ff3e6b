-- Deletes up to p_limit expired sessions, oldest first. Rows that somebody else holds are skipped, so that several purges
-- run side by side and none waits. Call it until it returns less than the limit.
create or replace function :PGSTORE_SCHEMA.purge_expired(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at <= v_now
    order by s.expires_at
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
  'Deletes one batch of expired sessions, oldest first, skipping locked rows; returns how many.';
