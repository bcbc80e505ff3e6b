-- Whether a session stands before the marks of session_end_before: it began, or signed in, no earlier than p_gate, before which all
-- marks are, or none is for everybody, its user or one of its tags. No answer but true lets it live.
--
-- Written into the expressions of its callers, as valid_life: nothing where there is no mark, and one comparison where the session is
-- younger. They ask mark_gate once, at their start. The gate is set before the mark is committed, so that nobody sees a mark behind a gate that is
-- still open; what it costs to be too high is a second look.
create or replace function :PGSTORE_SCHEMA.is_standing(
  p_created_at timestamptz,
  p_signed_in_at timestamptz,
  p_user_id text,
  p_tags text[],
  p_gate timestamptz
)
  returns boolean
  language sql
  stable parallel safe
as $$
  select :PGSTORE_SCHEMA.no_marks()
    or greatest(p_created_at, p_signed_in_at) >= p_gate
    or not :PGSTORE_SCHEMA.is_marked(greatest(p_created_at, p_signed_in_at), p_user_id, p_tags)
$$;
comment on function :PGSTORE_SCHEMA.is_standing(timestamptz, timestamptz, text, text[], timestamptz) is
  'Whether no mark has ended a session; internal.';
