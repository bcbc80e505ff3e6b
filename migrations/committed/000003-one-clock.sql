--! Previous: sha1:d7f2b91feb696944aa8b559b382f8b869bb89066
--! Hash: sha1:52deaf01f69cdcb25882c260f1dee748a3494dd7
--! Message: one-clock

--! split: 1-current.sql
-- One clock: expiry is exact, and what is indexed is coarse. The column that was rounded keeps its place and its index as purge_at;
-- expires_at, which every save changes now, stands at the row's end with what else a save changes.

-- squawk-ignore renaming-column
alter table :PGSTORE_SCHEMA.sessions rename column expires_at to purge_at;
alter index :PGSTORE_SCHEMA.sessions_expires_at_idx rename to sessions_purge_at_idx;

alter table :PGSTORE_SCHEMA.sessions
  add column expires_at timestamptz,
  add column seen_at timestamptz,
  add column label jsonb,
  add column tags text[],
  add column former_keys bytea[];

-- One rewrite of the table, and no row left behind to vacuum.
alter table :PGSTORE_SCHEMA.sessions
  -- squawk-ignore changing-column-type
  alter column expires_at type timestamptz using purge_at,
  -- squawk-ignore changing-column-type
  alter column seen_at type timestamptz using updated_at;
alter table :PGSTORE_SCHEMA.sessions
  -- squawk-ignore adding-not-nullable-field
  alter column expires_at set not null,
  -- squawk-ignore adding-not-nullable-field
  alter column seen_at set not null;

-- squawk-ignore require-concurrent-index-creation
create index sessions_tags_idx on :PGSTORE_SCHEMA.sessions using gin (tags) where tags is not null;
-- Without a list of pending entries, which each destroy would read.
-- squawk-ignore require-concurrent-index-creation
create index sessions_former_keys_idx on :PGSTORE_SCHEMA.sessions using gin (former_keys) with (fastupdate = off) where former_keys is not null;

comment on column :PGSTORE_SCHEMA.sessions.created_at is 'When the session began: its absolute timeout counts from here, or from its sign-in.';
comment on column :PGSTORE_SCHEMA.sessions.purge_at is 'When it is due for purging: within a fifth of its ttl after its expiry, so that saves can leave the indexed value as it is.';
comment on column :PGSTORE_SCHEMA.sessions.updated_at is 'When its data, user, label or tags last changed; a touch is no change.';
comment on column :PGSTORE_SCHEMA.sessions.version is 'Counts the changes of its data, user, label and tags, from 1.';
comment on column :PGSTORE_SCHEMA.sessions.signed_in_at is 'When its user last signed in; null for an anonymous visitor.';
comment on column :PGSTORE_SCHEMA.sessions.expires_at is 'When it ends: exactly.';
comment on column :PGSTORE_SCHEMA.sessions.seen_at is 'When it was last saved or touched.';
comment on column :PGSTORE_SCHEMA.sessions.label is 'What a page of devices shows of it; null for nothing.';
comment on column :PGSTORE_SCHEMA.sessions.tags is 'What it can be ended by: a tenant, the sid of an identity provider; null for nothing.';
comment on column :PGSTORE_SCHEMA.sessions.former_keys is 'The last eight keys that it was regenerated from, newest first, by which it can still be ended; null for none.';

create sequence :PGSTORE_SCHEMA.announcement as bigint;
comment on sequence :PGSTORE_SCHEMA.announcement is 'Numbers the announcements about sessions.';

