--! Previous: sha1:0da8a588cf20d30d397935ac12c31160a80dbc20
--! Hash: sha1:4c7b3c1402f3b8457cf196f4d5d3af1a2e7adeb3
--! Message: marks

--! split: 1-current.sql
-- Everybody out in one row, transactions that know whose session they work for, and sessions that are bound to a device.

create table :PGSTORE_SCHEMA.watermark (
  id boolean not null default true,
  everybody timestamptz not null,
  constraint watermark_pkey primary key (id),
  constraint watermark_id_check check (id)
);
comment on table :PGSTORE_SCHEMA.watermark is 'Before when no session that lives has begun: one row.';
comment on column :PGSTORE_SCHEMA.watermark.id is 'True: there is one row.';
comment on column :PGSTORE_SCHEMA.watermark.everybody is 'What began, or last signed in, before this has ended.';

insert into :PGSTORE_SCHEMA.watermark (everybody)
values ('-infinity');

create sequence :PGSTORE_SCHEMA.mark_gate as bigint minvalue 0;
comment on sequence :PGSTORE_SCHEMA.mark_gate is 'No counter: a second since 1970 that no mark is later than. What began since then need not be compared with any.';
select setval(':PGSTORE_SCHEMA.mark_gate', 0);

create table :PGSTORE_SCHEMA.marks (
  kind text not null,
  name text not null,
  not_before timestamptz not null,
  made_at timestamptz not null,
  made_in xid8 not null,
  constraint marks_pkey primary key (kind, name)
);
comment on table :PGSTORE_SCHEMA.marks is 'Users and tags whose earlier sessions no longer live, until the purge has removed those.';
comment on column :PGSTORE_SCHEMA.marks.kind is 'user or tag.';
comment on column :PGSTORE_SCHEMA.marks.name is 'The user''s id, or the tag.';
comment on column :PGSTORE_SCHEMA.marks.not_before is 'What began, or last signed in, before this has ended.';
comment on column :PGSTORE_SCHEMA.marks.made_at is 'When the mark was last set.';
comment on column :PGSTORE_SCHEMA.marks.made_in is 'The transaction that last set it.';

-- squawk-ignore require-concurrent-index-creation
create index marks_made_at_idx on :PGSTORE_SCHEMA.marks (made_at);

create table :PGSTORE_SCHEMA.sweep (
  id boolean not null default true,
  everybody timestamptz not null,
  page bigint,
  constraint sweep_pkey primary key (id),
  constraint sweep_id_check check (id)
);
comment on table :PGSTORE_SCHEMA.sweep is 'How far the purge has come in removing what the mark for everybody ended: one row.';
comment on column :PGSTORE_SCHEMA.sweep.id is 'True: there is one row.';
comment on column :PGSTORE_SCHEMA.sweep.everybody is 'The mark that the walk through the table is for.';
comment on column :PGSTORE_SCHEMA.sweep.page is 'The page of the table where it goes on; null when it has come to the end.';

insert into :PGSTORE_SCHEMA.sweep (everybody)
values ('-infinity');

create table :PGSTORE_SCHEMA.entry_keys (
  id boolean not null default true,
  newest bytea not null,
  former bytea,
  made_at timestamptz not null,
  constraint entry_keys_pkey primary key (id),
  constraint entry_keys_id_check check (id)
);
comment on table :PGSTORE_SCHEMA.entry_keys is 'What session_enter proves its notes with: one row.';
comment on column :PGSTORE_SCHEMA.entry_keys.id is 'True: there is one row.';
comment on column :PGSTORE_SCHEMA.entry_keys.newest is '64 random bytes, replaced each hour by the purge.';
comment on column :PGSTORE_SCHEMA.entry_keys.former is 'The key before this one, for the transactions that are under way.';
comment on column :PGSTORE_SCHEMA.entry_keys.made_at is 'When the newest was made.';

insert into :PGSTORE_SCHEMA.entry_keys (newest, made_at)
select
  sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
  now();

-- Sessions that are bound to a device (DBSC): the device's key, and the cookie that it has to send beside the session's own.

alter table :PGSTORE_SCHEMA.sessions add column bound_hash bytea;
alter table :PGSTORE_SCHEMA.sessions add column bound_until timestamptz;
comment on column :PGSTORE_SCHEMA.sessions.bound_hash is 'Digest of the cookie that the session''s device has to send; null where it is bound to none. Written by session_bind and session_rebind alone.';
comment on column :PGSTORE_SCHEMA.sessions.bound_until is 'Until when that cookie holds: of a device that has not come back yet, when it was bound.';

create table :PGSTORE_SCHEMA.bindings (
  session_id bigint not null,
  public_key bytea not null,
  alg text not null,
  previous_hash bytea,
  previous_until timestamptz,
  created_at timestamptz not null,
  refreshed_at timestamptz,
  noted_at timestamptz,
  constraint bindings_pkey primary key (session_id)
);
comment on table :PGSTORE_SCHEMA.bindings is 'Sessions that are bound to a device: a row of its own, which no save can overwrite, deleted by every function that ends its session.';
comment on column :PGSTORE_SCHEMA.bindings.session_id is 'The session''s number.';
comment on column :PGSTORE_SCHEMA.bindings.public_key is 'What the device''s proofs are verified with: for ES256 the two coordinates of the point, 32 bytes each.';
comment on column :PGSTORE_SCHEMA.bindings.alg is 'The proofs'' algorithm: ES256.';
comment on column :PGSTORE_SCHEMA.bindings.previous_hash is 'Digest of the cookie before the one that holds.';
comment on column :PGSTORE_SCHEMA.bindings.previous_until is 'Until when that one is accepted too: requests were under way with it.';
comment on column :PGSTORE_SCHEMA.bindings.created_at is 'When the session was bound.';
comment on column :PGSTORE_SCHEMA.bindings.refreshed_at is 'When the device last proved itself again; null before it first did.';
comment on column :PGSTORE_SCHEMA.bindings.noted_at is 'When a request without the device''s cookie was last noted.';

drop function :PGSTORE_SCHEMA.session_get(bytea);
drop function :PGSTORE_SCHEMA.session_get(bytea[]);

--! Included is_marked.sql
-- Whether a session that began at p_began has been ended by a mark: one for everybody, for its user or for one of its tags. Asked
-- only of sessions that are older than the gate.
--
-- Stable, so that it sees the marks of the statement that asks.
create or replace function :PGSTORE_SCHEMA.is_marked(p_began timestamptz, p_user_id text, p_tags text[])
  returns boolean
  language plpgsql
  stable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  return not coalesce((select w.everybody from :PGSTORE_SCHEMA.watermark as w where w.id) <= p_began, false)
    or exists (
      select from :PGSTORE_SCHEMA.marks as m
      where m.kind = 'user'
        and m.name = p_user_id
        and m.not_before > p_began
    )
    or exists (
      select from :PGSTORE_SCHEMA.marks as m
      where m.kind = 'tag'
        and m.name = any (p_tags)
        and m.not_before > p_began
    );
end
$$;
comment on function :PGSTORE_SCHEMA.is_marked(timestamptz, text, text[]) is
  'Whether a mark has ended a session that began then; internal.';
--! EndIncluded is_marked.sql
--! Included no_marks.sql
-- Whether there is no mark of session_end_before: then no plan holds a look for any, and a read pays nothing. A constant, written into the
-- plans of those who ask; mark_gate_switch replaces it.
create or replace function :PGSTORE_SCHEMA.no_marks()
  returns boolean
  language sql
  stable parallel safe
as $$
  select true
$$;
comment on function :PGSTORE_SCHEMA.no_marks() is
  'Whether no read need look for marks; internal.';
--! EndIncluded no_marks.sql
--! Included mark_gate.sql
-- A time that no mark of session_end_before is later than: what began since then need not be compared with any.
--
-- Before the first mark it is this constant, written into the plans of those who ask. From then on it is read from a sequence: see
-- mark_gate_switch, which replaces this function.
create or replace function :PGSTORE_SCHEMA.mark_gate()
  returns timestamptz
  language sql
  volatile parallel unsafe
as $$
  select timestamptz '-infinity'
$$;
comment on function :PGSTORE_SCHEMA.mark_gate() is
  'A time that no mark is later than; internal.';
