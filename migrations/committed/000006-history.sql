--! Previous: sha1:3394c49e58e0cb370e184c31b8999da794188b4e
--! Hash: sha1:8a31c28692248ccaedf6b7e3b0d7d78fdb959cb2
--! Message: history

--! split: 1-current.sql
-- The history of sessions, and their endings for consumers that miss none; off until it is switched on.

create table :PGSTORE_SCHEMA.audit (
  id boolean not null default true,
  is_on boolean not null,
  keep interval not null,
  constraint audit_pkey primary key (id),
  constraint audit_id_check check (id)
);
comment on table :PGSTORE_SCHEMA.audit is 'Whether the history is written: one row.';
comment on column :PGSTORE_SCHEMA.audit.id is 'True: there is one row.';
comment on column :PGSTORE_SCHEMA.audit.is_on is 'Whether sign-ins, regenerations and ends are written to the history.';
comment on column :PGSTORE_SCHEMA.audit.keep is 'How long a row of the history is kept.';

insert into :PGSTORE_SCHEMA.audit (is_on, keep)
values (false, '90 days');

create table :PGSTORE_SCHEMA.history (
  id bigint not null,
  session_id bigint not null,
  happened_at timestamptz not null,
  user_id text,
  type text not null,
  reason text,
  actor text,
  label jsonb,
  tags text[],
  constraint history_pkey primary key (id)
);
comment on table :PGSTORE_SCHEMA.history is 'Sign-ins, regenerations and ends of sessions, while it is switched on.';
comment on column :PGSTORE_SCHEMA.history.id is 'Its number: later is greater. The low byte is the session''s.';
comment on column :PGSTORE_SCHEMA.history.session_id is 'The session''s number.';
comment on column :PGSTORE_SCHEMA.history.happened_at is 'When it happened; of an expiry, when the session expired.';
comment on column :PGSTORE_SCHEMA.history.user_id is 'Whose session it was; null for an anonymous visitor.';
comment on column :PGSTORE_SCHEMA.history.type is 'signed_in, regenerated or ended.';
comment on column :PGSTORE_SCHEMA.history.reason is 'Why it ended: signed_out, taken, revoked, limited, cleared, expired, or the caller''s own word.';
comment on column :PGSTORE_SCHEMA.history.actor is 'Who did it, as the caller said in the setting pgstore.actor; null where it did not.';
comment on column :PGSTORE_SCHEMA.history.label is 'The session''s label.';
comment on column :PGSTORE_SCHEMA.history.tags is 'The session''s tags.';

-- squawk-ignore require-concurrent-index-creation
create index history_user_id_id_idx on :PGSTORE_SCHEMA.history (user_id, id) where user_id is not null;

create table :PGSTORE_SCHEMA.ending_consumers (
  name text not null,
  added_at timestamptz not null,
  constraint ending_consumers_pkey primary key (name)
);
comment on table :PGSTORE_SCHEMA.ending_consumers is 'The consumers of endings, and one without a name that stands for all.';
comment on column :PGSTORE_SCHEMA.ending_consumers.name is 'The consumer''s name.';
comment on column :PGSTORE_SCHEMA.ending_consumers.added_at is 'When it was added; of the one without a name, when one was last added or forgotten.';

insert into :PGSTORE_SCHEMA.ending_consumers (name, added_at)
values ('', now());

create table :PGSTORE_SCHEMA.ending_deliveries (
  consumer text not null,
  id bigint not null,
  taken_by text,
  taken_until timestamptz,
  constraint ending_deliveries_pkey primary key (consumer, id)
);
comment on table :PGSTORE_SCHEMA.ending_deliveries is 'Endings that a consumer has not done yet; those of the consumer without a name are for all.';
comment on column :PGSTORE_SCHEMA.ending_deliveries.consumer is 'The consumer''s name.';
comment on column :PGSTORE_SCHEMA.ending_deliveries.id is 'The number of the ending in the history.';
comment on column :PGSTORE_SCHEMA.ending_deliveries.taken_by is 'Who has it in hand.';
comment on column :PGSTORE_SCHEMA.ending_deliveries.taken_until is 'Until when it is left to them; null where nobody has it.';

create sequence :PGSTORE_SCHEMA.history_number as bigint;
comment on sequence :PGSTORE_SCHEMA.history_number is 'Numbers the rows of the history.';

