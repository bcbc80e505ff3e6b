// The SQL of a PL/Proxy proxy: functions of the same names, parameters and results as everywhere, which only say where they run.
//
// They are made from the newest text of each in the migrations, so that what changes there changes here; a test compares both.
import { PGStoreError, refuse } from '../errors.ts'
import { grantedFunctions } from './grants.ts'
import { migrations } from './migrations.generated.ts'
import { localFiles, type Route, routes } from './proxy-routes.ts'
import { rightsStatement } from './rights.ts'
import { schemaProblems } from './schema-name.ts'

export interface ProxyOptions {
  readonly schema: string
  /** How many partitions there are: a power of two, at most 256, as the key's first byte chooses one. */
  readonly partitions: number
}

/** One function, as the migrations create it. */
interface Source {
  readonly name: string
  /** Between the parentheses. */
  readonly parameters: string
  readonly returns: string
  /** `rows 100`, or nothing. */
  readonly rows: string
  readonly comment: string
}

/**
 * Everything that a proxy's database needs besides PL/Proxy itself and the way to its partitions, which stand at the beginning as
 * comments. Run it in one transaction, and again after an upgrade.
 *
 * @throws {PGStoreError} `invalid_option`, naming what is wrong
 */
export function proxySql({ schema, partitions }: ProxyOptions): string {
  refuse([...schemaProblems(schema), ...partitionsProblems(partitions)])
  const sources = functionSources()
  const local = localFiles.map(newestText)
  const proxied = Object.entries(routes).flatMap(([signature, route]) => {
    const source = sources.get(signature)
    if (!source) throw new PGStoreError('database', `There is no function ${signature}.`)
    return functionsOf(source, route)
  })
  const parts = [beginning(partitions), tables, ...local, ...helpers, ...proxied, ending]
  return `${parts.join('\n\n').replaceAll(/:(?:PGSTORE_SCHEMA|schema)\b/g, schema)}\n\n${rightsStatement(schema)}\n`
}

/** What is wrong with this number of partitions; empty if it is valid. */
export function partitionsProblems(partitions: number): string[] {
  const isPower = Number.isInteger(partitions) && partitions >= 1 && partitions <= 256 && 256 % partitions === 0
  return isPower ? [] : ['the number of partitions must be a power of two: 1, 2, 4, … 256']
}

function functionsOf(source: Source, route: Route): string[] {
  const { name, parameters, returns, rows, comment } = source
  const isMany = route.on === 'all' || route.split !== undefined
  const proxied = (head: string, target: string) => {
    const split = route.split === undefined ? '' : ` split ${route.split};`
    return `create function ${head}
  language plproxy volatile${head === own && rows !== '' ? ` ${rows}` : ''} security definer set search_path = pg_catalog, pg_temp
as $$ cluster ':schema';${split} run on ${route.on};${target === '' ? '' : ` ${target};`} $$;`
  }
  const own = `:schema.${name}(${parameters})\n  returns ${returns}`
  if (route.body === undefined) return [proxied(own, ''), comment]

  const helper = `:schema.proxy_${name}`
  const plain = parameters.replaceAll(/ default [^,\n]+/g, '')
  const many = /^(table|setof)\b/.test(returns) || !isMany ? returns : `setof ${returns}`
  const head = route.helper === undefined ? `(${plain})\n  returns ${many}` : route.helper
  const target = route.select?.startsWith('select ') ? route.select : `target :schema.${route.select ?? name}`
  const call = `${helper}(${namesOf(parameters).join(', ')})`
  const body = route.body.replaceAll(':proxy', call).replaceAll(':helper', helper)
  return [
    proxied(`${helper}${head}`, target),
    `create function ${own}
  language plpgsql volatile${rows === '' ? '' : ` ${rows}`} security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
${route.declare === undefined ? '' : `declare\n  ${route.declare}\n`}begin
  ${body}
end
$$;`,
    comment,
  ]
}

/** The newest text of a file of sql/, as the migrations include it. */
function newestText(file: string): string {
  const texts = migrations.flatMap(({ sql }) =>
    [...sql.matchAll(/^--! Included (\S+)\n([\s\S]*?)^--! EndIncluded/gm)].flatMap(([, name, text]) =>
      name === file && text !== undefined ? [text.trim()] : [],
    ),
  )
  const newest = texts.at(-1)
  if (newest === undefined) throw new PGStoreError('database', `There is no file ${file}.`)
  return newest
}

