-- Whether a session stands before the marks of session_end_before: it began, or signed in, no earlier than the gate, before which all
-- marks are, or none is for everybody, its user or one of its tags. No answer but true lets it live.
--
-- Written into the expressions of its callers, as valid_life: one comparison with a constant, where there is no mark or the session is
-- younger.
create or replace function :PGSTORE_SCHEMA.is_standing(
  p_created_at timestamptz,
  p_signed_in_at timestamptz,
  p_user_id text,
  p_tags text[]
)
  returns boolean
  language sql
  stable parallel safe
as $$
  select greatest(p_created_at, p_signed_in_at) >= :PGSTORE_SCHEMA.mark_gate()
    or not :PGSTORE_SCHEMA.is_marked(greatest(p_created_at, p_signed_in_at), p_user_id, p_tags)
$$;
comment on function :PGSTORE_SCHEMA.is_standing(timestamptz, timestamptz, text, text[]) is
  'Whether no mark has ended a session; internal.';