--! EndIncluded mark_gate.sql
--! Included mark_gate_switch.sql
-- Has all reads look for marks, from the gate in its sequence on, or none. Each connection plans what asks for it anew, at
-- its next transaction. For those who hold the lock of the watermark; granted to nobody.
create or replace function :PGSTORE_SCHEMA.mark_gate_switch(p_is_read boolean)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  if p_is_read = isfinite(:PGSTORE_SCHEMA.mark_gate()) then
    return;
  elsif p_is_read then
    create or replace function :PGSTORE_SCHEMA.mark_gate()
      returns timestamptz
      language sql
      volatile parallel unsafe
    as $gate$
      select pg_catalog.to_timestamp(pg_catalog.pg_sequence_last_value(':PGSTORE_SCHEMA.mark_gate'))
    $gate$;
    create or replace function :PGSTORE_SCHEMA.no_marks()
      returns boolean
      language sql
      stable parallel safe
    as $gate$
      select false
    $gate$;
  else
    create or replace function :PGSTORE_SCHEMA.mark_gate()
      returns timestamptz
      language sql
      volatile parallel unsafe
    as $gate$
      select timestamptz '-infinity'
    $gate$;
    create or replace function :PGSTORE_SCHEMA.no_marks()
      returns boolean
      language sql
      stable parallel safe
    as $gate$
      select true
    $gate$;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.mark_gate_switch(boolean) is
  'Has the time that no mark is later than read from its sequence, or not; internal.';
--! EndIncluded mark_gate_switch.sql
--! Included is_standing.sql
-- Whether a session stands before the marks of session_end_before: it began, or signed in, no earlier than p_gate, before which all
-- marks are, or none is for everybody, its user or one of its tags. No answer but true lets it live.
--
-- Written into the expressions of its callers, as valid_life: nothing where there is no mark, and one comparison where the session is
-- younger. They ask mark_gate once, at their start. The gate is set before the mark is committed, so that nobody sees a mark behind a gate that is
-- still open; what it costs to be too high is a second look.
create or replace function :PGSTORE_SCHEMA.is_standing(
  p_created_at timestamptz,
  p_signed_in_at timestamptz,
  p_user_id text,
  p_tags text[],
  p_gate timestamptz
)
  returns boolean
  language sql
  stable parallel safe
as $$
  select :PGSTORE_SCHEMA.no_marks()
    or greatest(p_created_at, p_signed_in_at) >= p_gate
    or not :PGSTORE_SCHEMA.is_marked(greatest(p_created_at, p_signed_in_at), p_user_id, p_tags)
$$;
comment on function :PGSTORE_SCHEMA.is_standing(timestamptz, timestamptz, text, text[], timestamptz) is
  'Whether no mark has ended a session; internal.';
--! EndIncluded is_standing.sql
--! Included purge_marked.sql
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
--! EndIncluded purge_marked.sql
--! Included entry_proof.sql
-- Proof that session_enter wrote a note in this very transaction: a keyed digest of the process, the transaction's start and the note.
-- Hashed twice under the two halves of the secret, as HMAC does, so that no proof can be extended.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.entry_proof(p_proving_key bytea, p_note text)
  returns text
  language sql
  stable parallel restricted
as $$
  select pg_catalog.encode(
    pg_catalog.sha256(
      pg_catalog.substr(p_proving_key, 33) || pg_catalog.sha256(
        pg_catalog.substr(p_proving_key, 1, 32)
          || pg_catalog.int4send(pg_catalog.pg_backend_pid())
          || pg_catalog.timestamptz_send(pg_catalog.transaction_timestamp())
          || pg_catalog.convert_to(p_note, 'UTF8')
      )
    ),
    'hex'
  )
$$;
comment on function :PGSTORE_SCHEMA.entry_proof(bytea, text) is
  'Proof that a note was written in this transaction; internal.';
--! EndIncluded entry_proof.sql
--! Included is_entered.sql
-- Whether session_enter wrote what the setting holds, in this very transaction: a proof, a colon and the note. Compared by digests under
-- the secret, so that the time it takes tells nothing of the proof.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.is_entered(p_proving_key bytea, p_entered text)
  returns boolean
  language sql
  stable parallel restricted
as $$
  select pg_catalog.substr(p_entered, 65, 1) = ':'
    and pg_catalog.sha256(p_proving_key || pg_catalog.convert_to(pg_catalog."left"(p_entered, 64), 'UTF8'))
      = pg_catalog.sha256(p_proving_key || pg_catalog.convert_to(:PGSTORE_SCHEMA.entry_proof(p_proving_key, pg_catalog.substr(p_entered, 66)), 'UTF8'))
$$;
comment on function :PGSTORE_SCHEMA.is_entered(bytea, text) is
  'Whether session_enter wrote this in this transaction; internal.';
--! EndIncluded is_entered.sql
--! Included entry_renew.sql
-- Renews the secret of session_enter, where it is an hour old: the one before stays good for the transactions that are under way.
-- For purge_expired; granted to nobody.
create or replace function :PGSTORE_SCHEMA.entry_renew()
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  update :PGSTORE_SCHEMA.entry_keys as e
  set
    former = e.newest,
    newest = sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
      || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    made_at = statement_timestamp()
  where e.ctid = (
    select due.ctid
    from :PGSTORE_SCHEMA.entry_keys as due
    where due.id
      and due.made_at <= statement_timestamp() - interval '1 hour'
    for no key update skip locked
  );
end
$$;
comment on function :PGSTORE_SCHEMA.entry_renew() is
  'Renews the secret of session_enter each hour; internal.';
