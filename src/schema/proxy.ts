// The SQL of a PL/Proxy proxy: functions of the same names, parameters and results as everywhere, which only say where they run.
//
// They are made from the newest text of each in the migrations, so that what changes there changes here; a test compares both.
import { PGStoreError, refuse } from '../errors.ts'
import { grantedFunctions } from './grants.ts'
import { migrations } from './migrations.generated.ts'
import { beginning, ending, helpers, localFiles, tables } from './proxy-frame.ts'
import { type Route, routes } from './proxy-routes.ts'
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
    ...(route.on === undefined ? [] : [proxied(`${helper}${head}`, target)]),
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
