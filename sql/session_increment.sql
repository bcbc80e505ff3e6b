-- Adds to one top-level number of a live session, which counts from 0, and returns the sum; creates the session where there is
-- none. Of several callers at once each counts. The ttl is that of a session created here: one that lives keeps its expiry, so that
-- a counter has a fixed window.
--
-- Status: saved; too_large; invalid: an argument is not what it should be, or the value there is not a number.
create or replace function :PGSTORE_SCHEMA.session_increment(
  p_key bytea,
  p_name text,
  p_by numeric default 1,
  p_ttl interval default '30 days',
  p_max_length integer default 4096,
  out status text,
  out value numeric
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
  v_data jsonb;
begin
  if p_key is null or octet_length(p_key) <> 32
    or p_name is null
    or p_by is null or abs(p_by) <= 1e100 is not true
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or p_max_length is null or p_max_length < 0
  then
    status := 'invalid';
    return;
  end if;

  loop -- again where another caller creates it between the two statements
    select :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into v_data
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    for no key update;
    if not found then
      select r.status into status
      from :PGSTORE_SCHEMA.session_save(
        p_key, jsonb_build_object(p_name, p_by), '{}', p_ttl, 0, null, p_max_length
      ) as r;
      continue when status = 'conflict';
      value := case when status = 'saved' then p_by end;
      return;
    end if;

    if v_data ? p_name and jsonb_typeof(v_data -> p_name) <> 'number' then
      status := 'invalid';
      return;
    end if;
    value := coalesce((v_data -> p_name)::numeric, 0) + p_by;
    v_data := v_data || jsonb_build_object(p_name, value);
    if p_max_length > 0 and octet_length(v_data::text) > p_max_length then
      status := 'too_large';
      value := null;
      return;
    end if;
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = v_data,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, v_data, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now
    where s.key = p_key;
    status := 'saved';
    return;
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_increment(bytea, text, numeric, interval, integer) is
  'Adds to one number of a live session and returns the sum; creates the session where there is none. Status: saved, too_large or invalid.';
