// What a proxy's SQL begins and ends with, and what it holds besides the functions that it sends on.
import { grantedFunctions } from './grants.ts'
import { routes } from './proxy-routes.ts'

/** Where the functions stay what they are: they know no session. In this order, as some return what others made. */
export const localFiles: readonly string[] = [
  'session_key.sql',
  'valid_lives.sql',
  'rights_granted.sql',
  'cleanup_announce.sql',
  'cleanup_status.sql',
  'cleanup_start.sql',
  'cleanup_stop.sql',
  'cleanup_beat.sql',
  'cleanup_begin_run.sql',
  'cleanup_end_run.sql',
]

/** How to prepare the proxy and its partitions; and away with the functions of another version. */
export function beginning(partitions: number): string {
  const each = Array.from({ length: partitions }, (_, n) => `  p${n} 'host=partition${n} port=5432 dbname=sessions'`)
  return `-- A proxy in front of ${partitions} partition${partitions === 1 ? '' : 's'}, for PL/Proxy 2.10 or later.
--
-- On each partition, a database of its own: install the schema, and give the proxy a role.
--
--   pgstore migrate --schema :schema
--   create role pgstore_proxy login password '…';
--   pgstore grant pgstore_proxy --as proxy --schema :schema
--
-- On the proxy, once, as a superuser; OWNER is a role that nobody logs in as. The partitions' order is for ever: a key belongs to
-- the one whose number is its first byte modulo ${partitions}.
--
--   create extension plproxy;
--   create schema :schema authorization OWNER;
--   create server :schema foreign data wrapper plproxy options (
${each.map((line) => `--   ${line}`).join(',\n')}
--   );
--   create user mapping for OWNER server :schema options (user 'pgstore_proxy', password '…');
--   grant usage on foreign server :schema to OWNER;
--
-- Then run this file in one transaction as a superuser, as PL/Proxy asks, on this proxy and every other, and again after an upgrade
-- of the package: partitions first. What it makes belongs to the schema's owner.
-- "pgstore grant" gives an application its rights on the proxy, and never on a partition.

do $proxy$
declare
  v_function regprocedure;
begin
  if not exists (select from pg_catalog.pg_namespace where nspname = ':schema') then
    create schema :schema;
  end if;
  if exists (
    select from pg_catalog.pg_class as c
    join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
    where n.nspname = ':schema' and c.relname = 'sessions' and c.relkind = 'r'
  ) then
    raise exception 'Schema :schema of this database has a table "sessions": it is a partition, not a proxy.';
  end if;
  for v_function in
    select p.oid
    from pg_catalog.pg_proc as p
    join pg_catalog.pg_language as l on l.oid = p.prolang
    where p.pronamespace = ':schema'::pg_catalog.regnamespace
      and l.lanname in ('plproxy', 'plpgsql')
      and p.proname ~ '^(${ownNames().join('|')}|proxy_.*)$'
  loop
    execute 'drop function ' || v_function;
  end loop;
end
$proxy$;`
}

function ownNames(): string[] {
  const files = localFiles.map((file) => file.replace('.sql', ''))
  return [...new Set([...grantedFunctions.admin.map((signature) => signature.split('(')[0] ?? ''), ...files])]
}

