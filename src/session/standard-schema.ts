// What a schema of values looks like: https://standardschema.dev, version 1.

/** A schema of any library that follows Standard Schema, version 1; its output is what `session.values` holds. */
export interface StandardSchema<Output = unknown> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined
  }
}

/** Without issues, the value is as the schema wants it. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What becomes of a stored session that the schema refuses: `invalid_value`, or a new session in its place. */
export type InvalidValues = 'error' | 'new'

/** Options with the schema whose output the sessions' values are. */
export interface Typed<Values> {
  readonly values?: StandardSchema<Values> | undefined
}
