-- Sessions that have not expired, counted one by one: seconds for millions. See session_stats for an estimate.
create or replace function :PGSTORE_SCHEMA.count_live()
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
    where s.expires_at > v_now
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_live() is
  'How many live sessions there are.';
