-- Whether a save changes a session's user, label or tags: null leaves each as it is; '', 'null' and '{}' clear them.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.is_renamed(
  p_user_id_before text,
  p_user_id text,
  p_label_before jsonb,
  p_label jsonb,
  p_tags_before text[],
  p_tags text[]
)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select p_user_id is not null and nullif(p_user_id, '') is distinct from p_user_id_before
    or p_label is not null and nullif(p_label, 'null') is distinct from p_label_before
    or p_tags is not null and nullif(p_tags, '{}') is distinct from p_tags_before
$$;
comment on function :PGSTORE_SCHEMA.is_renamed(text, text, jsonb, jsonb, text[], text[]) is
  'Whether a save changes a session''s user, label or tags; internal.';