--! EndIncluded entry_renew.sql
--! Included session_get.sql
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
--! EndIncluded session_get.sql
--! Included session_save.sql
-- Creates, merges or touches one session: always one row, whose status tells what happened.
--
-- p_version null merges into the live session and never creates one, so a save cannot revive what was destroyed; 0 creates, in
-- place of an expired one too; n merges only while the version is still n. With nothing to set or unset it is a touch: it extends
-- the expiry, never shortens it, and leaves version and updated_at alone unless the user, the label or the tags change.
--
-- p_user_id null leaves the user as it is, the empty string clears it; so do p_label null and 'null', p_tags null and '{}'. A
-- change of the user is announced, and with p_announce every save; p_relaxed commits a change of data, or a touch, without waiting
-- for the disk.
--
-- The settings keep its plans to one look into the primary key, and values out of the plans that a server may log.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_key bytea,
  p_set jsonb default '{}',
  p_unset text[] default '{}',
  p_ttl interval default '30 days',
  p_version integer default null,
  p_user_id text default null,
  p_max_length integer default 4096,
  p_lifetime interval default null,
  p_label jsonb default null,
  p_tags text[] default null,
  p_announce boolean default false,
  p_relaxed boolean default false,
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
  v_expires_at timestamptz;
  v_is_data boolean;
  v_is_user_new boolean;
  v_fits boolean;
  v_replaced jsonb;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_set is null or jsonb_typeof(p_set) <> 'object'
    or array_ndims(p_unset) > 1 or p_set ?| p_unset
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
    or p_max_length is null or p_max_length < 0
    or p_version < 0
    or octet_length(p_user_id) > 1024
    or (p_label is not null or p_tags is not null) and not :PGSTORE_SCHEMA.valid_label(p_label, p_tags)
  then
    status := 'invalid';
    return;
  end if;

  -- A number of 8 characters may print as 131072. Text is never much shorter than a fifth of its jsonb, so that whatever is
  -- larger than this is too large, and is not printed to find out.
  v_fits := p_max_length = 0 or pg_column_size(p_set) <= 5::bigint * p_max_length + 64;

  if p_version = 0 then
    if p_max_length > 0 and (not v_fits or octet_length(p_set::text) > p_max_length) then
      status := 'too_large';
      return;
    end if;
    v_expires_at := :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, v_now, null);
    -- The number's low byte is the key's routing byte: unique across shards that count for themselves.
    insert into :PGSTORE_SCHEMA.sessions as s (
      id, created_at, purge_at, key, user_id, signed_in_at, data, updated_at, version, expires_at, seen_at, label, tags
    )
    values (
      nextval(':PGSTORE_SCHEMA.session_number') * 256 + get_byte(p_key, 0),
      v_now,
      :PGSTORE_SCHEMA.purge_time(v_expires_at, p_ttl, null),
      p_key,
      nullif(p_user_id, ''),
      :PGSTORE_SCHEMA.signed_in_when(null, null, p_user_id, v_now),
      p_set,
      v_now,
      1,
      v_expires_at,
      v_now,
      nullif(p_label, 'null'),
      nullif(p_tags, '{}')
    )
    on conflict (key) do update
    set
      id = excluded.id,
      created_at = excluded.created_at,
      purge_at = excluded.purge_at,
      user_id = excluded.user_id,
      signed_in_at = excluded.signed_in_at,
      data = excluded.data,
      updated_at = excluded.updated_at,
      version = excluded.version,
      expires_at = excluded.expires_at,
      seen_at = excluded.seen_at,
      label = excluded.label,
      tags = excluded.tags,
      former_keys = null,
      bound_hash = null,
      bound_until = null,
      -- Of the expired one, for the history: after an upsert only the new row is there to be returned. It stays for a moment.
      value_ends = :PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, least(s.expires_at, v_now))
    where s.expires_at <= v_now
      or :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at)
      or :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate) is not true
    returning s.id, s.version, s.expires_at, s.value_ends into id, version, expires_at, v_replaced;
    if found then
      if v_replaced is not null then
        update :PGSTORE_SCHEMA.sessions as s
        set value_ends = null
        where s.key = p_key;
        delete from :PGSTORE_SCHEMA.bindings as b
        where b.session_id = (v_replaced ->> 'id')::bigint;
        if (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then
          perform :PGSTORE_SCHEMA.history_end(jsonb_build_array(v_replaced), 'expired');
        end if;
      end if;
      if p_user_id <> '' then
        perform :PGSTORE_SCHEMA.history_note('signed_in', p_key);
      end if;
      status := 'saved';
      return;
    end if;
    status := 'conflict';
    select s.id, s.version, s.expires_at, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into id, version, expires_at, data
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
    return;
  end if;

  v_is_data := p_set <> '{}' or cardinality(coalesce(p_unset, '{}')) > 0;
  if p_relaxed and p_user_id is null and p_label is null and p_tags is null then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  update :PGSTORE_SCHEMA.sessions as s
  set
    data = case when v_is_data then (:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set else s.data end,
    value_ends = case
      when s.value_ends is null or not v_is_data then s.value_ends
      else :PGSTORE_SCHEMA.next_ends(s.value_ends, null, (s.data - coalesce(p_unset, '{}')) || p_set, v_now)
    end,
    version = case
      when not v_is_data and not :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then s.version
      when s.version = 2147483647 then 1
      else s.version + 1
    end,
    updated_at = case
      when v_is_data or :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then v_now
      else s.updated_at
    end,
    purge_at = :PGSTORE_SCHEMA.purge_time(
      greatest(
        case when not v_is_data then s.expires_at end,
        :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now))
      ),
      p_ttl,
      s.purge_at
    ),
    expires_at = greatest(
      case when not v_is_data then s.expires_at end,
      :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now))
    ),
    seen_at = v_now,
    user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
    signed_in_at = :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, s.user_id, p_user_id, v_now),
    label = case when p_label is null then s.label else nullif(p_label, 'null') end,
    tags = case when p_tags is null then s.tags else nullif(p_tags, '{}') end
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
    and (p_version is null or s.version = p_version)
    and case
      when p_max_length = 0 or not v_is_data then true
      when v_fits then octet_length(((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
      else false
    end
  returning s.id, s.version, s.expires_at, p_user_id = '' or p_user_id is not null and s.signed_in_at = v_now
  into id, version, expires_at, v_is_user_new;
  if found then
    if p_announce or v_is_user_new then
      perform :PGSTORE_SCHEMA.session_announce('changed', array[id]);
    end if;
    if v_is_user_new and p_user_id <> '' then
      perform :PGSTORE_SCHEMA.history_note('signed_in', p_key);
    end if;
    status := 'saved';
    return;
  end if;

  select s.id, s.version, s.expires_at, :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) into id, version, expires_at, data
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true;
  if not found then
    status := 'gone';
  elsif version <> p_version then
    status := 'conflict';
  else
    status := case
      when v_is_data and p_max_length > 0
        and (not v_fits or octet_length(((data - coalesce(p_unset, '{}')) || p_set)::text) > p_max_length)
        then 'too_large'
      else 'gone' -- another session took the key after the update had looked for it
    end;
    data := null;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(
  bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean
) is
  'Merges into a live session (version null), creates one (0), or merges at a version (n). Status: saved, gone, conflict, too_large or invalid; data comes with conflict only.';

-- The same, and gives values a life of their own: p_lives holds seconds by name, or null for as long as the session. A value keeps
-- its life until it ends or is removed; that of a name without a value is not kept.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_key bytea,
  p_set jsonb,
  p_unset text[],
  p_ttl interval,
  p_version integer,
  p_user_id text,
  p_max_length integer,
  p_lifetime interval,
  p_label jsonb,
  p_tags text[],
  p_announce boolean,
  p_relaxed boolean,
  p_lives jsonb,
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
begin
  if :PGSTORE_SCHEMA.valid_lives(p_lives) is not true then
    key := p_key;
    status := 'invalid';
    return;
  end if;
  select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into key, status, id, version, expires_at, data
  from :PGSTORE_SCHEMA.session_save(
    p_key, p_set, p_unset, p_ttl, p_version, p_user_id, p_max_length, p_lifetime, p_label, p_tags, p_announce, p_relaxed
  ) as r;
  if status = 'saved' then
    update :PGSTORE_SCHEMA.sessions as s
    set value_ends = :PGSTORE_SCHEMA.next_ends(s.value_ends, p_lives, s.data, statement_timestamp())
    where s.key = p_key;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(
  bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean, jsonb
) is
  'As the form without p_lives, and gives values a life of their own: seconds by name.';

-- Many saves in one call. The arrays run in parallel and have one length; p_unsets holds a JSON array of names or null for
-- each. Saves of one key keep their order, and each has its own verdict; the order of the rows is free otherwise. p_relaxed is for
-- all of them.
--
-- It waits for nobody: a session that another transaction has locked gets the status locked, to be sent alone, so that it
-- delays no other, and two such calls cannot wait for each other in a ring.
--
-- Plain merges, nearly all of a busy server's saves, are one statement: a quarter of the loop's cost.
create or replace function :PGSTORE_SCHEMA.session_save(
  p_keys bytea[],
  p_sets jsonb[],
  p_unsets jsonb[],
  p_ttls interval[],
  p_versions integer[],
  p_user_ids text[],
  p_max_length integer,
  p_lifetime interval,
  p_relaxed boolean default false
)
  returns table (
    key bytea,
    status text,
    id bigint,
    version integer,
    expires_at timestamptz,
    data jsonb
  )
  language plpgsql
  volatile parallel unsafe rows 100
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
  set enable_hashjoin = off
  set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  v_now constant timestamptz := statement_timestamp();
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_length integer := least(
    coalesce(cardinality(p_keys), 0), coalesce(cardinality(p_sets), 0), coalesce(cardinality(p_unsets), 0),
    coalesce(cardinality(p_ttls), 0), coalesce(cardinality(p_versions), 0), coalesce(cardinality(p_user_ids), 0)
  );
  v_is_saved boolean[] := array_fill(false, array[v_length]);
  v_position bigint;
  v_item record;
  v_locked_key bytea;
begin
  if p_relaxed
    and not exists (select from unnest(p_versions) as v (version) where v.version = 0)
    and not exists (select from unnest(p_user_ids) as u (user_id) where u.user_id is not null)
  then
    perform set_config('synchronous_commit', 'off', true);
  end if;

  for v_position, key, id, version, expires_at in
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) || i.set,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, s.data || i.set, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now,
      purge_at = :PGSTORE_SCHEMA.purge_time(:PGSTORE_SCHEMA.expiry(v_now, i.ttl, p_lifetime, s.created_at, s.signed_in_at), i.ttl, s.purge_at),
      expires_at = :PGSTORE_SCHEMA.expiry(v_now, i.ttl, p_lifetime, s.created_at, s.signed_in_at),
      seen_at = v_now
    from (
      select held.ctid, merge.position, merge.set, merge.ttl
      from (
        select u.key, u.position, u.set, u.ttl
        from (
          select distinct on (a.key) a.key, a.position, a.set, a.unset, a.ttl, a.version, a.user_id
          from unnest(p_keys, p_sets, p_unsets, p_ttls, p_versions, p_user_ids)
            with ordinality as a (key, set, unset, ttl, version, user_id, position)
          order by a.key, a.position
        ) as u
        where u.position <= v_length
          and u.version is null
          and u.unset is null
          and u.user_id is null
          and octet_length(u.key) = 32
          and jsonb_typeof(u.set) = 'object'
          and u.set <> '{}'
          and (p_max_length = 0 or pg_column_size(u.set) <= 5::bigint * p_max_length + 64)
          and :PGSTORE_SCHEMA.valid_life(u.ttl)
      ) as merge
      join :PGSTORE_SCHEMA.sessions as held on held.key = merge.key
      for no key update of held skip locked
    ) as i
    where s.ctid = i.ctid
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
      and :PGSTORE_SCHEMA.valid_life(p_lifetime) is not false
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
      and (p_max_length = 0 or p_max_length > 0 and octet_length((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) || i.set)::text) <= p_max_length)
    returning i.position, s.key, s.id, s.version, s.expires_at
  loop
    status := 'saved';
    v_is_saved[v_position] := true;
    return next;
  end loop;

  for v_item in
    select i.key, i.set, i.unset, i.ttl, i.version, i.user_id, i.position
    from unnest(p_keys, p_sets, p_unsets, p_ttls, p_versions, p_user_ids)
      with ordinality as i (key, set, unset, ttl, version, user_id, position)
    where v_is_saved[i.position] is not true
    order by i.key, i.position
  loop
    key := v_item.key;
    id := null;
    version := null;
    expires_at := null;
    data := null;
    status := case
      when v_item.position > v_length then 'invalid'
      when jsonb_typeof(v_item.unset) <> 'array' then 'invalid'
      when jsonb_path_exists(v_item.unset, 'strict $[*] ? (@.type() != "string")') then 'invalid'
      when v_item.key = v_locked_key then 'locked'
    end;
    if status is null and v_item.version is distinct from 0 then
      perform from :PGSTORE_SCHEMA.sessions as s
      where s.key = v_item.key
      for no key update skip locked;
      if not found then
        perform from :PGSTORE_SCHEMA.sessions as s
        where s.key = v_item.key
          and s.expires_at > v_now
          and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
        if found then
          status := 'locked';
          v_locked_key := v_item.key;
        end if;
      end if;
    end if;
    if status is null then
      select r.status, r.id, r.version, r.expires_at, r.data
      into status, id, version, expires_at, data
      from :PGSTORE_SCHEMA.session_save(
        v_item.key,
        v_item.set,
        case when v_item.unset is null then '{}' else array(select jsonb_array_elements_text(v_item.unset)) end,
        v_item.ttl,
        v_item.version,
        v_item.user_id,
        p_max_length,
        p_lifetime
      ) as r;
    end if;
    return next;
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval, boolean) is
  'Many saves in one call, one row each with its verdict, those of one key in the order given; locked: another transaction holds this session, send it alone.';
