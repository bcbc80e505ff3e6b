-- Deletes up to p_limit sessions that a mark has ended, and returns how many. For purge_expired; granted to nobody.
--
-- Those of a mark for everybody are looked for where they lie: the table is walked once, from its first page, up to 10,000 pages a call,
-- and sweep holds the place. One purge walks at a time, and none waits. What it does not meet stays dead, and goes when it expires.
--
-- A user's and a tag's are found by their indexes, an hour after the mark, when everything that was under way then has ended: then
-- nothing can appear any more that began before it, and the mark is forgotten with the last of its sessions. A mark of a transaction
-- that this server has yet to begin came from another one, with its number.
create or replace function :PGSTORE_SCHEMA.purge_marked(p_limit integer)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_most_pages constant integer := 10000;
  v_chunk constant integer := 50;
  v_left bigint := p_limit;
  v_everybody timestamptz;
  v_page bigint;
  v_from bigint;
  v_pages bigint;
  v_places tid[];
  v_mark record;
  v_ended jsonb;
  v_ids bigint[];
  v_is_audited boolean;
  v_newest timestamptz;
begin
  select w.everybody, (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id)
  into v_everybody, v_is_audited
  from :PGSTORE_SCHEMA.watermark as w
  where w.id;

  select case when p.everybody < v_everybody then 0 else p.page end into v_page
  from :PGSTORE_SCHEMA.sweep as p
  where p.id
    and v_left > 0
    and (p.page is not null or p.everybody < v_everybody)
  for update skip locked;
  if found then
    v_from := v_page;
    v_pages := pg_relation_size(':PGSTORE_SCHEMA.sessions') / current_setting('block_size')::integer;
    while v_left > 0 and v_page < least(v_pages, v_from + v_most_pages) loop
      select array_agg(dead.ctid) into v_places
      from (
        select s.ctid
        from :PGSTORE_SCHEMA.sessions as s
        where s.ctid >= ('(' || v_page || ',0)')::tid
          and s.ctid < ('(' || v_page + v_chunk || ',0)')::tid
          and greatest(s.created_at, s.signed_in_at) < v_everybody
        limit v_left
        for update skip locked
      ) as dead;
      with ended as (
        delete from :PGSTORE_SCHEMA.sessions as s
        where s.ctid = any (v_places)
        returning s.id, s.user_id, s.label, s.tags, v_everybody as ended_at
      )
      select array_agg(ended.id), jsonb_agg(to_jsonb(ended)) filter (where v_is_audited) into v_ids, v_ended
      from ended;
      delete from :PGSTORE_SCHEMA.bindings as b
      where b.session_id = any (v_ids);
      if v_ended is not null then
        perform :PGSTORE_SCHEMA.history_end(v_ended, 'ended_before');
      end if;
      v_left := v_left - coalesce(cardinality(v_places), 0);
      v_page := v_page + case when v_left > 0 then v_chunk else 0 end;
    end loop;
    update :PGSTORE_SCHEMA.sweep as p
    set
      everybody = v_everybody,
      page = case when v_page < v_pages then v_page end
    where p.id;
  end if;

  for v_mark in
    select m.kind, m.name, m.not_before
    from :PGSTORE_SCHEMA.marks as m
    where v_left > 0
      and m.made_at <= statement_timestamp() - interval '1 hour'
      and (m.made_in < pg_snapshot_xmin(pg_current_snapshot()) or m.made_in >= pg_snapshot_xmax(pg_current_snapshot()))
    order by m.made_at
    limit 100
    for update skip locked
  loop
    exit when v_left <= 0;
    if v_mark.kind = 'user' then
      select array_agg(dead.ctid) into v_places
      from (
        select s.ctid
        from :PGSTORE_SCHEMA.sessions as s
        where s.user_id = v_mark.name
          and greatest(s.created_at, s.signed_in_at) < v_mark.not_before
        limit v_left
        for update skip locked
      ) as dead;
    else
      select array_agg(dead.ctid) into v_places
      from (
        select s.ctid
        from :PGSTORE_SCHEMA.sessions as s
        where s.tags @> array[v_mark.name]
          and greatest(s.created_at, s.signed_in_at) < v_mark.not_before
        limit v_left
        for update skip locked
      ) as dead;
    end if;
    with ended as (
      delete from :PGSTORE_SCHEMA.sessions as s
      where s.ctid = any (v_places)
      returning s.id, s.user_id, s.label, s.tags, v_mark.not_before as ended_at
    )
    select array_agg(ended.id), jsonb_agg(to_jsonb(ended)) filter (where v_is_audited) into v_ids, v_ended
    from ended;
    delete from :PGSTORE_SCHEMA.bindings as b
    where b.session_id = any (v_ids);
    if v_ended is not null then
      perform :PGSTORE_SCHEMA.history_end(v_ended, 'ended_before');
    end if;
    v_left := v_left - coalesce(cardinality(v_places), 0);
    -- Some may have been locked: while one is left, so is the mark.
    delete from :PGSTORE_SCHEMA.marks as m
    where m.kind = v_mark.kind
      and m.name = v_mark.name
      and not exists (
        select from :PGSTORE_SCHEMA.sessions as s
        where m.kind = 'user'
          and s.user_id = v_mark.name
          and greatest(s.created_at, s.signed_in_at) < v_mark.not_before
      )
      and not exists (
        select from :PGSTORE_SCHEMA.sessions as s
        where m.kind = 'tag'
          and s.tags @> array[v_mark.name]
          and greatest(s.created_at, s.signed_in_at) < v_mark.not_before
      );
  end loop;

  -- A copy of this database by logical replication has the marks, and its sequences and functions as they were. And where the last mark
  -- is forgotten, no read need look any more.
  select greatest(w.everybody, (select max(m.not_before) from :PGSTORE_SCHEMA.marks as m)) into v_newest
  from :PGSTORE_SCHEMA.watermark as w
  where w.id;
  if isfinite(v_newest) <> isfinite(:PGSTORE_SCHEMA.mark_gate()) or v_newest > :PGSTORE_SCHEMA.mark_gate() then
    perform from :PGSTORE_SCHEMA.watermark as w
    where w.id
    for no key update;
    -- In a statement after the lock: it sees what whoever held it wrote.
    select greatest(w.everybody, (select max(m.not_before) from :PGSTORE_SCHEMA.marks as m)) into v_newest
    from :PGSTORE_SCHEMA.watermark as w
    where w.id;
    if isfinite(v_newest) then
      perform setval(
        ':PGSTORE_SCHEMA.mark_gate',
        greatest(pg_sequence_last_value(':PGSTORE_SCHEMA.mark_gate'), ceil(date_part('epoch', v_newest))::bigint)
      );
    end if;
    perform :PGSTORE_SCHEMA.mark_gate_switch(isfinite(v_newest));
  end if;
  return p_limit - v_left;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_marked(integer) is
  'Deletes one batch of the sessions that a mark has ended; internal.';
