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

--! include session_get.sql
--! include session_destroy.sql
--! include session_try_destroy.sql
--! include session_take.sql
--! include session_clear.sql
--! include session_limit.sql
--! include session_revoke.sql
--! include session_revoke_tag.sql
--! include session_save.sql
--! include session_regenerate.sql
--! include purge_marked.sql
--! include purge_expired.sql
--! include session_bind.sql
--! include session_binding.sql
--! include session_rebind.sql
--! include session_unbound.sql
