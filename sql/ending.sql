-- What the history keeps of a session that ends.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.ending(
  p_id bigint,
  p_user_id text,
  p_label jsonb,
  p_tags text[],
  p_ended_at timestamptz
)
  returns jsonb
  language sql
  stable parallel safe
as $$
  select pg_catalog.jsonb_build_object(
    'id', p_id, 'user_id', p_user_id, 'label', p_label, 'tags', p_tags, 'ended_at', p_ended_at
  )
$$;
comment on function :PGSTORE_SCHEMA.ending(bigint, text, jsonb, text[], timestamptz) is
  'What the history keeps of a session that ends; internal.';
