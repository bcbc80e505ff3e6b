-- Ends a session. One that is unknown or has expired already is no error: 0.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_key bytea)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_id bigint;
begin
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > now()
  returning s.id into v_id;
  if not found then
    return 0;
  end if;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id]);
  return 1;
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea) is
  'Ends the live session with this key and announces it; returns how many ended.';

-- Several in one call, locked in key order.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_keys bytea[])
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_ids bigint[];
begin
  with locked as (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > now()
    order by s.key
    for update
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    using locked
    where s.key = locked.key
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea[]) is
  'Ends the live sessions with these keys and announces them; returns how many ended.';
