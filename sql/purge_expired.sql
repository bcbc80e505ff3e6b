-- Deletes up to p_limit sessions that are due for purging, oldest first. Rows that another transaction holds are skipped, so that
-- several purges run side by side and none waits. Call it until it returns less than the limit.
--
-- purge_at is never earlier than the expiry; both are asked, so that nothing live is ever deleted.
--
-- What is left of the limit goes to sessions that a mark of session_end_before has ended; and the secret by which current_session_id
-- knows a transaction's session is renewed each hour, so that one from a backup is worth nothing.
--
-- Where the history is on, it is here that an expiry gets there. Its own rows that were kept long enough go too, ten for each
-- session that there may be, so that it shrinks faster than it grows: they are not counted.
--
-- Until Postgres 17 a scan that is switched off counts as so dear, where there is no other (of the marks, here), that a server with a
-- just-in-time compiler would compile it at each call: 60 ms and more, where the batch takes 7.
create or replace function :PGSTORE_SCHEMA.purge_expired(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
  set jit = off
as $$
declare
  v_limit constant bigint := greatest(coalesce(p_limit, 0), 0);
  v_ended jsonb;
  v_ids bigint[];
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
      and s.expires_at <= statement_timestamp()
    order by s.purge_at
    limit v_limit
    for update skip locked
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.ctid = any (array(select due.ctid from due))
    returning s.id, s.user_id, s.label, s.tags, s.expires_at as ended_at
  )
  select
    count(*),
    array_agg(ended.id),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_purged, v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'expired');
  end if;
  v_purged := v_purged + :PGSTORE_SCHEMA.purge_marked((v_limit - v_purged)::integer);
  perform :PGSTORE_SCHEMA.entry_renew();
  perform :PGSTORE_SCHEMA.endings_spread();
  perform :PGSTORE_SCHEMA.history_purge(least(v_limit, 10000)::integer * 10);
  return v_purged;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_expired(integer) is
  'Deletes one batch of expired sessions that are due, oldest first, skipping locked rows; returns how many.';
