/** The name stands unquoted in SQL and, with a suffix, names a channel: at most 63 bytes. Reserved words: see `migrate`. */
export function schemaProblems(schema: unknown): string[] {
  const isName = typeof schema === 'string' && /^[a-z_][a-z0-9_]{0,49}$/.test(schema) && !schema.startsWith('pg_')
  return isName
    ? []
    : ['schema must be a lower-case identifier of at most 50 characters that does not begin with "pg_"']
}
