-- When the user of a session signed in, after a save that names p_user_id: null leaves the user, '' clears it, and the same
-- user again signs nobody in.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.signed_in_when(
  p_signed_in_at timestamptz,
  p_user_id_before text,
  p_user_id text,
  p_now timestamptz
)
  returns timestamptz
  language sql
  immutable parallel safe
as $$
  select case
    when p_user_id is null or p_user_id = p_user_id_before then p_signed_in_at
    when p_user_id <> '' then p_now
  end
$$;
comment on function :PGSTORE_SCHEMA.signed_in_when(timestamptz, text, text, timestamptz) is
  'When a session''s user signed in, after a save that names one; internal.';
