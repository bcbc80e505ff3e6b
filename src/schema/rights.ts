// Keeps the rights on our objects as `pgstore grant` granted them. Default privileges grant rights on each new object, a
// restore without privileges gives PUBLIC its EXECUTE back, and a function that a migration recreates has lost the rights on
// it.
import { grantedFunctions, internalFunctions, ownObjects } from './grants.ts'

/** A right on one of our objects that was not granted, or that was granted to a role and is missing. */
export interface RightsDifference {
  /** A role, or PUBLIC. */
  readonly holder: string
  /** As in `EXECUTE on function pgstore.count_live()`. */
  readonly privilege: string
  readonly isMissing: boolean
}

/** The rights that differ from those granted. */
export async function rightsDifferences(
  client: { query(query: { text: string }): Promise<{ readonly rows: unknown[] }> },
  schema: string,
): Promise<RightsDifference[]> {
  const text = `select holder, privilege, is_missing from (${rightsQuery(schema, 'rights_granted()')}) as d order by 1, 2`
  const { rows } = await client.query({ text })
  return (rows as { holder: string; privilege: string; is_missing: boolean }[]).map(
    ({ holder, privilege, is_missing: isMissing }) => ({ holder, privilege, isMissing }),
  )
}

/**
 * A statement that revokes every right on our objects that is not in the table "grants", and grants what is missing. Like
 * everything that a migration runs, it may be part of an application's own history, so it works with any search_path.
 */
export function rightsStatement(schema: string): string {
  return `do $rights$
declare
  v_path constant text := pg_catalog.current_setting('search_path');
  v_statement text;
begin
  perform pg_catalog.set_config('search_path', '', true);
  for v_statement in
    select d.statement from (
${rightsQuery(schema, 'grants')}
    ) as d
  loop
    execute v_statement;
  end loop;
  perform pg_catalog.set_config('search_path', v_path, true);
end
$rights$;`
}

/**
 * The schema's own rights are left alone if it contains objects that are not ours, which others may need to reach. Dropped
 * roles and the owner are left out.
 */
function rightsQuery(schema: string, granted: 'grants' | 'rights_granted()'): string {
  const names = (kind: 'table' | 'sequence' | 'type') => ownObjects[kind].map((name) => `'${name}'`).join(', ')
  return `with functions (name, rights) as (
  values
${functionRows(schema)}
), objects (id, kind, name, owner, acl, rights) as (
  select p.oid, 'function', f.name, p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), f.rights
  from functions as f
  join pg_catalog.pg_proc as p on p.oid = to_regprocedure(f.name)
  union all
  select c.oid, k.kind, '${schema}.' || c.relname, c.relowner, coalesce(c.relacl, acldefault(k.code, c.relowner)), '{}'
  from pg_catalog.pg_class as c
  join (values ('table', 'r'::"char"), ('sequence', 's')) as k (kind, code) on (k.kind = 'sequence') = (c.relkind = 'S')
  where c.relnamespace = '${schema}'::regnamespace
    and c.relname in (${names('table')}, ${names('sequence')})
  union all
  select c.oid, 'table', '${schema}.' || c.relname, c.relowner, a.attacl, '{}'
  from pg_catalog.pg_class as c
  join pg_catalog.pg_attribute as a on a.attrelid = c.oid and a.attacl is not null
  where c.relnamespace = '${schema}'::regnamespace
    and c.relname in (${names('table')})
  union all
  select t.oid, 'type', '${schema}.' || t.typname, t.typowner, coalesce(t.typacl, acldefault('T', t.typowner)), '{}'
  from pg_catalog.pg_type as t
  where t.typnamespace = '${schema}'::regnamespace
    and t.typname in (${names('type')})
), reachable (id, kind, name, owner, acl, rights) as (
  select * from objects
  union all
  select n.oid, 'schema', n.nspname, n.nspowner, coalesce(n.nspacl, acldefault('n', n.nspowner)),
    '{${Object.keys(grantedFunctions).join()}}'
  from pg_catalog.pg_namespace as n
  where n.nspname = '${schema}'
    and not exists (
      select from pg_catalog.pg_depend as d
      where d.refclassid = 'pg_catalog.pg_namespace'::regclass
        and d.refobjid = n.oid
        and d.deptype = 'n'
        and d.objid not in (select o.id from objects as o)
    )
), held as (
  select r.kind, r.name, a.grantee, a.privilege_type as privilege, bool_or(a.is_grantable) as is_grantable
  from reachable as r, aclexplode(r.acl) as a
  where a.grantee <> r.owner
  group by 1, 2, 3, 4
), wanted as (
  select distinct r.kind, r.name, h.oid as grantee, case r.kind when 'schema' then 'USAGE' else 'EXECUTE' end as privilege
  from reachable as r
  join ${schema}.${granted} as g on g.right = any (r.rights)
  join pg_catalog.pg_roles as h on h.rolname = g.role and h.oid <> r.owner
), differences (kind, name, grantee, privilege, verb, is_missing) as (
  select h.kind, h.name, h.grantee, h.privilege, case when w.kind is null then 'revoke' else 'revoke grant option for' end, false
  from held as h
  left join wanted as w using (kind, name, grantee, privilege)
  where w.kind is null
    or h.is_grantable
  union all
  select w.kind, w.name, w.grantee, w.privilege, 'grant', true
  from wanted as w
  left join held as h using (kind, name, grantee, privilege)
  where h.kind is null
)
select coalesce(r.rolname::text, 'PUBLIC') as holder, d.privilege || ' on ' || d.kind || ' ' || d.name as privilege, d.is_missing,
  format(
    case when d.is_missing then '%s %s on %s %s to %s' else '%s %s on %s %s from %s cascade' end,
    d.verb, d.privilege, d.kind, d.name, coalesce(quote_ident(r.rolname), 'public')
  ) as statement
from differences as d
left join pg_catalog.pg_roles as r on r.oid = d.grantee`
}

/**
 * The functions and the rights that include them. Types by their full names, as another type on the search_path may be called
 * text.
 */
function functionRows(schema: string): string {
  const rights = Object.entries(grantedFunctions)
  const rows = [...new Set([...rights.flatMap(([, signatures]) => signatures), ...internalFunctions])].map(
    (signature) => {
      const name = `${schema}.${signature.replaceAll(/\b(bytea|jsonb|text)\b/g, 'pg_catalog.$1')}`
      const having = rights.filter(([, signatures]) => signatures.includes(signature)).map(([right]) => right)
      return `    ('${name}', '{${having.join()}}'::pg_catalog.text[])`
    },
  )
  return rows.join(',\n')
}
