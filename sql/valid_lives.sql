-- Whether these are lives of values: by name, seconds of more than 0 and at most a hundred years, or null. For the functions of
-- this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.valid_lives(p_lives jsonb)
  returns boolean
  language plpgsql
  immutable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return jsonb_typeof(p_lives) = 'object'
    and not jsonb_path_exists(p_lives, 'strict $.* ? (@.type() != "null" && @.type() != "number")')
    and not jsonb_path_exists(p_lives, 'strict $.* ? (@ <= 0 || @ > 3155760000)');
end
$$;
comment on function :PGSTORE_SCHEMA.valid_lives(jsonb) is
  'Whether these are lives of values by name; internal.';
