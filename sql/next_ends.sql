-- When a session's values end, after a change of its data: those that have ended or been removed are forgotten, and with
-- them their lives: a new value of that name lives as long as the session. p_lives gives lives by name, in seconds from now; null for
-- as long as the session. Null where no value has a life of its own.
create or replace function :PGSTORE_SCHEMA.next_ends(p_value_ends jsonb, p_lives jsonb, p_data jsonb, p_now timestamptz)
  returns jsonb
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
as $$
begin
  return (
    select jsonb_object_agg(e.name, e.ends_at)
    from (
      select k.key as name, k.value::numeric as ends_at
      from jsonb_each(p_value_ends) as k
      where (p_lives ? k.key) is not true
      union all
      select l.key, extract(epoch from p_now) + l.value::numeric
      from jsonb_each(jsonb_strip_nulls(p_lives)) as l
    ) as e
    where e.ends_at > extract(epoch from p_now)
      and p_data ? e.name
  );
end
$$;
comment on function :PGSTORE_SCHEMA.next_ends(jsonb, jsonb, jsonb, timestamptz) is
  'When a session''s values end, after a change of its data; internal.';
