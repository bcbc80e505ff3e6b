-- Keeps at most p_max of a user's live sessions, those signed in last, and ends the others: to be called after each sign-in,
-- in a transaction of its own. Of several sign-ins at once the last one to call sees the sessions of all, and all agree on
-- which are the newest: when every call is answered, no more than p_max are left. Sharded, the cap is each shard's.
create or replace function :PGSTORE_SCHEMA.session_limit(p_user_id text, p_max integer)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_keys bytea[];
  v_ids bigint[];
begin
  if coalesce(p_max, 0) < 1 then
    return 0; -- no cap: to end all there is session_revoke
  end if;
  -- Locked in key order, in one statement with the choice; deleted in a second one, as in session_revoke.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.id = any (array(
        select old.id
        from :PGSTORE_SCHEMA.sessions as old
        where old.user_id = p_user_id
          and old.expires_at > now()
        order by old.signed_in_at desc, old.id desc
        offset p_max
      ))
      and s.user_id = p_user_id
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
      and s.user_id = p_user_id
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_limit(text, integer) is
  'Ends all but the p_max live sessions of a user that signed in last, and announces them; returns how many ended.';
