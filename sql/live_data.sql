-- A session's data without the values whose own life is over.
--
-- Written into the expressions of its callers, as valid_life: a session without such values costs no call.
create or replace function :PGSTORE_SCHEMA.live_data(p_data jsonb, p_value_ends jsonb, p_now timestamptz)
  returns jsonb
  language sql
  stable parallel safe
as $$
  select case when p_value_ends is null then p_data else :PGSTORE_SCHEMA.drop_ended(p_data, p_value_ends, p_now) end
$$;
comment on function :PGSTORE_SCHEMA.live_data(jsonb, jsonb, timestamptz) is
  'A session''s data without the values whose own life is over; internal.';
