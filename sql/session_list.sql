-- A user's live sessions, newest first, without their keys: for a page of devices, and for administrators.
create or replace function :PGSTORE_SCHEMA.session_list(p_user_id text)
  returns table (
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz
  )
  language plpgsql
  stable parallel safe rows 10
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
    select s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > now()
    order by s.created_at desc, s.id desc;
end
$$;
comment on function :PGSTORE_SCHEMA.session_list(text) is
  'The live sessions of a user, newest first, without their keys.';
