-- Data without the values that end at p_now or before. p_value_ends holds by name when a value ends, in seconds since 1970.
create or replace function :PGSTORE_SCHEMA.drop_ended(p_data jsonb, p_value_ends jsonb, p_now timestamptz)
  returns jsonb
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
as $$
begin
  return p_data - array(
    select e.key
    from jsonb_each(p_value_ends) as e
    where e.value::numeric <= extract(epoch from p_now)
  );
end
$$;
comment on function :PGSTORE_SCHEMA.drop_ended(jsonb, jsonb, timestamptz) is
  'Data without the values whose own life is over; internal.';
