-- The number of the newest announcement on the sessions channel, 0 before the first: numbers are drawn before the commit, so
-- one that is missing may still come.
create or replace function :PGSTORE_SCHEMA.announcement_number()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(pg_sequence_last_value(':PGSTORE_SCHEMA.announcement'), 0);
end
$$;
comment on function :PGSTORE_SCHEMA.announcement_number() is
  'The number of the newest announcement about sessions; 0 before the first.';