-- Their arguments or their answers changed.
drop function :PGSTORE_SCHEMA.session_get(bytea);
drop function :PGSTORE_SCHEMA.session_get(bytea[]);
drop function :PGSTORE_SCHEMA.session_save(bytea, jsonb, text[], interval, integer, text, integer, interval);
drop function :PGSTORE_SCHEMA.session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval);
drop function :PGSTORE_SCHEMA.session_regenerate(
  bytea, bytea, interval, text, interval, jsonb, text[], integer, integer
);
drop function :PGSTORE_SCHEMA.session_destroy(bytea);
drop function :PGSTORE_SCHEMA.session_destroy(bytea[]);
drop function :PGSTORE_SCHEMA.session_limit(text, integer);
drop function :PGSTORE_SCHEMA.session_list(text);
drop function :PGSTORE_SCHEMA.session_revoke(text, bigint, bytea);
drop function :PGSTORE_SCHEMA.session_announce(text, bigint[]);
drop function :PGSTORE_SCHEMA.session_all(bytea, integer);

--! Included valid_life.sql
-- Whether this is a ttl or a lifetime: from a millisecond to a hundred years; null where it is null. Parts of different sign may
-- cancel out in a comparison and still leave the calendar, so each is looked at.
--
-- In language sql and without a path of its own, so that Postgres writes it into the expressions of its callers, whose path is
-- pinned: it costs no call. Granted to nobody.
create or replace function :PGSTORE_SCHEMA.valid_life(p_life interval)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select p_life between interval '1 millisecond' and interval '100 years'
    and pg_catalog.date_part('epoch', p_life) >= 0.001
    and pg_catalog.abs(pg_catalog.date_part('year', p_life)) <= 100
    and pg_catalog.abs(pg_catalog.date_part('day', p_life)) <= 36600
$$;
comment on function :PGSTORE_SCHEMA.valid_life(interval) is
  'Whether a session can live so long: from a millisecond to a hundred years; internal.';
--! EndIncluded valid_life.sql
--! Included valid_label.sql
-- Whether a label and tags can be kept with a session: a label of at most 512 bytes as jsonb is printed; at most 16 tags of 1 to 255
-- bytes, none of them null. For the functions of this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.valid_label(p_label jsonb, p_tags text[])
  returns boolean
  language plpgsql
  immutable parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return (p_label is null or octet_length(p_label::text) <= 512)
    and (
      p_tags is null
      or p_tags = '{}'
      or array_ndims(p_tags) = 1
      and cardinality(p_tags) <= 16
      and array_position(p_tags, null) is null
      and (select bool_and(octet_length(t.tag) between 1 and 255) from unnest(p_tags) as t (tag))
    );
end
$$;
comment on function :PGSTORE_SCHEMA.valid_label(jsonb, text[]) is
  'Whether a label and tags can be kept with a session; internal.';
--! EndIncluded valid_label.sql
--! Included expiry.sql
-- When a session expires that is visited now: after its ttl, and no later than its lifetime allows, which counts from the sign-in
-- where there was one (NIST SP 800-63B-4 §5: re-authentication resets both timeouts). Exact: nothing rounds it.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.expiry(
  p_now timestamptz,
  p_ttl interval,
  p_lifetime interval,
  p_created_at timestamptz,
  p_signed_in_at timestamptz
)
  returns timestamptz
  language sql
  stable parallel safe
as $$
  select least(p_now + p_ttl, greatest(p_created_at, p_signed_in_at) + p_lifetime)
$$;
comment on function :PGSTORE_SCHEMA.expiry(timestamptz, interval, interval, timestamptz, timestamptz) is
  'When a session that is visited now expires; internal.';
--! EndIncluded expiry.sql
--! Included past_lifetime.sql
-- Whether a session has outlived its lifetime, which counts from its sign-in where there was one; null where it has none.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.past_lifetime(
  p_now timestamptz,
  p_lifetime interval,
  p_created_at timestamptz,
  p_signed_in_at timestamptz
)
  returns boolean
  language sql
  stable parallel safe
as $$
  select greatest(p_created_at, p_signed_in_at) + p_lifetime <= p_now
$$;
comment on function :PGSTORE_SCHEMA.past_lifetime(timestamptz, interval, timestamptz, timestamptz) is
  'Whether a session has outlived its lifetime; internal.';
