-- Gives a key this data, whatever was there: creates the session, or replaces all data of the live one, which keeps its number, its
-- label and its tags. The expiry is set anew, shorter too.
--
-- p_user_id null leaves the user of a live session as it is, the empty string clears it; a change of it is announced. Status and
-- columns are those of session_save: saved, too_large or invalid.
create or replace function :PGSTORE_SCHEMA.session_put(
  p_key bytea,
  p_data jsonb,
  p_ttl interval default '30 days',
  p_user_id text default null,
  p_max_length integer default 4096,
  p_lifetime interval default null,
  out key bytea,
  out status text,
  out id bigint,
  out version integer,
  out expires_at timestamptz,
  out data jsonb
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_is_user_new boolean;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_data is null or jsonb_typeof(p_data) <> 'object'
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
    or p_max_length is null or p_max_length < 0
    or octet_length(p_user_id) > 1024
  then
    status := 'invalid';
    return;
  end if;

  -- The first as in session_save: what is larger than this is not printed to find out.
  if p_max_length > 0
    and (pg_column_size(p_data) > 5::bigint * p_max_length + 64 or octet_length(p_data::text) > p_max_length)
  then
    status := 'too_large';
    return;
  end if;

  loop -- again where another caller creates it between the two statements
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = p_data,
      value_ends = null,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now,
      purge_at = :PGSTORE_SCHEMA.purge_time(
        :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now)),
        p_ttl,
        s.purge_at
      ),
      expires_at = :PGSTORE_SCHEMA.expiry(
        v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now)
      ),
      seen_at = v_now,
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      signed_in_at = :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now)
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
    returning s.id, s.version, s.expires_at, p_user_id = '' or p_user_id is not null and s.signed_in_at = v_now
    into id, version, expires_at, v_is_user_new;
    if found then
      if v_is_user_new then
        perform :PGSTORE_SCHEMA.session_announce('changed', array[id]);
        if p_user_id <> '' then
          perform :PGSTORE_SCHEMA.history_note('signed_in', p_key);
        end if;
      end if;
      status := 'saved';
      return;
    end if;

    select r.status, r.id, r.version, r.expires_at
    into status, id, version, expires_at
    from :PGSTORE_SCHEMA.session_save(p_key, p_data, '{}', p_ttl, 0, p_user_id, 0, p_lifetime) as r;
    exit when status <> 'conflict';
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_put(bytea, jsonb, interval, text, integer, interval) is
  'Creates a session, or replaces all data of the live one with this key. Status: saved, too_large or invalid.';
