/** The name is used unquoted in SQL and, with a suffix, names a channel: at most 63 bytes. Reserved words: see `migrate`. */
export function identifierProblems(name: unknown, option: string): string[] {
  const isName = typeof name === 'string' && /^[a-z_][a-z0-9_]{0,49}$/.test(name) && !name.startsWith('pg_')
  return isName
    ? []
    : [`${option} must be a lower-case identifier of at most 50 characters that does not begin with "pg_"`]
}

/** What is wrong with the name of pgstore's schema; empty if it is valid. */
export function schemaProblems(schema: unknown): string[] {
  if (schema === 'public' || schema === 'information_schema') {
    return [`schema must be for pgstore alone, not ${schema}: name another, such as pgstore`]
  }
  return identifierProblems(schema, 'schema')
}