--! EndIncluded session_save.sql
--! Included session_destroy.sql
-- Ends a session. One that is unknown or has expired already is no error: 0.
--
-- A session that was regenerated is ended by each of its last eight keys too: a request that signs out while others regenerate has
-- read an old key, and is right when it is told that the session ended.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_key bytea, p_reason text default null)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_id bigint;
  v_ended jsonb;
begin
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  returning
    s.id,
    case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, statement_timestamp())) end
  into v_id, v_ended;
  if not found then
    -- A statement of its own: its snapshot has what a regenerate committed that the one above waited for.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys @> array[p_key]
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    returning
      s.id,
      case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, statement_timestamp())) end
    into v_id, v_ended;
    if not found then
      return 0;
    end if;
  end if;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = v_id;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id], coalesce(p_reason, 'signed_out'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'signed_out'));
  end if;
  return 1;
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea, text) is
  'Ends the live session with this key, or the one that was regenerated from it, and announces it; returns how many ended.';

-- Several in one call, locked in key order.
create or replace function :PGSTORE_SCHEMA.session_destroy(p_keys bytea[], p_reason text default null)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_ids bigint[];
  v_ended jsonb;
  v_moved_keys bytea[];
  v_moved bigint[];
  v_moved_ended jsonb;
begin
  with locked as (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    using locked
    where s.key = locked.key
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;

  -- Two statements, as in session_revoke. By an expression: for the order's sake a plan would read all of the primary key.
  select array_agg(locked.key) into v_moved_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys && p_keys
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by substr(s.key, 1)
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_moved_keys)
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_moved, v_moved_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids || v_moved);
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved, coalesce(p_reason, 'signed_out'));
  v_ended := coalesce(v_ended || v_moved_ended, v_ended, v_moved_ended);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'signed_out'));
  end if;
  return cardinality(v_ids || v_moved);
end
$$;
comment on function :PGSTORE_SCHEMA.session_destroy(bytea[], text) is
  'Ends the live sessions with these keys, or regenerated from them, and announces them; returns how many ended.';
--! EndIncluded session_destroy.sql
--! Included session_try_destroy.sql
-- Ends the sessions with these keys, one row for each key: destroyed, gone (there was none) or locked: another transaction holds it,
-- send it alone. It waits for nobody, so that one of them delays no other; for the batches of a client. A session that was
-- regenerated is ended by its former keys too: see session_destroy.
create or replace function :PGSTORE_SCHEMA.session_try_destroy(p_keys bytea[])
  returns table (key bytea, status text)
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
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
  v_moved_keys bytea[];
  v_moved_ids bigint[];
  v_moved_ended jsonb;
  v_held bytea[];
begin
  with locked as (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update skip locked
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    using locked
    where s.key = locked.key
    returning s.key, s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.key), '{}'),
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(:PGSTORE_SCHEMA.ending(ended.id, ended.user_id, ended.label, ended.tags, ended.ended_at)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_keys, v_ids, v_ended
  from ended;

  -- As in session_destroy.
  select array_agg(locked.key) into v_moved_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys && p_keys
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by substr(s.key, 1)
    for update skip locked
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_moved_keys)
    returning s.former_keys, s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    array(select former.key from ended, unnest(ended.former_keys) as former (key)),
    array(select ended.id from ended),
    (
      select jsonb_agg(:PGSTORE_SCHEMA.ending(ended.id, ended.user_id, ended.label, ended.tags, ended.ended_at))
      from ended
      where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id)
    )
  into v_moved_keys, v_moved_ids, v_moved_ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids || v_moved_ids);
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved_ids, 'signed_out');
  v_ended := coalesce(v_ended || v_moved_ended, v_ended, v_moved_ended);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'signed_out');
  end if;

  -- What is left is held by another transaction, or was none. Looked up by arrays: an "exists" for each key may be planned as a scan.
  select coalesce(array_agg(s.key), '{}') into v_held
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = any (p_keys)
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  select v_held || coalesce(array_agg(former.key), '{}') into v_held
  from :PGSTORE_SCHEMA.sessions as s, unnest(s.former_keys) as former (key)
  where s.former_keys && p_keys
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);

  return query
    select
      asked.key,
      case
        when asked.key = any (v_keys || v_moved_keys) then 'destroyed'
        when asked.key = any (v_held) then 'locked'
        else 'gone'
      end
    from (select distinct u.key from unnest(p_keys) as u (key)) as asked;
end
$$;
comment on function :PGSTORE_SCHEMA.session_try_destroy(bytea[]) is
  'Ends the live sessions with these keys that no other transaction holds and announces them; a row for each key: destroyed, gone or locked.';