--! EndIncluded past_lifetime.sql
--! Included purge_time.sql
-- When a session that expires at this moment is due for purging: at most a fifth of its ttl later. The indexed column holds this,
-- and not the expiry: it stays what it was before, p_before, until the expiry has overtaken it, and only then is it set anew, the
-- whole fifth later. The updates in between are heap-only.
--
-- Written into the expressions of its callers, as valid_life; stable as the sum of a time and an interval is, for what is called
-- immutable and holds something stable is not written in.
create or replace function :PGSTORE_SCHEMA.purge_time(p_expires_at timestamptz, p_ttl interval, p_before timestamptz)
  returns timestamptz
  language sql
  stable parallel safe
as $$
  select case
    when p_before >= p_expires_at
      and p_before <= p_expires_at + pg_catalog.make_interval(secs => pg_catalog.date_part('epoch', p_ttl) / 5)
      then p_before
    else p_expires_at + pg_catalog.make_interval(secs => pg_catalog.date_part('epoch', p_ttl) / 5)
  end
$$;
comment on function :PGSTORE_SCHEMA.purge_time(timestamptz, interval, timestamptz) is
  'When a session that expires then may be purged: within a fifth of its ttl after that, and the same as before where that is; internal.';
--! EndIncluded purge_time.sql
--! Included signed_in_when.sql
-- When the user of a session signed in, after a save that names p_user_id: null leaves the user, '' clears it, and the same
-- user again signs nobody in.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.signed_in_when(
  p_signed_in_at timestamptz,
  p_user_id_before text,
  p_user_id text,
  p_now timestamptz
)
  returns timestamptz
  language sql
  immutable parallel safe
as $$
  select case
    when p_user_id is null or p_user_id = p_user_id_before then p_signed_in_at
    when p_user_id <> '' then p_now
  end
$$;
comment on function :PGSTORE_SCHEMA.signed_in_when(timestamptz, text, text, timestamptz) is
  'When a session''s user signed in, after a save that names one; internal.';
--! EndIncluded signed_in_when.sql
--! Included is_renamed.sql
-- Whether a save changes a session's user, label or tags: null leaves each as it is; '', 'null' and '{}' clear them.
--
-- Written into the expressions of its callers, as valid_life.
create or replace function :PGSTORE_SCHEMA.is_renamed(
  p_user_id_before text,
  p_user_id text,
  p_label_before jsonb,
  p_label jsonb,
  p_tags_before text[],
  p_tags text[]
)
  returns boolean
  language sql
  immutable parallel safe
as $$
  select p_user_id is not null and nullif(p_user_id, '') is distinct from p_user_id_before
    or p_label is not null and nullif(p_label, 'null') is distinct from p_label_before
    or p_tags is not null and nullif(p_tags, '{}') is distinct from p_tags_before
$$;
comment on function :PGSTORE_SCHEMA.is_renamed(text, text, jsonb, jsonb, text[], text[]) is
  'Whether a save changes a session''s user, label or tags; internal.';
--! EndIncluded is_renamed.sql
--! Included announcement_number.sql
-- The number of the newest announcement on the sessions channel, 0 before the first: numbers are drawn before the commit, so
-- one that is missing may still come.
create or replace function :PGSTORE_SCHEMA.announcement_number()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return coalesce(pg_sequence_last_value(':PGSTORE_SCHEMA.announcement'), 0);
end
$$;
comment on function :PGSTORE_SCHEMA.announcement_number() is
  'The number of the newest announcement about sessions; 0 before the first.';