/** The rights given here, and the schedule of a worker that runs here: what else there is to keep is on the partitions. */
export const tables: string = `create table if not exists :schema.grants (
  role name not null,
  "right" text not null,
  constraint grants_pkey primary key (role, "right")
);
comment on table :schema.grants is 'The rights that pgstore grant gave on this proxy.';

create table if not exists :schema.cleanup (
  enabled boolean not null,
  every interval not null,
  worker_seen_at timestamptz,
  next_run_at timestamptz,
  last_run_at timestamptz,
  last_purged bigint,
  last_ms integer,
  total_purged bigint not null,
  last_error text,
  id boolean not null default true,
  constraint cleanup_pkey primary key (id),
  constraint cleanup_id_check check (id)
) with (fillfactor = 50);
comment on table :schema.cleanup is 'The schedule of the recurring purge of all partitions and its last run: one row.';

insert into :schema.cleanup (enabled, every, total_purged)
values (false, '5 minutes', 0)
on conflict do nothing;

do $proxy$
begin
  if pg_catalog.to_regtype(':schema.cleanup_state') is null then
    create type :schema.cleanup_state as (
      enabled boolean,
      every interval,
      worker_seen_at timestamptz,
      next_run_at timestamptz,
      last_run_at timestamptz,
      last_purged bigint,
      last_ms integer,
      total_purged bigint,
      last_error text,
      status text
    );
  end if;
end
$proxy$;`

const pinned = 'security definer set search_path = pg_catalog, pg_temp'

export const helpers: readonly string[] = [
  `-- For data too large to be accepted: an object that is too large as well and short to print, or one that is refused.
create function :schema.proxy_stand_in(p_set jsonb, p_unset text[], p_max_length integer)
  returns jsonb
  language plpgsql immutable ${pinned}
as $$
begin
  if jsonb_typeof(p_set) <> 'object' or p_set ?| p_unset then
    return '[]';
  end if;
  return jsonb_build_object(
    (select name from jsonb_object_keys(p_set) as name limit 1), repeat(' ', greatest(coalesce(p_max_length, 0), 0))
  );
end
$$;`,
  `create function :schema.proxy_partitions() returns setof integer
  language plproxy volatile ${pinned}
as $$ cluster ':schema'; run on all; select 1; $$;`,
  `create function :schema.proxy_session_sign_ins(p_user_id text, p_except bytea)
  returns table (id bigint, signed_in_at timestamptz, is_spared boolean)
  language plproxy volatile ${pinned}
as $$ cluster ':schema'; run on all; target :schema.session_sign_ins; $$;`,
  `create function :schema.proxy_session_revoke_one(p_user_id text, p_id bigint, p_except bytea, p_reason text, p_actor text)
  returns setof bigint
  language plproxy volatile ${pinned}
as $$ cluster ':schema'; run on int8and(p_id, 255); ${routes['session_revoke(text, bigint, bytea, text)']?.select}; $$;`,
]

/** To the schema's owner, whose mapping PL/Proxy uses. Default privileges may have given helpers to somebody: they are for us alone. */
export const ending: string = `do $proxy$
declare
  v_statement text;
begin
  for v_statement in
    select pg_catalog.format('alter %s %s owner to %I', o.kind, o.name, r.rolname)
    from (
      select 'function' as kind, p.oid::pg_catalog.regprocedure::text as name, p.pronamespace as namespace, p.proowner as owner
      from pg_catalog.pg_proc as p
      where p.proname ~ '^(${ownNames().join('|')}|proxy_.*)$'
      union all
      select case c.relkind when 'c' then 'type' else 'table' end, c.oid::pg_catalog.regclass::text, c.relnamespace, c.relowner
      from pg_catalog.pg_class as c
      where c.relname in ('grants', 'cleanup', 'cleanup_state')
    ) as o
    join pg_catalog.pg_namespace as n on n.oid = o.namespace and n.nspname = ':schema'
    join pg_catalog.pg_roles as r on r.oid = n.nspowner and r.oid <> o.owner
  loop
    execute v_statement;
  end loop;
  for v_statement in
    select pg_catalog.format(
      'revoke all on function %s from %s', p.oid::pg_catalog.regprocedure, coalesce(quote_ident(r.rolname), 'public')
    )
    from pg_catalog.pg_proc as p,
      pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) as a
      left join pg_catalog.pg_roles as r on r.oid = a.grantee
    where p.pronamespace = ':schema'::pg_catalog.regnamespace
      and p.proname like 'proxy\\_%'
      and a.grantee <> p.proowner
  loop
    execute v_statement;
  end loop;
end
$proxy$;`