--! Included ending.sql
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
--! EndIncluded ending.sql
--! Included history_note.sql
-- Writes into the history, where it is on, that a session signed in or was regenerated: the one with this key, as it is now. For the
-- functions of this schema; granted to nobody.
--
-- Who did it is what the caller's transaction says in the setting pgstore.actor. A number's low byte is the session's: shards that
-- count for themselves give no number twice.
create or replace function :PGSTORE_SCHEMA.history_note(p_type text, p_key bytea)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  insert into :PGSTORE_SCHEMA.history (id, session_id, happened_at, user_id, type, actor, label, tags)
  select
    nextval(':PGSTORE_SCHEMA.history_number') * 256 + (s.id & 255),
    s.id,
    statement_timestamp(),
    s.user_id,
    p_type,
    left(nullif(current_setting('pgstore.actor', true), ''), 255),
    s.label,
    s.tags
  from :PGSTORE_SCHEMA.sessions as s, :PGSTORE_SCHEMA.audit as a
  where s.key = p_key
    and a.id
    and a.is_on;
end
$$;
comment on function :PGSTORE_SCHEMA.history_note(text, bytea) is
  'Writes a sign-in or a regeneration into the history, where it is on; internal.';
--! EndIncluded history_note.sql
--! Included history_end.sql
-- Writes into the history that these sessions ended, and puts each before the consumers of endings: in the statement that ends
-- them, so that neither is there without the other. p_ended is an array of what ending gives. For the functions of this schema,
-- which ask whether the history is on; granted to nobody.
--
-- The consumer '' stands for all: endings_spread gives each its own. Read here, the list of consumers could lack one that is added
-- before this transaction commits, and that one would never hear.
create or replace function :PGSTORE_SCHEMA.history_end(p_ended jsonb, p_reason text)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  with noted as (
    insert into :PGSTORE_SCHEMA.history as h (id, session_id, happened_at, user_id, type, reason, actor, label, tags)
    select
      nextval(':PGSTORE_SCHEMA.history_number') * 256 + (e.id & 255),
      e.id,
      e.ended_at,
      e.user_id,
      'ended',
      left(p_reason, 50),
      left(nullif(current_setting('pgstore.actor', true), ''), 255),
      e.label,
      e.tags
    from jsonb_to_recordset(p_ended) as e (id bigint, user_id text, label jsonb, tags text[], ended_at timestamptz)
    returning h.id
  )
  insert into :PGSTORE_SCHEMA.ending_deliveries (consumer, id)
  select '', noted.id
  from noted;
end
$$;
comment on function :PGSTORE_SCHEMA.history_end(jsonb, text) is
  'Writes ends of sessions into the history; internal.';
--! EndIncluded history_end.sql
--! Included history_erase.sql
-- Deletes what the history holds of a user, and the endings among it that consumers have not had yet. Returns how many rows.
create or replace function :PGSTORE_SCHEMA.history_erase(p_user_id text)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_ids bigint[];
begin
  with erased as (
    delete from :PGSTORE_SCHEMA.history as h
    where h.user_id = p_user_id
    returning h.id
  )
  select coalesce(array_agg(erased.id), '{}') into v_ids
  from erased;
  -- One that a consumer holds in its transaction stays, and endings_take deletes it if that transaction does not.
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.ctid = any (array(
    select e.ctid
    from :PGSTORE_SCHEMA.ending_consumers as c
    join :PGSTORE_SCHEMA.ending_deliveries as e on e.consumer = c.name
    where e.id = any (v_ids)
    for update of e skip locked
  ));
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.history_erase(text) is
  'Deletes the history of a user; returns how many rows.';
--! EndIncluded history_erase.sql
--! Included history_purge.sql
-- Deletes up to p_limit rows of the history that were kept for as long as they should be, and what still waits of them. It waits for
-- nobody, and looks at no more than p_limit rows: numbers are drawn in the order of time. For the functions of this schema; granted
-- to nobody.
create or replace function :PGSTORE_SCHEMA.history_purge(p_limit integer)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_ids bigint[];
begin
  select array_agg(old.id) into v_ids
  from (
    select h.id
    from :PGSTORE_SCHEMA.history as h
    where h.id = any (array(
      select first.id
      from (
        select f.id, f.happened_at
        from :PGSTORE_SCHEMA.history as f
        order by f.id
        limit p_limit
      ) as first
      where first.happened_at <= statement_timestamp() - (select a.keep from :PGSTORE_SCHEMA.audit as a where a.id)
    ))
    for update skip locked
  ) as old;
  if v_ids is not null then
    delete from :PGSTORE_SCHEMA.history as h
    where h.id = any (v_ids);
    -- One that a consumer holds in its transaction stays, and endings_take deletes it if that transaction does not.
    delete from :PGSTORE_SCHEMA.ending_deliveries as d
    where d.ctid = any (array(
      select e.ctid
      from :PGSTORE_SCHEMA.ending_consumers as c
      join :PGSTORE_SCHEMA.ending_deliveries as e on e.consumer = c.name
      where e.id = any (v_ids)
      for update of e skip locked
    ));
  end if;