--! EndIncluded session_try_destroy.sql
--! Included session_regenerate.sql
-- Gives a live session a new key: its old token is dead at once, its data stays. The expiry is set anew, shorter too, and
-- whatever signing in changes goes with it, the user id and the data, so that it happens in one statement or not at all. Of
-- several concurrent callers one wins; the others find the old key gone. A new key that has a live session already is a conflict.
--
-- Naming a user signs in, the same one again too: its time is set, and the lifetime counts from there. The row keeps its
-- last eight keys, so that ending a session by one of them ends what it has become: see session_destroy. Eight are more than are
-- regenerated while one request runs, and keep the row short.
create or replace function :PGSTORE_SCHEMA.session_regenerate(
  p_key bytea,
  p_new_key bytea,
  p_ttl interval,
  p_user_id text,
  p_lifetime interval,
  p_set jsonb,
  p_unset text[],
  p_max_length integer,
  p_version integer,
  p_label jsonb default null,
  p_tags text[] default null,
  p_announce boolean default false,
  p_relaxed boolean default false,
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
  v_is_data boolean;
  v_fits boolean;
  v_is_audited boolean;
  v_expired jsonb;
  v_expired_id bigint;
begin
  key := p_key;

  if p_key is null or octet_length(p_key) <> 32
    or p_new_key is null or octet_length(p_new_key) <> 32 or p_new_key = p_key
    or p_set is null or jsonb_typeof(p_set) <> 'object'
    or array_ndims(p_unset) > 1 or p_set ?| p_unset
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
    or p_max_length is null or p_max_length < 0
    or octet_length(p_user_id) > 1024
    or (p_label is not null or p_tags is not null) and not :PGSTORE_SCHEMA.valid_label(p_label, p_tags)
  then
    status := 'invalid';
    return;
  end if;

  v_is_data := p_set <> '{}' or cardinality(coalesce(p_unset, '{}')) > 0;
  v_fits := not v_is_data or p_max_length = 0 or pg_column_size(p_set) <= 5::bigint * p_max_length + 64; -- see session_save

  begin
    update :PGSTORE_SCHEMA.sessions as s
    set
      key = p_new_key,
      former_keys = (array_prepend(p_key, s.former_keys))[1:8],
      data = case when v_is_data then (:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set else s.data end,
      value_ends = case
        when s.value_ends is null or not v_is_data then s.value_ends
        else :PGSTORE_SCHEMA.next_ends(s.value_ends, null, (s.data - coalesce(p_unset, '{}')) || p_set, v_now)
      end,
      version = case
        when not v_is_data and not :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then s.version
        when s.version = 2147483647 then 1
        else s.version + 1
      end,
      updated_at = case
        when v_is_data or :PGSTORE_SCHEMA.is_renamed(s.user_id, p_user_id, s.label, p_label, s.tags, p_tags) then v_now
        else s.updated_at
      end,
      purge_at = :PGSTORE_SCHEMA.purge_time(
        :PGSTORE_SCHEMA.expiry(v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, null, p_user_id, v_now)),
        p_ttl,
        s.purge_at
      ),
      expires_at = :PGSTORE_SCHEMA.expiry(
        v_now, p_ttl, p_lifetime, s.created_at, :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, null, p_user_id, v_now)
      ),
      seen_at = v_now,
      user_id = case when p_user_id is null then s.user_id else nullif(p_user_id, '') end,
      -- Whoever it was before: to sign in again is to sign in.
      signed_in_at = :PGSTORE_SCHEMA.signed_in_when(s.signed_in_at, null, p_user_id, v_now),
      label = case when p_label is null then s.label else nullif(p_label, 'null') end,
      tags = case when p_tags is null then s.tags else nullif(p_tags, '{}') end
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
      and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true
      and (p_version is null or s.version = p_version)
      -- Asked first: to wait for the holder of that key could be to wait in a ring.
      and not exists (select from :PGSTORE_SCHEMA.sessions as t where t.key = p_new_key)
      and case
        when p_max_length = 0 or not v_is_data then true
        when v_fits then octet_length(((:PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
        else false
      end
    returning s.id, s.version, s.expires_at, (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id)
    into id, version, expires_at, v_is_audited;
  exception when unique_violation then
    status := 'conflict';
    return;
  end;
  if found then -- announced in any case, and never relaxed
    perform :PGSTORE_SCHEMA.session_announce('regenerated', array[id]);
    if v_is_audited then
      perform :PGSTORE_SCHEMA.history_note(case when p_user_id <> '' then 'signed_in' else 'regenerated' end, p_new_key);
    end if;
    key := p_new_key;
    status := 'saved';
    return;
  end if;

  select s.version into version
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true;
  if found and version is not distinct from coalesce(p_version, version) then
    -- An expired session under the new key counts as none.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_new_key
      and (
        s.expires_at <= v_now
        or :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate) is not true
      )
    returning s.id, case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, s.expires_at)) end
    into v_expired_id, v_expired;
    if found then
      delete from :PGSTORE_SCHEMA.bindings as b
      where b.session_id = v_expired_id;
      if v_expired is not null then
        perform :PGSTORE_SCHEMA.history_end(v_expired, 'expired');
      end if;
      select r.key, r.status, r.id, r.version, r.expires_at, r.data
      into key, status, id, version, expires_at, data
      from :PGSTORE_SCHEMA.session_regenerate(
        p_key, p_new_key, p_ttl, p_user_id, p_lifetime, p_set, p_unset, p_max_length, p_version, p_label, p_tags
      ) as r;
      return;
    end if;
  end if;
  status := case
    when version is null then 'gone'
    when version <> p_version then 'conflict'
    when exists (select from :PGSTORE_SCHEMA.sessions as s where s.key = p_new_key) then 'conflict'
    else 'too_large'
  end;
  version := null;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(
  bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean
) is
  'Moves a live session to a new key, sets its expiry anew and merges changes of its data, at a version if one is given. Status: saved, gone, conflict (another version, or the new key exists), too_large or invalid.';

-- The same, and gives values a life of their own, as session_save does.
create or replace function :PGSTORE_SCHEMA.session_regenerate(
  p_key bytea,
  p_new_key bytea,
  p_ttl interval,
  p_user_id text,
  p_lifetime interval,
  p_set jsonb,
  p_unset text[],
  p_max_length integer,
  p_version integer,
  p_label jsonb,
  p_tags text[],
  p_announce boolean,
  p_relaxed boolean,
  p_lives jsonb,
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
begin
  if :PGSTORE_SCHEMA.valid_lives(p_lives) is not true then
    key := p_key;
    status := 'invalid';
    return;
  end if;
  select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into key, status, id, version, expires_at, data
  from :PGSTORE_SCHEMA.session_regenerate(
    p_key, p_new_key, p_ttl, p_user_id, p_lifetime, p_set, p_unset, p_max_length, p_version, p_label, p_tags, p_announce, p_relaxed
  ) as r;
  if status = 'saved' then
    update :PGSTORE_SCHEMA.sessions as s
    set value_ends = :PGSTORE_SCHEMA.next_ends(s.value_ends, p_lives, s.data, statement_timestamp())
    where s.key = p_new_key;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(
  bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean, jsonb
) is
  'As the form without p_lives, and gives values a life of their own: seconds by name.';

-- The same with the data as it is.
create or replace function :PGSTORE_SCHEMA.session_regenerate(
  p_key bytea,
  p_new_key bytea,
  p_ttl interval default '30 days',
  p_user_id text default null,
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
as $$
#variable_conflict use_column
begin
  select r.key, r.status, r.id, r.version, r.expires_at, r.data
  into key, status, id, version, expires_at, data
  from :PGSTORE_SCHEMA.session_regenerate(p_key, p_new_key, p_ttl, p_user_id, p_lifetime, '{}', '{}', 0, null) as r;
end
$$;
comment on function :PGSTORE_SCHEMA.session_regenerate(bytea, bytea, interval, text, interval) is
  'Moves a live session to a new key and sets its expiry anew. Status: saved, gone, conflict (the new key exists) or invalid.';
--! EndIncluded session_regenerate.sql
--! Included session_take.sql
-- Reads one top-level value of a live session and removes it: of several concurrent callers one gets it, and the others are told
-- none. For one-time tokens, OAuth state, flash messages. With a null name it ends the session and returns its data.
--
-- Status: taken, with the value; none: the session lives and has no such value; gone: there is no live session, under this very
-- key: an old key of a session that was regenerated reads nothing. The expiry stays what it was.
create or replace function :PGSTORE_SCHEMA.session_take(
  p_key bytea,
  p_name text,
  out status text,
  out value jsonb
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
  v_id bigint;
  v_ended jsonb;
begin
  if p_name is null then
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    returning
      s.id,
      case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, v_now)) end,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now)
    into v_id, v_ended, value;
    if not found then
      status := 'gone';
      return;
    end if;
    delete from :PGSTORE_SCHEMA.bindings as b
    where b.session_id = v_id;
    perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id], 'taken');
    if v_ended is not null then
      perform :PGSTORE_SCHEMA.history_end(v_ended, 'taken');
    end if;
    status := 'taken';
    return;
  end if;

  -- Locked before it is read: whoever waited sees the data without it. A session that has no such value is not written to.
  select :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) -> p_name into value
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    and s.data ? p_name
  for no key update;

  if value is not null then
    update :PGSTORE_SCHEMA.sessions as s
    set
      data = :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now) - p_name,
      value_ends = case
        when s.value_ends is not null then :PGSTORE_SCHEMA.next_ends(s.value_ends, null, s.data - p_name, v_now)
      end,
      version = case when s.version = 2147483647 then 1 else s.version + 1 end,
      updated_at = v_now
    where s.key = p_key;
    status := 'taken';
    return;
  end if;

  perform from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  status := case when found then 'none' else 'gone' end;
end
$$;
comment on function :PGSTORE_SCHEMA.session_take(bytea, text) is
  'Reads one value of a live session and removes it, for one of several concurrent callers; with a null name it ends the session and returns its data. Status: taken, none or gone.';
--! EndIncluded session_take.sql
--! Included session_increment.sql
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
--! EndIncluded session_increment.sql
--! Included session_put.sql
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
--! EndIncluded session_put.sql
--! Included session_list.sql
-- A user's live sessions, newest first, without their keys: for a page of devices, and for administrators. data is null unless
-- p_data asks for it.
create or replace function :PGSTORE_SCHEMA.session_list(p_user_id text, p_data boolean default false)
  returns table (
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
  volatile parallel unsafe rows 10
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
      s.id,
      s.user_id,
      case when p_data then :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, statement_timestamp()) end,
      s.version,
      s.created_at,
      s.updated_at,
      s.expires_at,
      s.seen_at,
      s.signed_in_at,
      s.label,
      s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.created_at desc, s.id desc;
end
$$;
comment on function :PGSTORE_SCHEMA.session_list(text, boolean) is
  'The live sessions of a user, newest first, without their keys.';
