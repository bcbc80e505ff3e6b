--! Previous: sha1:52deaf01f69cdcb25882c260f1dee748a3494dd7
--! Hash: sha1:34acee2ab7e703b3d792977fa41093da926d09fe
--! Message: rights

--! split: 1-current.sql
-- Which role was given which right, so that a migration can take away what nobody was given; and a primary key for every table.

create table :PGSTORE_SCHEMA.grants (
  role name not null,
  "right" text not null,
  constraint grants_pkey primary key (role, "right")
);
comment on table :PGSTORE_SCHEMA.grants is 'The rights that pgstore grant gave: migrate and grant take away all others.';
comment on column :PGSTORE_SCHEMA.grants.role is 'Name of a role, which need not exist any more.';
comment on column :PGSTORE_SCHEMA.grants.right is 'client, account, cleanup or admin.';

-- Without a primary key a publication for all tables refuses every update.
-- squawk-ignore adding-field-with-default
alter table :PGSTORE_SCHEMA.cleanup add column id boolean not null default true;
comment on column :PGSTORE_SCHEMA.cleanup.id is 'True: there is one row.';
-- squawk-ignore adding-serial-primary-key-field, constraint-missing-not-valid
alter table :PGSTORE_SCHEMA.cleanup add constraint cleanup_pkey primary key (id);
-- squawk-ignore constraint-missing-not-valid
alter table :PGSTORE_SCHEMA.cleanup add constraint cleanup_id_check check (id);
-- squawk-ignore require-concurrent-index-deletion
drop index :PGSTORE_SCHEMA.cleanup_one_row_idx;

--! Included rights_granted.sql
-- Which role was given which right by `pgstore grant`: `pgstore status` compares this with what the roles can do. The table itself
-- is for the owner alone.
create or replace function :PGSTORE_SCHEMA.rights_granted()
  returns table (role name, "right" text)
  language plpgsql
  volatile parallel safe
  security definer
  set search_path = pg_catalog, pg_temp
as $$
begin
  return query
    select g.role, g.right
    from :PGSTORE_SCHEMA.grants as g;
end
$$;
comment on function :PGSTORE_SCHEMA.rights_granted() is
  'The rights that pgstore grant gave: one row for each role and right.';
--! EndIncluded rights_granted.sql
