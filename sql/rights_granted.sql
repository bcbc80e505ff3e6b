-- Which role was given which right by `pgstore grant`: `pgstore status` compares this with what the roles can do. The table itself
-- is for the owner alone.
create or replace function :PGSTORE_SCHEMA.rights_granted()
  returns table (role name, "right" text)
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select g.role, g.right
    from :PGSTORE_SCHEMA.grants as g;
end
$$;
comment on function :PGSTORE_SCHEMA.rights_granted() is
  'The rights that pgstore grant gave: one row for each role and right.';