--! EndIncluded announcement_number.sql
--! Included session_announce.sql
-- Tells the listeners of <schema>_sessions which sessions ended, changed their key or their user: {"type", "ids", "n", "reason"}.
-- Numbers only, so that a message stays under the 8000 bytes that NOTIFY takes; n counts the messages, so that a listener can
-- tell a gap. For the functions of this schema; granted to nobody.
create or replace function :PGSTORE_SCHEMA.session_announce(p_type text, p_ids bigint[], p_reason text default null)
  returns void
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  for v_from in 1 .. cardinality(p_ids) by 350 loop
    perform pg_notify(
      ':PGSTORE_SCHEMA' || '_sessions',
      json_strip_nulls(json_build_object(
        'type', p_type,
        'ids', to_json(p_ids[v_from : v_from + 349]),
        'n', nextval(':PGSTORE_SCHEMA.announcement'),
        'reason', left(p_reason, 50)
      ))::text
    );
  end loop;
end
$$;
comment on function :PGSTORE_SCHEMA.session_announce(text, bigint[], text) is
  'Announces session numbers on the sessions channel; internal.';
--! EndIncluded session_announce.sql
--! Included session_get.sql
-- Live sessions by key. Unknown and expired are no row.
--
-- The settings keep its plan to one look into the primary key, whatever the table's size was when it was planned: one made for an
-- empty table would go on reading all of it. Volatile, as every function that reads: a load-balancing proxy sends what is not to a
-- standby.
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
    tags text[]
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
      s.key, s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at, s.seen_at, s.signed_in_at, s.label, s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = p_key
      and s.expires_at > statement_timestamp();
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
    select
      s.key, s.id, s.user_id, s.data, s.version, s.created_at, s.updated_at, s.expires_at, s.seen_at, s.signed_in_at, s.label, s.tags
    from :PGSTORE_SCHEMA.sessions as s
    where s.key = any (p_keys)
      and s.expires_at > statement_timestamp();
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
  v_expires_at timestamptz;
  v_is_data boolean;
  v_is_user_new boolean;
  v_fits boolean;
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
      former_keys = null
    where s.expires_at <= v_now
      or :PGSTORE_SCHEMA.past_lifetime(v_now, p_lifetime, s.created_at, s.signed_in_at)
    returning s.id, s.version, s.expires_at into id, version, expires_at;
    if found then
      status := 'saved';
      return;
    end if;
    status := 'conflict';
    select s.id, s.version, s.expires_at, s.data into id, version, expires_at, data
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
    data = case when v_is_data then (s.data - coalesce(p_unset, '{}')) || p_set else s.data end,
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
      when v_fits then octet_length(((s.data - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
      else false
    end
  returning s.id, s.version, s.expires_at, p_user_id = '' or p_user_id is not null and s.signed_in_at = v_now
  into id, version, expires_at, v_is_user_new;
  if found then
    if p_announce or v_is_user_new then
      perform :PGSTORE_SCHEMA.session_announce('changed', array[id]);
    end if;
    status := 'saved';
    return;
  end if;

  select s.id, s.version, s.expires_at, s.data into id, version, expires_at, data
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
      data = s.data || i.set,
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
      and (p_max_length = 0 or p_max_length > 0 and octet_length((s.data || i.set)::text) <= p_max_length)
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
begin
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.key = p_key
    and s.expires_at > statement_timestamp()
  returning s.id into v_id;
  if not found then
    -- A statement of its own: its snapshot has what a regenerate committed that the one above waited for.
    delete from :PGSTORE_SCHEMA.sessions as s
    where s.former_keys @> array[p_key]
      and s.expires_at > statement_timestamp()
    returning s.id into v_id;
    if not found then
      return 0;
    end if;
  end if;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', array[v_id], coalesce(p_reason, 'signed_out'));
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
  v_moved_keys bytea[];
  v_moved bigint[];
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
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
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
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_moved
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved, coalesce(p_reason, 'signed_out'));
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
  v_moved_keys bytea[];
  v_moved_ids bigint[];
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
    returning s.key, s.id
  )
  select coalesce(array_agg(ended.key), '{}'), coalesce(array_agg(ended.id), '{}') into v_keys, v_ids
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
    returning s.former_keys, s.id
  )
  select
    array(select former.key from ended, unnest(ended.former_keys) as former (key)),
    array(select ended.id from ended)
  into v_moved_keys, v_moved_ids;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids || v_moved_ids, 'signed_out');

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
      data = case when v_is_data then (s.data - coalesce(p_unset, '{}')) || p_set else s.data end,
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
        when v_fits then octet_length(((s.data - coalesce(p_unset, '{}')) || p_set)::text) <= p_max_length
        else false
      end
    returning s.id, s.version, s.expires_at into id, version, expires_at;
  exception when unique_violation then
    status := 'conflict';
    return;
  end;
  if found then -- announced in any case, and never relaxed
    perform :PGSTORE_SCHEMA.session_announce('regenerated', array[id]);
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
      and s.expires_at <= v_now;
    if found then
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
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'limited'));
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_limit(text, integer, bytea, text) is
  'Ends all but the p_max live sessions of a user that signed in last, and announces them; returns how many ended.';
