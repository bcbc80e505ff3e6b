-- What happened to a user's sessions, newest first: sign-ins, regenerations and ends, as far as the history was on and is kept.
-- p_before is the number of the last row of the page before.
create or replace function :PGSTORE_SCHEMA.session_history(
  p_user_id text,
  p_before bigint default null,
  p_limit integer default 100
)
  returns table (
    id bigint,
    happened_at timestamptz,
    type text,
    session_id bigint,
    reason text,
    actor text,
    label jsonb,
    tags text[]
  )
  language plpgsql
  volatile parallel unsafe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
    select h.id, h.happened_at, h.type, h.session_id, h.reason, h.actor, h.label, h.tags
    from :PGSTORE_SCHEMA.history as h
    where h.user_id = p_user_id
      and h.id < coalesce(p_before, 9223372036854775807)
    order by h.id desc
    limit greatest(coalesce(p_limit, 0), 0);
end
$$;
comment on function :PGSTORE_SCHEMA.session_history(text, bigint, integer) is
  'What happened to a user''s sessions, newest first: signed_in, regenerated and ended.';
