-- When a session expires that is visited now: after its ttl, and no later than its lifetime allows, which counts from the sign-in
-- where there was one (NIST SP 800-63B-4 §5: re-authentication resets both timeouts). Exact: nothing rounds it.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.expiry(
  p_now timestamptz,
  p_ttl interval,
  p_lifetime interval,
  p_created_at timestamptz,
  p_signed_in_at timestamptz
)
  returns timestamptz
  language sql
  stable parallel safe
as $$
  select least(p_now + p_ttl, greatest(p_created_at, p_signed_in_at) + p_lifetime)
$$;
comment on function :PGSTORE_SCHEMA.expiry(timestamptz, interval, interval, timestamptz, timestamptz) is
  'When a session that is visited now expires; internal.';
