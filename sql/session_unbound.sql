-- Judges a request that came with a bound session's token and without the cookie of its device: p_hash is the digest of the one that it
-- did come with, null for none; p_is_ours says that this cookie was once given to this session.
--
-- Status: current or previous: it holds after all, as the caller had read an older state; unbound: the session is bound to nothing;
-- refused: noted in the history and announced, once a minute; awaited: the same, while the device's last proof still holds, so that it is
-- about to come with its cookie, and nothing may take the place of the session's own; ended: a cookie of ours that was replaced and is
-- over came back, so that there are two who have it: the session ends as stolen; gone.
create or replace function :PGSTORE_SCHEMA.session_unbound(
  p_key bytea,
  p_hash bytea,
  p_is_ours boolean,
  out status text
)
  returns text
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_id bigint;
  v_bound_hash bytea;
  v_bound_until timestamptz;
  v_previous_hash bytea;
  v_previous_until timestamptz;
begin
  select s.id, s.bound_hash, s.bound_until, b.previous_hash, b.previous_until
  into v_id, v_bound_hash, v_bound_until, v_previous_hash, v_previous_until
  from :PGSTORE_SCHEMA.sessions as s
  left join :PGSTORE_SCHEMA.bindings as b on b.session_id = s.id
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  if not found then
    status := 'gone';
  elsif v_bound_hash is null then
    status := 'unbound';
  elsif v_bound_hash = p_hash then
    status := 'current';
  elsif v_previous_hash = p_hash and v_now <= v_previous_until then
    status := 'previous';
  elsif p_is_ours and p_hash is not null and v_now > v_previous_until + interval '1 minute' then
    perform :PGSTORE_SCHEMA.session_destroy(p_key, 'stolen');
    status := 'ended';
  else
    update :PGSTORE_SCHEMA.bindings as b
    set noted_at = v_now
    where b.session_id = v_id
      and (b.noted_at is null or b.noted_at <= v_now - interval '1 minute');
    if found then
      perform :PGSTORE_SCHEMA.session_announce('unbound', array[v_id]);
      perform :PGSTORE_SCHEMA.history_note('unbound', p_key);
    end if;
    status := case when v_now < v_bound_until then 'awaited' else 'refused' end;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_unbound(bytea, bytea, boolean) is
  'Judges a request without the cookie of its session''s device. Status: current, previous, unbound, refused, awaited (refused, as its device is about to come), ended (as stolen) or gone.';
