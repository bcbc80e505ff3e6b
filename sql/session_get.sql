-- Live sessions by key. Unknown and expired are no row.
--
-- The settings keep its plan to one look into the primary key, whatever the table's size was when it was planned: one made for an
-- empty table would go on reading all of it. The gate before the marks, see is_standing, is asked for in the statement: a variable would
-- cost 0.3 µs more, which in the form for several is once for all. Volatile, as every function that reads: a load-balancing proxy
-- sends what is not to a standby.
create or replace function :PGSTORE_SCHEMA.session_get(p_key bytea)
  returns table (
    key bytea,
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
    tags text[],
    bound_hash bytea,
    bound_until timestamptz
  )
  language plpgsql
  volatile parallel unsafe rows 1
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
    select
      s.key,
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
      s.tags,
      s.bound_hash,
      s.bound_until
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, :PGSTORE_SCHEMA.mark_gate());
end
$$;
comment on function :PGSTORE_SCHEMA.session_get(bytea) is
  'The live session with this key, or no row.';

-- Several in one call; the order of the rows is free.
create or replace function :PGSTORE_SCHEMA.session_get(p_keys bytea[])
  returns table (
    key bytea,
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
    tags text[],
    bound_hash bytea,
    bound_until timestamptz
  )
  language plpgsql
  volatile parallel unsafe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
begin
  return query
    select
      s.key,
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
      s.tags,
      s.bound_hash,
      s.bound_until
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
end
$$;
comment on function :PGSTORE_SCHEMA.session_get(bytea[]) is
  'The live sessions with these keys, in any order; an unknown or expired one is no row.';