--! EndIncluded session_list.sql
--! Included session_revoke.sql
-- Ends sessions of one user: the one with number p_id, or all of them; p_except is the key of one to spare ("sign out
-- everywhere else"), or a key that it was regenerated from meanwhile, as in session_destroy. Locked in key order.
create or replace function :PGSTORE_SCHEMA.session_revoke(
  p_user_id text,
  p_id bigint default null,
  p_except bytea default null,
  p_reason text default null
)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  -- Two statements: only the second one's snapshot has a session under the key that a regenerate gave it while the first waited.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and (p_id is null or s.id = p_id)
      and (p_except is null or s.key <> p_except and (p_except = any (s.former_keys)) is not true)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'revoked'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke(text, bigint, bytea, text) is
  'Ends one, all, or all but one of a user''s live sessions and announces them; returns how many ended.';
--! EndIncluded session_revoke.sql
--! Included session_revoke_tag.sql
-- Ends the sessions that carry a tag (a tenant, the sid of an identity provider); p_except is the key of one to spare, as in
-- session_revoke. Locked in key order.
create or replace function :PGSTORE_SCHEMA.session_revoke_tag(
  p_tag text,
  p_except bytea default null,
  p_reason text default null
)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  -- Two statements, as in session_revoke.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.tags @> array[p_tag]
      and (p_except is null or s.key <> p_except and (p_except = any (s.former_keys)) is not true)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'revoked'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke_tag(text, bytea, text) is
  'Ends the live sessions that carry a tag, but one, and announces them; returns how many ended.';
--! EndIncluded session_revoke_tag.sql
--! Included session_limit.sql
-- Keeps at most p_max of a user's live sessions, those signed in last, and ends the others: to be called after each sign-in,
-- in a transaction of its own. p_except is the key of the session that has just signed in, or a key that it was regenerated from
-- meanwhile: it stays, whatever the clocks were when the others did. Of several sign-ins at once the last one to call sees the
-- sessions of all: when every call is answered, no more than p_max are left. Sharded, the cap is each shard's.
create or replace function :PGSTORE_SCHEMA.session_limit(
  p_user_id text,
  p_max integer,
  p_except bytea default null,
  p_reason text default null
)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  if coalesce(p_max, 0) < 1 then
    return 0; -- no cap: to end all there is session_revoke
  end if;
  -- All are locked before any is chosen: a session that another sign-in ended meanwhile no longer counts, so that two of them do
  -- not end each other. Deleted in a second statement, as in session_revoke.
  select (array_agg(
    locked.key order by locked.is_spared desc, locked.signed_in_at desc nulls last, locked.id desc
  ))[least(p_max, 2147483646) + 1 :] into v_keys
  from (
    select s.key, coalesce(p_except = s.key or p_except = any (s.former_keys), false) as is_spared, s.signed_in_at, s.id
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
      and s.user_id = p_user_id
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'limited'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'limited'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_limit(text, integer, bytea, text) is
  'Ends all but the p_max live sessions of a user that signed in last, and announces them; returns how many ended.';
--! EndIncluded session_limit.sql
--! Included session_changed.sql
-- Announces that a user's sessions have changed: after a change elsewhere that no server may go on without, such as a role that was
-- taken away. Nothing is written. Returns how many sessions were named.
create or replace function :PGSTORE_SCHEMA.session_changed(p_user_id text)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_ids bigint[];
begin
  select coalesce(array_agg(s.id), '{}') into v_ids
  from :PGSTORE_SCHEMA.sessions as s
  where s.user_id = p_user_id
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  perform :PGSTORE_SCHEMA.session_announce('changed', v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_changed(text) is
  'Announces a user''s live sessions as changed; returns how many.';
--! EndIncluded session_changed.sql
--! Included session_all.sql
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
--! EndIncluded session_all.sql
--! Included session_stats.sql
-- How the table stands, for whoever watches over it: counts, sizes, and how well updates and vacuuming go.
--
-- What it reads is bounded, whatever the table's size: of a table of more than p_pages pages it takes a random sample of as
-- many, and is_estimate says so; of the index it reads at most 10,000 expired entries. Sizes, and what the statistics
-- collector knows, cost next to nothing.
--
-- used_bytes is what the rows take up, as far as they are in the table itself: much less than table_bytes is bloat.
create or replace function :PGSTORE_SCHEMA.session_stats(
  p_pages integer default 1000,
  out live bigint,
  out expired bigint,
  out anonymous bigint,
  out is_estimate boolean,
  out oldest_expired_at timestamptz,
  out table_bytes bigint,
  out used_bytes bigint,
  out index_bytes bigint,
  out total_bytes bigint,
  out updates bigint,
  out heap_only_updates bigint,
  out dead_rows bigint,
  out vacuumed_at timestamptz,
  out migration text
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set enable_seqscan = off
  set enable_bitmapscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_most constant integer := 10000;
  v_table constant regclass := ':PGSTORE_SCHEMA.sessions';
  v_pages bigint;
  v_percent real;
  v_expired bigint;
  v_ended bigint;
begin
  table_bytes := pg_relation_size(v_table);
  index_bytes := pg_indexes_size(v_table);
  total_bytes := pg_total_relation_size(v_table);
  updates := pg_stat_get_tuples_updated(v_table);
  heap_only_updates := pg_stat_get_tuples_hot_updated(v_table);
  dead_rows := pg_stat_get_dead_tuples(v_table);
  vacuumed_at := greatest(pg_stat_get_last_vacuum_time(v_table), pg_stat_get_last_autovacuum_time(v_table));

  v_pages := table_bytes / current_setting('block_size')::integer;
  v_percent := least(100, 100.0 * greatest(p_pages, 1) / greatest(v_pages, 1));
  is_estimate := v_percent < 100;
  select
    count(*) filter (where s.is_live),
    count(*) filter (where s.is_live and s.user_id is null),
    count(*) filter (where s.expires_at <= statement_timestamp()),
    count(*) filter (where s.expires_at > statement_timestamp() and not s.is_live),
    -- A row's fixed part, its key and the page's pointer to it take 100 bytes; data beyond some 2,000 lives elsewhere.
    coalesce(sum(100 + coalesce(octet_length(s.user_id), 0) + coalesce(pg_column_size(s.former_keys), 0) + least(pg_column_size(s.data), 2000)), 0)
  into live, anonymous, v_expired, v_ended, used_bytes
  from (
    select
      s.expires_at > statement_timestamp()
        and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate) as is_live,
      s.expires_at,
      s.user_id,
      s.former_keys,
      s.data
    from :PGSTORE_SCHEMA.sessions as s tablesample system (v_percent)
  ) as s;
  live := round(live * 100 / v_percent);
  anonymous := round(anonymous * 100 / v_percent);
  used_bytes := round(used_bytes * 100 / v_percent);

  -- Few among many would not show in a sample, so they are counted, up to a limit.
  select count(*)
  into expired
  from (
    select
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
    order by s.purge_at
    limit v_most
  ) as counted;
  if expired = v_most then
    expired := greatest(expired, round(v_expired * 100 / v_percent));
    is_estimate := true;
  end if;
  -- What a mark ended has not expired, and waits to be purged all the same.
  expired := expired + round(v_ended * 100 / v_percent);

  select s.expires_at
  into oldest_expired_at
  from :PGSTORE_SCHEMA.sessions as s
  where s.purge_at <= statement_timestamp()
  order by s.purge_at
  limit 1;

  -- A host that applies our SQL by its own means may have left the ledger out.
  if to_regclass(':PGSTORE_SCHEMA.migrations') is not null then
    select m.name
    into migration
    from :PGSTORE_SCHEMA.migrations as m
    order by m.name desc
    limit 1;
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.session_stats(integer) is
  'How the table stands: counts (estimated from a sample of p_pages pages when the table is larger), sizes, heap-only updates, vacuuming, and the newest migration.';
--! EndIncluded session_stats.sql
--! Included count_live.sql
-- Sessions that have not expired, counted one by one: seconds for millions. See session_stats for an estimate.
create or replace function :PGSTORE_SCHEMA.count_live()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_live() is
  'How many live sessions there are.';
--! EndIncluded count_live.sql
--! Included purge_expired.sql
-- Deletes up to p_limit sessions that are due for purging, oldest first. Rows that another transaction holds are skipped, so that
-- several purges run side by side and none waits. Call it until it returns less than the limit.
--
-- purge_at is never earlier than the expiry; both are asked, so that nothing live is ever deleted.
--
-- What is left of the limit goes to sessions that a mark of session_end_before has ended; and the secret by which current_session_id
-- knows a transaction's session is renewed each hour, so that one from a backup is worth nothing.
--
-- Where the history is on, it is here that an expiry gets there. Its own rows that were kept long enough go too, ten for each
-- session that there may be, so that it shrinks faster than it grows: they are not counted.
--
-- Until Postgres 17 a scan that is switched off counts as so dear, where there is no other (of the marks, here), that a server with a
-- just-in-time compiler would compile it at each call: 60 ms and more, where the batch takes 7.
create or replace function :PGSTORE_SCHEMA.purge_expired(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
  set jit = off
as $$
declare
  v_limit constant bigint := greatest(coalesce(p_limit, 0), 0);
  v_ended jsonb;
  v_ids bigint[];
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
      and s.expires_at <= statement_timestamp()
    order by s.purge_at
    limit v_limit
    for update skip locked
  ), ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.ctid = any (array(select due.ctid from due))
    returning s.id, s.user_id, s.label, s.tags, s.expires_at as ended_at
  )
  select
    count(*),
    array_agg(ended.id),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_purged, v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'expired');
  end if;
  v_purged := v_purged + :PGSTORE_SCHEMA.purge_marked((v_limit - v_purged)::integer);
  perform :PGSTORE_SCHEMA.entry_renew();
  perform :PGSTORE_SCHEMA.endings_spread();
  perform :PGSTORE_SCHEMA.history_purge(least(v_limit, 10000)::integer * 10);
  return v_purged;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_expired(integer) is
  'Deletes one batch of expired sessions that are due, oldest first, skipping locked rows; returns how many.';
--! EndIncluded purge_expired.sql
--! Included session_end_before.sql
-- Ends all sessions that began before p_at, and whose user has not signed in since: everybody's (p_scope 'all'), a user's ('user:' and
-- the user's id) or those that carry a tag ('tag:' and the tag). One row is written, however many they are: the functions that judge
-- whether a session lives compare it with the mark, and the purge removes the dead later, at its own pace.
--
-- p_at null is now, and so is a time to come; a mark that is there already never goes back. A session that commits later is judged by
-- when it began, so that none slips through. Announced without numbers: a listener can only take it that its own have ended.
--
-- Status: marked, with the mark that holds now; or invalid.
create or replace function :PGSTORE_SCHEMA.session_end_before(
  p_scope text,
  p_at timestamptz default null,
  out status text,
  out not_before timestamptz
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
  v_at constant timestamptz := greatest(least(p_at, statement_timestamp()), 'epoch');
  v_kind constant text := split_part(p_scope, ':', 1);
  v_name constant text := substr(p_scope, length(split_part(p_scope, ':', 1)) + 2);
begin
  if (p_scope = 'all' or v_kind in ('user', 'tag') and v_name <> '' and octet_length(v_name) <= 1024) is not true then
    status := 'invalid';
    return;
  end if;

  -- Locked by all that move the gate. That does not go back with the transaction: it is then higher than it need be.
  update :PGSTORE_SCHEMA.watermark as w
  set everybody = case when p_scope = 'all' then greatest(w.everybody, v_at) else w.everybody end
  where w.id
  returning w.everybody into not_before;
  perform setval(
    ':PGSTORE_SCHEMA.mark_gate',
    greatest(pg_sequence_last_value(':PGSTORE_SCHEMA.mark_gate'), ceil(date_part('epoch', v_at))::bigint)
  );
  perform :PGSTORE_SCHEMA.mark_gate_switch(true);

  if p_scope <> 'all' then
    insert into :PGSTORE_SCHEMA.marks as m (kind, name, not_before, made_at, made_in)
    values (v_kind, v_name, v_at, statement_timestamp(), pg_current_xact_id())
    on conflict (kind, name) do update
    set
      not_before = greatest(m.not_before, excluded.not_before),
      made_at = excluded.made_at,
      made_in = excluded.made_in
    returning m.not_before into not_before;
  end if;

  perform pg_notify(
    ':PGSTORE_SCHEMA' || '_sessions',
    json_build_object(
      'type', 'ended_before',
      'ids', '[]'::json,
      'n', nextval(':PGSTORE_SCHEMA.announcement'),
      'scope', v_kind
    )::text
  );
  status := 'marked';
end
$$;
comment on function :PGSTORE_SCHEMA.session_end_before(text, timestamptz) is
  'Ends all sessions that began before a time, of everybody (all), a user (user:ID) or a tag (tag:TAG), by one row, and announces it. Status: marked or invalid.';
--! EndIncluded session_end_before.sql
--! Included session_sign_ins.sql
-- When a user's live sessions signed in, for a cap over several partitions: no partition knows the sessions of the others. is_spared
-- says which one has the key p_except, or was regenerated from it.
create or replace function :PGSTORE_SCHEMA.session_sign_ins(p_user_id text, p_except bytea)
  returns table (
    id bigint,
    signed_in_at timestamptz,
    is_spared boolean
  )
  language plpgsql
  volatile parallel unsafe rows 10
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
      s.id,
      s.signed_in_at,
      coalesce(p_except = s.key or p_except = any (s.former_keys), false)
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
end
$$;
comment on function :PGSTORE_SCHEMA.session_sign_ins(text, bytea) is
  'When the live sessions of a user signed in, for a cap over several partitions.';
--! EndIncluded session_sign_ins.sql
--! Included session_revoke_some.sql
-- Ends those of a user's sessions that have these numbers: what a cap over several partitions has chosen. Locked in key order.
create or replace function :PGSTORE_SCHEMA.session_revoke_some(p_user_id text, p_ids bigint[], p_reason text default null)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  -- Two statements, as in session_revoke.
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    where s.user_id = p_user_id
      and s.id = any (p_ids)
      and s.expires_at > statement_timestamp()
      and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
    order by s.key
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
      and s.user_id = p_user_id
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, coalesce(p_reason, 'revoked'));
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke_some(text, bigint[], text) is
  'Ends the live sessions of a user that have these numbers, and announces them; returns how many ended.';
--! EndIncluded session_revoke_some.sql
--! Included session_enter.sql
-- Notes whose session the current transaction works for, after looking whether it lives: for row-level security by current_session_user
-- and current_session_id. Returns the session's number and user; nulls, and a transaction that is nobody's, where none lives.
--
-- The note is a setting of this transaction, which any program may overwrite and none can forge: it carries a proof that only a secret
-- in this schema can make, for this process and this transaction. So nothing is written, a read-only transaction will do, what a pooled
-- connection keeps is worth nothing in the next transaction, and a rollback to a savepoint goes back to what was noted before.
--
-- Send the key as a parameter, never in the query's text: pg_stat_activity shows that to every program of the same role.
create or replace function :PGSTORE_SCHEMA.session_enter(
  p_key bytea,
  out id bigint,
  out user_id text
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
  v_gate constant timestamptz := :PGSTORE_SCHEMA.mark_gate();
  v_proving_key bytea;
  v_note text := '';
begin
  select s.id, s.user_id, (select e.newest from :PGSTORE_SCHEMA.entry_keys as e where e.id)
  into id, user_id, v_proving_key
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > statement_timestamp()
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  if found then
    v_note := id || ':' || coalesce(user_id, '');
    v_note := :PGSTORE_SCHEMA.entry_proof(v_proving_key, v_note) || ':' || v_note;
  end if;
  v_note := set_config(':PGSTORE_SCHEMA.entered', v_note, true);
end
$$;
comment on function :PGSTORE_SCHEMA.session_enter(bytea) is
  'Notes, until the transaction ends, that it works for the live session with this key; returns its number and user, or nulls.';
--! EndIncluded session_enter.sql
--! Included current_session_id.sql
-- The number of the session that session_enter has noted in this transaction; null where there is none, or the note is not its.
--
-- Stable, so that the planner can look it up in an index. In a policy write (select current_session_id()): it is then asked once a
-- statement, and not for each row.
create or replace function :PGSTORE_SCHEMA.current_session_id()
  returns bigint
  language plpgsql
  stable parallel restricted
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_entered constant text := current_setting(':PGSTORE_SCHEMA.entered', true);
  v_proving_key bytea;
  v_former bytea;
begin
  if v_entered <> '' then
    select e.newest, e.former into v_proving_key, v_former
    from :PGSTORE_SCHEMA.entry_keys as e
    where e.id;
    if :PGSTORE_SCHEMA.is_entered(v_proving_key, v_entered) or :PGSTORE_SCHEMA.is_entered(v_former, v_entered) then
      return split_part(substr(v_entered, 66), ':', 1)::bigint;
    end if;
  end if;
  return null;
end
$$;
comment on function :PGSTORE_SCHEMA.current_session_id() is
  'The number of the session that this transaction works for, or null.';
--! EndIncluded current_session_id.sql
--! Included current_session_user.sql
-- The user of the session that session_enter has noted in this transaction; null where there is none, or the note is not its.
--
-- Stable, so that the planner can look it up in an index. In a policy write (select current_session_user()): it is then asked once a
-- statement, and not for each row.
create or replace function :PGSTORE_SCHEMA.current_session_user()
  returns text
  language plpgsql
  stable parallel restricted
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_entered constant text := current_setting(':PGSTORE_SCHEMA.entered', true);
  v_proving_key bytea;
  v_former bytea;
begin
  if v_entered <> '' then
    select e.newest, e.former into v_proving_key, v_former
    from :PGSTORE_SCHEMA.entry_keys as e
    where e.id;
    if :PGSTORE_SCHEMA.is_entered(v_proving_key, v_entered) or :PGSTORE_SCHEMA.is_entered(v_former, v_entered) then
      return nullif(substr(v_entered, 66 + strpos(substr(v_entered, 66), ':')), '');
    end if;
  end if;
  return null;
end
$$;
comment on function :PGSTORE_SCHEMA.current_session_user() is
  'The user of the session that this transaction works for, or null.';
--! EndIncluded current_session_user.sql
--! Included session_clear.sql
-- Ends up to p_limit sessions, whosoever they are and live or expired, in the order of their keys; call it until it returns
-- less than the limit.
create or replace function :PGSTORE_SCHEMA.session_clear(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_keys bytea[];
  v_ids bigint[];
  v_ended jsonb;
begin
  select array_agg(locked.key) into v_keys
  from (
    select s.key
    from :PGSTORE_SCHEMA.sessions as s
    order by s.key
    limit greatest(p_limit, 0)
    for update
  ) as locked;

  with ended as (
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (v_keys)
    returning s.id, s.user_id, s.label, s.tags, statement_timestamp() as ended_at
  )
  select
    coalesce(array_agg(ended.id), '{}'),
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_ids, v_ended
  from ended;
  delete from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = any (v_ids);
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids, 'cleared');
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'cleared');
  end if;
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_clear(integer) is
  'Ends a batch of all sessions and announces them; returns how many ended.';
--! EndIncluded session_clear.sql
--! Included session_bind.sql
-- Binds a live session to a device: p_public_key is what the device proves itself with, and p_hash the digest of the short-lived cookie
-- that is to come with the session's own. p_id is the session that the challenge was made for.
--
-- The first one wins. Another key takes its place only where the device has never come back, and not within half a minute: then the
-- answer was lost. Until it comes back bound_until is the time of the binding, and only what is asked for after a grace is refused.
create or replace function :PGSTORE_SCHEMA.session_bind(
  p_key bytea,
  p_id bigint,
  p_public_key bytea,
  p_alg text,
  p_hash bytea,
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
  v_before bytea;
  v_binding record;
begin
  if p_key is null or octet_length(p_key) <> 32
    or p_id is null
    or p_public_key is null or octet_length(p_public_key) not between 1 and 1024
    or p_alg is null or p_alg not in ('ES256')
    or p_hash is null or octet_length(p_hash) <> 32
  then
    status := 'invalid';
    return;
  end if;

  select s.bound_hash into v_before
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.id = p_id
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  for no key update;
  if not found then
    status := 'gone';
    return;
  end if;

  -- In a statement after the lock: it sees what whoever held it wrote.
  select b.public_key, b.created_at, b.refreshed_at into v_binding
  from :PGSTORE_SCHEMA.bindings as b
  where b.session_id = p_id;
  if found then
    if v_binding.public_key = p_public_key and v_before = p_hash then
      status := 'bound'; -- the same proof once more
      return;
    end if;
    if v_binding.refreshed_at is not null or v_binding.created_at > v_now - interval '30 seconds' then
      status := 'taken';
      return;
    end if;
  end if;

  insert into :PGSTORE_SCHEMA.bindings as b (session_id, public_key, alg, created_at)
  values (p_id, p_public_key, p_alg, v_now)
  on conflict (session_id) do update
  set
    public_key = excluded.public_key,
    alg = excluded.alg,
    created_at = excluded.created_at;
  update :PGSTORE_SCHEMA.sessions as s
  set
    bound_hash = p_hash,
    bound_until = v_now
  where s.key = p_key
    and s.id = p_id;
  perform :PGSTORE_SCHEMA.session_announce('changed', array[p_id]);
  status := 'bound';
end
$$;
comment on function :PGSTORE_SCHEMA.session_bind(bytea, bigint, bytea, text, bytea) is
  'Binds a live session to a device''s public key. Status: bound, taken (by another key), gone or invalid.';
--! EndIncluded session_bind.sql
--! Included session_binding.sql
-- What a device's proof is judged by: the binding of the session with this key. Status: bound, unbound, moved (the session has been
-- regenerated from this key: the browser is about to hear of the new one), or gone.
create or replace function :PGSTORE_SCHEMA.session_binding(
  p_key bytea,
  out status text,
  out id bigint,
  out public_key bytea,
  out alg text,
  out bound_hash bytea,
  out bound_until timestamptz,
  out previous_hash bytea,
  out previous_until timestamptz
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
begin
  select
    case when b.session_id is null then 'unbound' else 'bound' end,
    s.id,
    b.public_key,
    b.alg,
    s.bound_hash,
    s.bound_until,
    b.previous_hash,
    b.previous_until
  into status, id, public_key, alg, bound_hash, bound_until, previous_hash, previous_until
  from :PGSTORE_SCHEMA.sessions as s
  left join :PGSTORE_SCHEMA.bindings as b on b.session_id = s.id
  where s.key = p_key
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  if found then
    return;
  end if;

  perform from :PGSTORE_SCHEMA.sessions as s
  where s.former_keys @> array[p_key]
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate);
  status := case when found then 'moved' else 'gone' end;
end
$$;
comment on function :PGSTORE_SCHEMA.session_binding(bytea) is
  'The binding of a live session to its device. Status: bound, unbound, moved or gone.';
--! EndIncluded session_binding.sql
--! Included session_rebind.sql
-- Replaces the cookie that a bound session's device sends: p_new_hash is the digest of the new one, which holds for p_ttl. To be
-- called when the device has proved itself. Of several callers at once one wins; the others, and whoever comes within ten seconds of
-- one that won, are told held, with what holds: what one browser asks for twice must not put it two steps behind.
--
-- The cookie before stays good as long as it would have, and for two minutes more at least: requests are under way with it. A refresh
-- is a touch too: the session lives as long from now as it did from the last visit, and never less than before.
create or replace function :PGSTORE_SCHEMA.session_rebind(
  p_key bytea,
  p_old_hash bytea,
  p_new_hash bytea,
  p_ttl interval,
  p_lifetime interval default null,
  out status text,
  out bound_hash bytea,
  out bound_until timestamptz,
  out previous_hash bytea
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
  v_id bigint;
  v_refreshed_at timestamptz;
  v_held_until timestamptz;
begin
  if p_key is null or octet_length(p_key) <> 32
    or p_old_hash is null or octet_length(p_old_hash) <> 32
    or p_new_hash is null or octet_length(p_new_hash) <> 32 or p_new_hash = p_old_hash
    or p_ttl is null or not :PGSTORE_SCHEMA.valid_life(p_ttl)
    or not :PGSTORE_SCHEMA.valid_life(p_lifetime)
  then
    status := 'invalid';
    return;
  end if;

  select s.id, s.bound_hash, s.bound_until into v_id, bound_hash, bound_until
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.bound_hash is not null
    and s.expires_at > v_now
    and :PGSTORE_SCHEMA.is_standing(s.created_at, s.signed_in_at, s.user_id, s.tags, v_gate)
  for no key update;
  if found then
    select b.previous_hash, b.refreshed_at into previous_hash, v_refreshed_at
    from :PGSTORE_SCHEMA.bindings as b
    where b.session_id = v_id;
  end if;
  if not found then
    bound_hash := null;
    bound_until := null;
    status := 'gone';
    return;
  end if;
  if bound_hash <> p_old_hash or v_refreshed_at > v_now - interval '10 seconds' then
    status := 'held';
    return;
  end if;
  v_held_until := bound_until;

  update :PGSTORE_SCHEMA.bindings as b
  set
    previous_hash = p_old_hash,
    previous_until = greatest(v_held_until, v_now + interval '2 minutes'),
    refreshed_at = v_now
  where b.session_id = v_id;
  update :PGSTORE_SCHEMA.sessions as s
  set
    bound_hash = p_new_hash,
    bound_until = :PGSTORE_SCHEMA.expiry(v_now, p_ttl, null, v_now, null),
    purge_at = :PGSTORE_SCHEMA.purge_time(
      greatest(s.expires_at, :PGSTORE_SCHEMA.expiry(v_now, s.expires_at - s.seen_at, p_lifetime, s.created_at, s.signed_in_at)),
      s.expires_at - s.seen_at,
      s.purge_at
    ),
    expires_at = greatest(s.expires_at, :PGSTORE_SCHEMA.expiry(v_now, s.expires_at - s.seen_at, p_lifetime, s.created_at, s.signed_in_at)),
    seen_at = v_now
  where s.key = p_key
  returning s.bound_hash, s.bound_until into bound_hash, bound_until;
  previous_hash := p_old_hash;
  status := 'rebound';
end
$$;
comment on function :PGSTORE_SCHEMA.session_rebind(bytea, bytea, bytea, interval, interval) is
  'Replaces the cookie of a bound session''s device, for one of several callers, and touches the session. Status: rebound, held (what there is still holds), gone or invalid.';
--! EndIncluded session_rebind.sql
--! Included session_unbound.sql
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
--! EndIncluded session_unbound.sql