--! EndIncluded session_limit.sql
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
begin
  return query
    select
      s.id,
      s.user_id,
      case when p_data then s.data end,
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
  v_keys bytea[];
  v_ids bigint[];
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
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
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
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('revoked', v_ids, coalesce(p_reason, 'revoked'));
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_revoke_tag(text, bytea, text) is
  'Ends the live sessions that carry a tag, but one, and announces them; returns how many ended.';
--! EndIncluded session_revoke_tag.sql
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
  v_ids bigint[];
begin
  select coalesce(array_agg(s.id), '{}') into v_ids
  from :PGSTORE_SCHEMA.sessions as s
  where s.user_id = p_user_id
    and s.expires_at > statement_timestamp();
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
  -- The last key that begins with p_after; of those, 2^128 to one, there is no other.
  v_after bytea := coalesce(substr(p_after, 1, 16) || decode(repeat('ff', 16), 'hex'), '');
begin
  return query
    select
      substr(s.key, 1, 16),
      s.id,
      s.user_id,
      s.data,
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
    order by s.key
    limit greatest(p_limit, 0);
end
$$;
comment on function :PGSTORE_SCHEMA.session_all(bytea, integer) is
  'A page of all live sessions, without their keys; p_after is the last page''s last place.';
--! EndIncluded session_all.sql
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
    returning s.id
  )
  select coalesce(array_agg(ended.id), '{}') into v_ids
  from ended;
  perform :PGSTORE_SCHEMA.session_announce('destroyed', v_ids, 'cleared');
  return cardinality(v_ids);
end
$$;
comment on function :PGSTORE_SCHEMA.session_clear(integer) is
  'Ends a batch of all sessions and announces them; returns how many ended.';
--! EndIncluded session_clear.sql
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
  v_most constant integer := 10000;
  v_table constant regclass := ':PGSTORE_SCHEMA.sessions';
  v_pages bigint;
  v_percent real;
  v_expired bigint;
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
    count(*) filter (where s.expires_at > statement_timestamp()),
    count(*) filter (where s.expires_at > statement_timestamp() and s.user_id is null),
    count(*) filter (where s.expires_at <= statement_timestamp()),
    -- A row's fixed part, its key and the page's pointer to it take 100 bytes; data beyond some 2,000 lives elsewhere.
    coalesce(sum(100 + coalesce(octet_length(s.user_id), 0) + coalesce(pg_column_size(s.former_keys), 0) + least(pg_column_size(s.data), 2000)), 0)
  into live, anonymous, v_expired, used_bytes
  from :PGSTORE_SCHEMA.sessions as s tablesample system (v_percent);
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
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.expires_at > statement_timestamp()
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_live() is
  'How many live sessions there are.';
--! EndIncluded count_live.sql
--! Included count_expired.sql
-- Expired sessions that are due for purging: within a fifth of their ttl after the expiry.
create or replace function :PGSTORE_SCHEMA.count_expired()
  returns bigint
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
  set plan_cache_mode = force_generic_plan
  set enable_seqscan = off