end
$$;
comment on function :PGSTORE_SCHEMA.history_purge(integer) is
  'Deletes one batch of the history that has been kept long enough; internal.';
--! EndIncluded history_purge.sql
--! Included endings_spread.sql
-- Gives each consumer its own of the endings that are there for all, up to 10,000; where there is no consumer, forgets them. Returns
-- how many. It waits for nobody: what another transaction is spreading is left to it. For the functions of this schema; granted to
-- nobody.
--
-- The lock on the consumer '' is shared by all who spread, and excludes the one who adds a consumer: an ending is spread either
-- before it is added, or to it too. Under repeatable read, where this would not see what was added, it fails to serialize.
create or replace function :PGSTORE_SCHEMA.endings_spread()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_ids bigint[];
begin
  if not exists (select from :PGSTORE_SCHEMA.ending_deliveries as d where d.consumer = '') then
    return 0;
  end if;
  perform from :PGSTORE_SCHEMA.ending_consumers as c
  where c.name = ''
  for share skip locked;
  if not found then
    return 0;
  end if;

  select coalesce(array_agg(fresh.id), '{}') into v_ids
  from (
    select d.id
    from :PGSTORE_SCHEMA.ending_deliveries as d
    where d.consumer = ''
    order by d.id
    limit 10000
    for update skip locked
  ) as fresh;
  insert into :PGSTORE_SCHEMA.ending_deliveries (consumer, id)
  select c.name, fresh.id
  from :PGSTORE_SCHEMA.ending_consumers as c, unnest(v_ids) as fresh (id)
  where c.name > ''
  on conflict do nothing;
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.consumer = ''
    and d.id = any (v_ids);
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.endings_spread() is
  'Gives each consumer its own of the endings that are there for all; internal.';
--! EndIncluded endings_spread.sql
--! Included endings_take.sql
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
--! EndIncluded endings_take.sql
--! Included endings_forget.sql
-- Forgets a consumer of endings that will not come back, and what waits for it. Returns how many endings did.
create or replace function :PGSTORE_SCHEMA.endings_forget(p_consumer text)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_forgotten bigint;
begin
  if p_consumer = '' then
    return 0;
  end if;
  -- See endings_spread: nothing is spread to it from here on.
  update :PGSTORE_SCHEMA.ending_consumers as c
  set added_at = statement_timestamp()
  where c.name = '';
  delete from :PGSTORE_SCHEMA.ending_consumers as c
  where c.name = p_consumer;
  delete from :PGSTORE_SCHEMA.ending_deliveries as d
  where d.consumer = p_consumer;
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;
comment on function :PGSTORE_SCHEMA.endings_forget(text) is
  'Forgets a consumer of endings; returns how many waited for it.';
--! EndIncluded endings_forget.sql
--! Included audit_set.sql
-- Switches the history on or off, for everybody: where it is on, every sign-in, regeneration and end is a row of it. p_keep is how
-- long a row is kept; null leaves that as it was, 90 days at first. What is kept stays, and is purged in its time, when it is
-- switched off. Status: on, off or invalid, which changes nothing.
create or replace function :PGSTORE_SCHEMA.audit_set(
  p_on boolean,
  p_keep interval default null,
  out status text,
  out keep interval
)
  returns record
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  if p_on is null or not :PGSTORE_SCHEMA.valid_life(p_keep) then
    status := 'invalid';
    return;
  end if;
  update :PGSTORE_SCHEMA.audit as a
  set
    is_on = p_on,
    keep = coalesce(p_keep, a.keep)
  returning case when a.is_on then 'on' else 'off' end, a.keep into status, keep;
end
$$;
comment on function :PGSTORE_SCHEMA.audit_set(boolean, interval) is
  'Switches the history of sessions on or off, and sets how long it is kept; status on, off or invalid.';
--! EndIncluded audit_set.sql
--! Included audit_status.sql
-- Whether the history is on, how long it is kept, and for each consumer of endings how many wait and since when the oldest does.
-- One row for each consumer; one with a null consumer where there is none.
create or replace function :PGSTORE_SCHEMA.audit_status()
  returns table (
    status text,
    keep interval,
    consumer text,
    waiting bigint,
    oldest_at timestamptz
  )
  language plpgsql
  volatile parallel unsafe rows 5
  security definer
  set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
  return query
    select
      case when a.is_on then 'on' else 'off' end,
      a.keep,
      c.name,
      (select count(*) from :PGSTORE_SCHEMA.ending_deliveries as d where d.consumer = c.name),
      (
        select h.happened_at
        from :PGSTORE_SCHEMA.ending_deliveries as d
        join :PGSTORE_SCHEMA.history as h on h.id = d.id
        where d.consumer = c.name
        order by d.id
        limit 1
      )
    from :PGSTORE_SCHEMA.audit as a
    left join :PGSTORE_SCHEMA.ending_consumers as c on c.name <> ''
    order by c.name;
