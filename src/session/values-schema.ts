// Values that a schema of the application's types and checks: https://standardschema.dev, as zod, valibot, arktype and others have it.
import { PGStoreError } from '../errors.ts'
import type { Changes } from './changes.ts'
import { flashKey } from './flash.ts'
import { memberPath } from './json.ts'
import { internals, type Session } from './session.ts'
import type { InvalidValues, SchemaIssue, SchemaResult, StandardSchema } from './standard-schema.ts'
import { maxAgeKey } from './values.ts'

export function valuesProblems(values: unknown, invalidValues: unknown): string[] {
  const problems: string[] = []
  const standard = (values as Partial<StandardSchema> | undefined)?.['~standard']
  if (values !== undefined && !(standard?.version === 1 && typeof standard.validate === 'function')) {
    problems.push('values must be a Standard Schema, as zod, valibot and arktype make them')
  }
  if (invalidValues !== 'error' && invalidValues !== 'new') problems.push("invalidValues must be 'error' or 'new'")
  return problems
}

export class ValuesSchema {
  readonly #schema: StandardSchema
  readonly #invalidValues: InvalidValues

  constructor(schema: StandardSchema, invalidValues: InvalidValues) {
    this.#schema = schema
    this.#invalidValues = invalidValues
  }

  /**
   * Gives a session that was just read the values that the schema makes of what is stored; keys that it drops stay, since another
   * release may have stored them. A new session has the schema's defaults, or nothing where the schema asks for more.
   *
   * @throws {PGStoreError} `invalid_value`
   */
  async read<Read extends Session<object>>(session: Read): Promise<Read> {
    const stored = session.values
    const result = await this.#check(stored)
    if (result.issues === undefined) session.values = { ...stored, ...(result.value as object) }
    else if (!session.isNew && this.#invalidValues === 'error') throw refused('stored', result.issues)
    else if (!session.isNew) {
      internals.ended(session)
      return await this.read(session)
    }
    return session
  }

  /**
   * What is about to be stored must be readable again.
   *
   * @throws {PGStoreError} `invalid_value`
   */
  async checkSaved({ isData, base }: Pick<Changes, 'isData' | 'base'>): Promise<void> {
    if (!isData) return
    const { issues } = await this.#check(Object.fromEntries(base))
    if (issues !== undefined) throw refused('saved', issues)
  }

  async #check(values: object): Promise<SchemaResult<unknown>> {
    const { [maxAgeKey]: _maxAge, [flashKey]: _flash, ...own } = values as Record<string, unknown>
    return await this.#schema['~standard'].validate(structuredClone(own))
  }
}

/** Without the schema's own words, which may quote a value. */
function refused(what: 'stored' | 'saved', issues: readonly SchemaIssue[]): PGStoreError {
  const paths = issues.map(({ path = [] }) => path.reduce<string>(pathTo, 'values'))
  const shown = [...new Set(paths)].slice(0, 5).join(', ')
  return new PGStoreError('invalid_value', `The schema refuses what is ${what}: ${shown}.`)
}

function pathTo(path: string, segment: PropertyKey | { readonly key: PropertyKey }): string {
  const key = typeof segment === 'object' ? segment.key : segment
  return typeof key === 'number' ? `${path}[${key}]` : memberPath(path, String(key))
}