as $$
begin
  return (
    select count(*)
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
  );
end
$$;
comment on function :PGSTORE_SCHEMA.count_expired() is
  'How many expired sessions wait to be purged.';
--! EndIncluded count_expired.sql
--! Included purge_expired.sql
-- Deletes up to p_limit sessions that are due for purging, oldest first. Rows that another transaction holds are skipped, so that
-- several purges run side by side and none waits. Call it until it returns less than the limit.
--
-- purge_at is never earlier than the expiry; both are asked, so that nothing live is ever deleted.
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
  v_purged bigint;
begin
  with due as materialized (
    select s.ctid
    from :PGSTORE_SCHEMA.sessions as s
    where s.purge_at <= statement_timestamp()
      and s.expires_at <= statement_timestamp()
    order by s.purge_at
    limit greatest(coalesce(p_limit, 0), 0)
    for update skip locked
  )
  delete from :PGSTORE_SCHEMA.sessions as s
  where s.ctid = any (array(select due.ctid from due));
  get diagnostics v_purged = row_count;
  return v_purged;
end
$$;
comment on function :PGSTORE_SCHEMA.purge_expired(integer) is
  'Deletes one batch of expired sessions that are due, oldest first, skipping locked rows; returns how many.';
--! EndIncluded purge_expired.sql
--! Included cleanup_status.sql
-- The schedule of the recurring purge and what became of it: one row, always. Shows no next run further ahead than the
-- interval: the next look of a worker pulls it back. Volatile, as every function: what is stable, a proxy may send to a standby.
create or replace function :PGSTORE_SCHEMA.cleanup_status()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_state :PGSTORE_SCHEMA.cleanup_state;
begin
  select
    c.enabled,
    c.every,
    c.worker_seen_at,
    case when c.next_run_at > v_now + c.every then date_trunc('milliseconds', v_now + c.every) else c.next_run_at end,
    c.last_run_at,
    c.last_purged,
    c.last_ms,
    c.total_purged,
    c.last_error,
    case when c.enabled then 'started' else 'stopped' end
  into v_state
  from :PGSTORE_SCHEMA.cleanup as c;
  return v_state;
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_status() is
  'The recurring purge: its schedule, its last run, and status started or stopped.';
--! EndIncluded cleanup_status.sql
--! Included cleanup_beat.sql
-- A worker says that it is there, and hears whether cleaning is still on. A next run further ahead than the interval, set while
-- the server's clock was ahead, is pulled back.
create or replace function :PGSTORE_SCHEMA.cleanup_beat()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = v_now,
    next_run_at = case
      when c.next_run_at > v_now + c.every then date_trunc('milliseconds', v_now + c.every)
      else c.next_run_at
    end;
  return :PGSTORE_SCHEMA.cleanup_status();
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_beat() is
  'For the worker: records that it is there; status started or stopped.';
--! EndIncluded cleanup_beat.sql
--! Included cleanup_begin_run.sql
-- A worker asks whether a run is due. Of several that ask at once one gets status due, and the next run is set before this one
-- begins, so that a worker killed in the middle delays nothing. The others get started, or stopped where cleaning is off. A next
-- run further ahead than the interval, set while the server's clock was ahead, is pulled back.
create or replace function :PGSTORE_SCHEMA.cleanup_begin_run()
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_state :PGSTORE_SCHEMA.cleanup_state;
  v_is_due boolean;
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = v_now,
    -- Whole milliseconds: a job is set for this moment by programs whose clocks count no less.
    next_run_at = date_trunc('milliseconds', v_now + c.every)
  where c.enabled
    and c.next_run_at <= v_now;
  v_is_due := found;
  if not v_is_due then
    update :PGSTORE_SCHEMA.cleanup as c
    set next_run_at = date_trunc('milliseconds', v_now + c.every)
    where c.enabled
      and c.next_run_at > v_now + c.every;
  end if;
  v_state := :PGSTORE_SCHEMA.cleanup_status();
  if v_is_due then
    v_state.status := 'due';
  end if;
  return v_state;
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_begin_run() is
  'For the worker: claims a run that is due and sets the next; status due, started (not due) or stopped.';