end
$$;
comment on function :PGSTORE_SCHEMA.audit_status() is
  'Whether the history is on, how long it is kept, and how many endings wait for each consumer.';
--! EndIncluded audit_status.sql
--! Included session_history.sql
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
--! EndIncluded session_history.sql
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
      -- Of the expired one, for the history: after an upsert only the new row is there to be returned. It stays for a moment.
      value_ends = :PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, least(s.expires_at, v_now))
    where s.expires_at <= v_now
      or :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at)
    returning s.id, s.version, s.expires_at, s.value_ends into id, version, expires_at, v_replaced;
    if found then
      if v_replaced is not null then
        update :PGSTORE_SCHEMA.sessions as s
        set value_ends = null
        where s.key = p_key;
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
      and s.expires_at > v_now;
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
          and s.expires_at > v_now;
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
  v_id bigint;
  v_ended jsonb;
begin
  if p_name is null then
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > v_now
    returning
      s.id,
      case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, v_now)) end,
      :PGSTORE_SCHEMA.live_data(s.data, s.value_ends, v_now)
    into v_id, v_ended, value;
    if not found then
      status := 'gone';
      return;
    end if;
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
    and s.expires_at > v_now;
  status := case when found then 'none' else 'gone' end;
end
$$;
comment on function :PGSTORE_SCHEMA.session_take(bytea, text) is
  'Reads one value of a live session and removes it, for one of several concurrent callers; with a null name it ends the session and returns its data. Status: taken, none or gone.';
--! EndIncluded session_take.sql
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
  v_is_data boolean;
  v_fits boolean;
  v_is_audited boolean;
  v_expired jsonb;
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
    and :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at) is not true;
  if found and version is not distinct from coalesce(p_version, version) then
    -- An expired session under the new key counts as none.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_new_key
      and s.expires_at <= v_now
    returning case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, s.expires_at)) end
    into v_expired;
    if found then
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
  v_id bigint;
  v_ended jsonb;
begin
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > statement_timestamp()
  returning
    s.id,
    case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, statement_timestamp())) end
  into v_id, v_ended;
  if not found then
    -- A statement of its own: its snapshot has what a regenerate committed that the one above waited for.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys @> array[p_key]
      and s.expires_at > statement_timestamp()
    returning
      s.id,
      case when (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id) then jsonb_build_array(:PGSTORE_SCHEMA.ending(s.id, s.user_id, s.label, s.tags, statement_timestamp())) end
    into v_id, v_ended;
    if not found then
      return 0;
    end if;
  end if;
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
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved_ids, 'signed_out');
  v_ended := coalesce(v_ended || v_moved_ended, v_ended, v_moved_ended);
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'signed_out');
  end if;

  -- What is left is held by another transaction, or was none. Looked up by arrays: an "exists" for each key may be planned as a scan.
  select coalesce(array_agg(s.key), '{}') into v_held
  from :PGSTORE_SCHEMA.sessions as s
  where s.key = any (p_keys)
    and s.expires_at > statement_timestamp();
  select v_held || coalesce(array_agg(former.key), '{}') into v_held
  from :PGSTORE_SCHEMA.sessions as s, unnest(s.former_keys) as former (key)
  where s.former_keys && p_keys
    and s.expires_at > statement_timestamp();

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
--! Included purge_expired.sql
-- Deletes up to p_limit sessions that are due for purging, oldest first. Rows that another transaction holds are skipped, so that
-- several purges run side by side and none waits. Call it until it returns less than the limit.
--
-- purge_at is never earlier than the expiry; both are asked, so that nothing live is ever deleted.
--
-- Where the history is on, it is here that an expiry gets there. Its own rows that were kept long enough go too, ten for each
-- session that there may be, so that it shrinks faster than it grows: they are not counted.
create or replace function :PGSTORE_SCHEMA.purge_expired(p_limit integer default 1000)
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
declare
  v_limit constant bigint := greatest(coalesce(p_limit, 0), 0);
  v_ended jsonb;
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
    jsonb_agg(to_jsonb(ended)) filter (where (select a.is_on from :PGSTORE_SCHEMA.audit as a where a.id))
  into v_purged, v_ended
  from ended;
  if v_ended is not null then
    perform :PGSTORE_SCHEMA.history_end(v_ended, 'expired');
  end if;
  perform :PGSTORE_SCHEMA.endings_spread();
  perform :PGSTORE_SCHEMA.history_purge(least(v_limit, 10000)::integer * 10);
  return v_purged;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_expired(integer) is
  'Deletes one batch of expired sessions that are due, oldest first, skipping locked rows; returns how many.';
--! EndIncluded purge_expired.sql
