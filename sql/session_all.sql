-- Everybody's live sessions, a page at a time in the order of their keys, without their keys: for administrators.
--
-- place is where the next page begins: half of the key, which opens nothing.
create or replace function :PGSTORE_SCHEMA.session_all(p_after bytea default null, p_limit integer default 1000)
  returns table (
    place bytea,
    id bigint,
    user_id text,
    data jsonb,
    version integer,
    created_at timestamptz,
    updated_at timestamptz,
    expires_at timestamptz,
    seen_at timestamptz,
    signed_in_at timestamptz,
    label jsonb,
    tags text[]
  )
  language plpgsql
  volatile parallel unsafe rows 1000
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  -- The last key that begins with p_after; of those, 2^128 to one, there is no other.
  v_after bytea := coalesce(substr(p_after, 1, 16) || decode(repeat('ff', 16), 'hex'), '');
begin
  return query
    select
      substr(s.key, 1, 16),
      s.id,
      s.user_id,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, statement_timestamp()),
      s.version,
      s.created_at,
      s.updated_at,
      s.expires_at,
      s.seen_at,
      s.signed_in_at,
      s.label,
      s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.key > v_after
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    limit greatest(p_limit, 0);
end
$$;
comment on function :PGSTORE_SCHEMA.session_all(bytea, integer) is
  'A page of all live sessions, without their keys; p_after is the last page''s last place.';