--! EndIncluded cleanup_begin_run.sql
--! Included cleanup_end_run.sql
-- A worker records its run, p_error being a code where it failed, and announces it.
create or replace function :PGSTORE_SCHEMA.cleanup_end_run(
  p_purged bigint,
  p_ms integer,
  p_error text default null
)
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_purged constant bigint := greatest(coalesce(p_purged, 0), 0);
  v_ms constant integer := greatest(coalesce(p_ms, 0), 0);
  v_error constant text := left(p_error, 100);
begin
  update :PGSTORE_SCHEMA.cleanup as c
  set
    worker_seen_at = v_now,
    last_run_at = v_now,
    last_purged = v_purged,
    last_ms = v_ms,
    total_purged = c.total_purged + v_purged,
    last_error = v_error;
  perform :PGSTORE_SCHEMA.cleanup_announce(
    case when v_error is null then 'purged' else 'failed' end,
    jsonb_build_object('purged', v_purged, 'ms', v_ms, 'remaining', :PGSTORE_SCHEMA.count_expired())
      || case when v_error is null then '{}' else jsonb_build_object('code', v_error) end
  );
  return :PGSTORE_SCHEMA.cleanup_status();
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_end_run(bigint, integer, text) is
  'For the worker: records a run and announces purged, or failed with a code.';
--! EndIncluded cleanup_end_run.sql
--! Included cleanup_start.sql
-- Switches the recurring purge on, or changes its interval, for everybody, and rings the bell. A new schedule is due at once;
-- starting one that is on already, as each server of a fleet does, leaves its clock alone, unless
-- the next run is further ahead than the interval, as the server's clock was. An interval under 100 milliseconds
-- or over a year changes nothing: status invalid. So does one with a negative part: '-1 month 31 days' is nothing in some months.
create or replace function :PGSTORE_SCHEMA.cleanup_start(p_every interval default '5 minutes')
  returns :PGSTORE_SCHEMA.cleanup_state
  language plpgsql
  volatile parallel unsafe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
declare
  v_now constant timestamptz := statement_timestamp();
  v_state :PGSTORE_SCHEMA.cleanup_state;
begin
  -- By its length: in a comparison of intervals a year has 360 days.
  if extract(epoch from p_every) between 0.1 and 366 * 86400
    and extract(year from p_every) >= 0
    and extract(month from p_every) >= 0
    and extract(day from p_every) >= 0
    and extract(hour from p_every) >= 0
    and extract(minute from p_every) >= 0
    and extract(second from p_every) >= 0
  then
    update :PGSTORE_SCHEMA.cleanup as c
    set
      enabled = true,
      every = p_every,
      next_run_at = case
        when not c.enabled or c.every <> p_every then date_trunc('milliseconds', v_now)
        when c.next_run_at > v_now + p_every then date_trunc('milliseconds', v_now + p_every)
        else c.next_run_at
      end;
    perform :PGSTORE_SCHEMA.cleanup_announce(
      'started',
      jsonb_build_object('every_ms', (extract(epoch from p_every) * 1000)::bigint)
    );
    return :PGSTORE_SCHEMA.cleanup_status();
  end if;
  v_state := :PGSTORE_SCHEMA.cleanup_status();
  v_state.status := 'invalid';
  return v_state;
end
$$;
comment on function :PGSTORE_SCHEMA.cleanup_start(interval) is
  'Switches the recurring purge on at this interval, from 100 ms to a year, for everybody; status started or invalid.';
--! EndIncluded cleanup_start.sql