/** The granted functions by signature, as in grants.ts. */
function functionSources(): Map<string, Source> {
  const names = new Set(grantedFunctions.admin.map((signature) => signature.split('(')[0] ?? ''))
  const found = new Map<string, Source>()
  for (const file of names) {
    const text = newestText(`${file}.sql`)
    const creating =
      /^create or replace function :PGSTORE_SCHEMA\.(\w+)\(([\s\S]*?)\)\n {2}returns ([\s\S]*?)\n {2}language ([^$]*?)as \$\$/gm
    for (const [, name = '', parameters = '', returns = '', settings = ''] of text.matchAll(creating)) {
      const [rows = ''] = /\brows \d+/.exec(settings) ?? []
      const types = typesOf(parameters)
      const comment = comments(text).find((one) => typesOf(one.parameters).join() === types.join())?.text ?? ''
      found.set(`${name}(${types.join(', ')})`, { name, parameters, returns, rows, comment })
    }
  }
  return found
}

function comments(text: string): { readonly parameters: string; readonly text: string }[] {
  const found = text.matchAll(/^comment on function :PGSTORE_SCHEMA\.\w+\(([^)]*)\) is\n(?: .*\n)*? .*;$/gm)
  return [...found].map(([text, parameters = '']) => ({ parameters, text }))
}

/** The parameters that are given, without those that are returned. */
function given(parameters: string): string[] {
  const each = parameters.split(',').map((one) => one.trim())
  return each.filter((one) => one !== '' && !one.startsWith('out '))
}

function namesOf(parameters: string): string[] {
  return given(parameters).map((one) => one.split(' ')[0] ?? '')
}

/** As Postgres names them. */
function typesOf(parameters: string): string[] {
  return given(parameters).map((one) =>
    one
      .replace(/^p_\w+ /, '')
      .replace(/ default .*$/, '')
      .replace('timestamptz', 'timestamp with time zone'),
  )
}

function beginning(partitions: number): string {
  const each = Array.from({ length: partitions }, (_, n) => `  p${n} 'host=partition${n} port=5432 dbname=sessions'`)
  return `-- A proxy in front of ${partitions} partition${partitions === 1 ? '' : 's'}, for PL/Proxy 2.10 or later.
--
-- On each partition, a database of its own: install the schema, and give the proxy a role.
--
--   pgstore migrate --schema :schema
--   create role pgstore_proxy login password '…';
--   pgstore grant pgstore_proxy --as proxy --schema :schema
--
-- On the proxy, once, as a superuser; OWNER is the role that runs the rest of this file. The partitions' order is for ever: a key
-- belongs to the one whose number is its first byte modulo ${partitions}.
--
--   create extension plproxy;
--   create server :schema foreign data wrapper plproxy options (
${each.map((line) => `--   ${line}`).join(',\n')}
--   );
--   create user mapping for OWNER server :schema options (user 'pgstore_proxy', password '…');
--   grant usage on foreign server :schema to OWNER;
--
-- Then run this file in one transaction, here and on every other proxy, and again after an upgrade of the package: partitions first.
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
const tables = `create table if not exists :schema.grants (
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

const helpers = [
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
  returns table (id bigint, signed_in_at timestamptz, is_spared boolean, asked_at timestamptz)
  language plproxy volatile ${pinned}
as $$ cluster ':schema'; run on all; target :schema.session_sign_ins; $$;`,
  `create function :schema.proxy_session_revoke_one(p_user_id text, p_id bigint, p_except bytea, p_reason text, p_actor text)
  returns setof bigint
  language plproxy volatile ${pinned}
as $$ cluster ':schema'; run on int8and(p_id, 255); ${routes['session_revoke(text, bigint, bytea, text)']?.select}; $$;`,
]

/** Default privileges may have given them to somebody: they are for the functions above alone. */
const ending = `do $proxy$
declare
  v_statement text;
begin
  for v_statement in
    select pg_catalog.format(
      'revoke all on function %s from %s', p.oid::regprocedure, coalesce(quote_ident(r.rolname), 'public')
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
