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
  add column previous_key bytea;

-- One rewrite of the table, and no row left behind to vacuum.
-- squawk-ignore changing-column-type
alter table :PGSTORE_SCHEMA.sessions
  alter column expires_at type timestamptz using purge_at,
  alter column seen_at type timestamptz using updated_at;
-- squawk-ignore adding-not-nullable-field
alter table :PGSTORE_SCHEMA.sessions
  alter column expires_at set not null,
  alter column seen_at set not null;

-- squawk-ignore require-concurrent-index-creation
create index sessions_tags_idx on :PGSTORE_SCHEMA.sessions using gin (tags) where tags is not null;
-- squawk-ignore require-concurrent-index-creation
create index sessions_previous_key_idx on :PGSTORE_SCHEMA.sessions (previous_key) where previous_key is not null;

comment on column :PGSTORE_SCHEMA.sessions.created_at is 'When the session began: its absolute timeout counts from here, or from its sign-in.';
comment on column :PGSTORE_SCHEMA.sessions.purge_at is 'When it is due for purging: its expiry, rounded up to a tenth of its ttl, so that frequent saves leave the indexed value as it is.';
comment on column :PGSTORE_SCHEMA.sessions.updated_at is 'When its data, user, label or tags last changed; a touch is no change.';
comment on column :PGSTORE_SCHEMA.sessions.version is 'Counts the changes of its data, user, label and tags, from 1.';
comment on column :PGSTORE_SCHEMA.sessions.signed_in_at is 'When its user last signed in; null for an anonymous visitor.';
comment on column :PGSTORE_SCHEMA.sessions.expires_at is 'When it ends: exactly.';
comment on column :PGSTORE_SCHEMA.sessions.seen_at is 'When it was last saved or touched.';
comment on column :PGSTORE_SCHEMA.sessions.label is 'What a page of devices shows of it; null for nothing.';
comment on column :PGSTORE_SCHEMA.sessions.tags is 'What it can be ended by: a tenant, the sid of an identity provider; null for nothing.';
comment on column :PGSTORE_SCHEMA.sessions.previous_key is 'The key that it was last regenerated from, by which it can still be ended.';

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

--! include valid_life.sql
--! include valid_label.sql
--! include expiry.sql
--! include purge_time.sql
--! include signed_in_when.sql
--! include is_renamed.sql
--! include announcement_number.sql
--! include session_announce.sql
--! include session_get.sql
--! include session_save.sql
--! include session_destroy.sql
--! include session_try_destroy.sql
--! include session_regenerate.sql
--! include session_limit.sql
--! include session_list.sql
--! include session_revoke.sql
--! include session_revoke_tag.sql
--! include session_changed.sql
--! include session_all.sql
--! include session_clear.sql
--! include session_stats.sql
--! include count_live.sql
--! include count_expired.sql
--! include purge_expired.sql
--! include grants.sql
