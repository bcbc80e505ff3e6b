-- Whether a session has outlived its lifetime, which counts from its sign-in where there was one; null where it has none.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.past_lifetime(
  p_now timestamptz,
  p_lifetime interval,
  p_created_at timestamptz,
  p_signed_in_at timestamptz
)
  returns boolean
  language sql
  stable parallel safe
as $$
  select greatest(p_created_at, p_signed_in_at) + p_lifetime <= p_now
$$;
comment on function :PGSTORE_SCHEMA.past_lifetime(timestamptz, interval, timestamptz, timestamptz) is
  'Whether a session has outlived its lifetime; internal.';
