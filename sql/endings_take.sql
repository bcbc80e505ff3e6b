-- Hands endings to a consumer, the oldest first, and takes back those that it has done. A consumer that is new is added, and gets what
-- is committed from then on. Several callers of one consumer share its endings: none waits for another.
--
-- With a lease they belong to p_holder until it is over, and to others after that unless they are done: to p_holder itself they are
-- given again at once. Without (null), they are done when the caller's transaction commits, and only the consumer's own are looked
-- at: exactly once for what it does there.
--
-- Status: ended; or in a row of its own invalid (an argument is not what it should be), or off: nothing waits, and the history is
-- not written.
create or replace function :PGSTORE_SCHEMA.endings_take(
  p_consumer text,
  p_done bigint[] default '{}',
  p_holder text default null,
  p_limit integer default 100,
  p_lease interval default '1 minute'
)
  returns table (
    status text,
    id bigint,
    ended_at timestamptz,
    session_id bigint,
    user_id text,
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
declare
  v_now constant timestamptz := statement_timestamp();
  v_ids bigint[];
begin
  if octet_length(p_consumer) between 1 and 255 is not true
    or octet_length(p_holder) > 255
    or p_limit between 0 and 10000 is not true
    or not :PGSTORE_SCHEMA.valid_life(p_lease)
  then
    status := 'invalid';
    return next;
    return;
  end if;

  if cardinality(p_done) > 0 then
    delete from :PGSTORE_SCHEMA.ending_deliveries as d
    where d.consumer = p_consumer
      and d.id = any (p_done);
  end if;

  if p_lease is not null then
    if not exists (select from :PGSTORE_SCHEMA.ending_consumers as c where c.name = p_consumer) then
      -- While the history is off nothing is owed to a name that is new, or misspelt.
      if not (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then
        status := 'off';
        return next;
        return;
      end if;
      -- See endings_spread. What is there by now is not for the new one.
      update :PGSTORE_SCHEMA.ending_consumers as c
      set added_at = v_now
      where c.name = '';
      loop
        exit when :PGSTORE_SCHEMA.endings_spread() = 0;
      end loop;
      insert into :PGSTORE_SCHEMA.ending_consumers (name, added_at)
      values (p_consumer, v_now)
      on conflict do nothing;
    end if;
    perform :PGSTORE_SCHEMA.endings_spread();
  end if;

  select coalesce(array_agg(free.id), '{}') into v_ids
  from (
    select d.id
    from :PGSTORE_SCHEMA.ending_deliveries as d
    where d.consumer = p_consumer
      and (d.taken_until is null or d.taken_until <= v_now or d.taken_by = p_holder)
    order by d.id
    limit p_limit
    for update skip locked
  ) as free;

  -- Of what was purged or erased meanwhile there is nothing left to hand over.
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.consumer = p_consumer
    and d.id = any (v_ids)
    and (p_lease is null or not exists (select from :PGSTORE_SCHEMA.history as h where h.id = d.id));
  if p_lease is not null then
    update :PGSTORE_SCHEMA.ending_deliveries as d
    set
      taken_by = p_holder,
      taken_until = v_now + p_lease
    where d.consumer = p_consumer
      and d.id = any (v_ids);
  end if;

  return query
    select 'ended', h.id, h.happened_at, h.session_id, h.user_id, h.reason, h.actor, h.label, h.tags
    from :PGSTORE_SCHEMA.history as h
    where h.id = any (v_ids)
    order by h.id;
  if not found
    and not (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id)
    and not exists (select from :PGSTORE_SCHEMA.ending_deliveries as d where d.consumer = p_consumer)
  then
    status := 'off';
    return next;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.endings_take(text, bigint[], text, integer, interval) is
  'Hands endings of sessions to a named consumer, oldest first, and takes back those done. Status: ended, invalid or off.';
