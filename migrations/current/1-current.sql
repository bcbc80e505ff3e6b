-- Everybody out in one row, and transactions that know whose session they work for.

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

create table :PGSTORE_SCHEMA.entry_secret (
  id boolean not null default true,
  secret bytea not null,
  former bytea,
  made_at timestamptz not null,
  constraint entry_secret_pkey primary key (id),
  constraint entry_secret_id_check check (id)
);
comment on table :PGSTORE_SCHEMA.entry_secret is 'What session_enter proves its notes with: one row.';
comment on column :PGSTORE_SCHEMA.entry_secret.id is 'True: there is one row.';
comment on column :PGSTORE_SCHEMA.entry_secret.secret is '64 random bytes, replaced each hour by the purge.';
comment on column :PGSTORE_SCHEMA.entry_secret.former is 'The secret before this one, for the transactions that are under way.';
comment on column :PGSTORE_SCHEMA.entry_secret.made_at is 'When the secret was made.';

insert into :PGSTORE_SCHEMA.entry_secret (secret, made_at)
select
  sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
  now();

--! include is_marked.sql
--! include is_standing.sql
--! include purge_marked.sql
--! include entry_proof.sql
--! include is_entered.sql
--! include entry_renew.sql
--! include session_get.sql
--! include session_save.sql
--! include session_destroy.sql
--! include session_try_destroy.sql
--! include session_regenerate.sql
--! include session_take.sql
--! include session_increment.sql
--! include session_put.sql
--! include session_list.sql
--! include session_revoke.sql
--! include session_revoke_tag.sql
--! include session_limit.sql
--! include session_changed.sql
--! include session_all.sql
--! include session_stats.sql
--! include count_live.sql
--! include purge_expired.sql
--! include session_end_before.sql
--! include session_enter.sql
--! include current_session_id.sql
--! include current_session_user.sql
