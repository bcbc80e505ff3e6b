// The settings that a role can have, and values for each that have caused trouble or might.
import { counts } from './counts.ts'
import { admin } from './harness.ts'

const isFull = counts(0, 1) === 1

export interface Setting {
  readonly name: string
  readonly vartype: 'bool' | 'enum' | 'integer' | 'real' | 'string'
  readonly setting: string
  readonly enumvals: string[] | null
  readonly min_val: string
  readonly max_val: string
}

/** Values of text settings, and of numbers within their range, that are known to cause trouble. */
const more: Readonly<Record<string, readonly string[]>> = {
  DateStyle: ['SQL, DMY', 'German', 'Postgres, MDY', 'ISO, YMD'],
  TimeZone: ['Asia/Kathmandu', 'America/St_Johns', 'UTC'],
  timezone_abbreviations: ['Australia'],
  search_path: ['', 'information_schema', 'pg_temp, public', 'public, pg_catalog', 'no_such_schema'],
  client_encoding: ['LATIN1', 'SQL_ASCII', 'SJIS', 'WIN1252', 'UTF8'],
  default_text_search_config: ['pg_catalog.german'],
  lc_messages: ['C', 'POSIX', 'de_DE.UTF-8', 'C.UTF-8'],
  lc_monetary: ['C', 'de_DE.UTF-8'],
  lc_numeric: ['C', 'de_DE.UTF-8'],
  lc_time: ['C', 'de_DE.UTF-8'],
  extra_float_digits: ['0'],
  statement_timeout: ['1', '3000'],
  lock_timeout: ['1', '1000'],
  transaction_timeout: ['1', '3000'],
  idle_in_transaction_session_timeout: ['1'],
  jit_above_cost: ['0'],
  temp_file_limit: ['0'],
  'plpgsql.extra_errors': ['all'],
  'plpgsql.extra_warnings': ['all'],
  default_tablespace: ['pg_default'],
  temp_tablespaces: ['pg_default'],
  application_name: ['it’s "here"'],
}

/** These may make calls fail, with an error that says so; all others must not. */
export const mayFail: RegExp =
  /^(statement_timeout|transaction_timeout|lock_timeout|default_transaction_read_only|max_stack_depth|exit_on_error|temp_file_limit)$/

/** What `npm test` tries: settings of text, of errors, of transactions and of how a statement is planned. */
const often =
  /style|zone|path|encod|output|float|array|null|escape|quote|conforming|xml|isolation|read_only|deferrable|synchronous|row_security|replication_role|plan_cache|parallel_(mode|query)|^jit$|enable_(seqscan|indexscan|bitmapscan)|check_function|exit_on|plpgsql|client_min|stack_depth|work_mem/i

/** Values to try, other than the present one. */
export function settingValues({ name, vartype, setting, enumvals, min_val, max_val }: Setting): string[] {
  const known = more[name] ?? []
  if (vartype === 'bool') return [setting === 'on' ? 'off' : 'on']
  if (vartype === 'enum') return (enumvals ?? []).filter((value) => value !== setting)
  if (vartype === 'string') return [...known]
  return [...new Set([min_val, max_val, ...known])].filter((value) => value !== setting)
}

/** With `npm test` only those that touch text, time, plans or errors. */
export async function roleSettings(): Promise<Setting[]> {
  const client = await admin.connect()
  try {
    await client.query(`load 'plpgsql'`) // which brings its own
    const { rows } = await client.query<Setting>(
      `select name, vartype, setting, enumvals, min_val, max_val from pg_settings
       where context in ('user', 'superuser') order by name`,
    )
    return rows.filter(({ name }) => isFull || name in more || often.test(name))
  } finally {
    client.release()
  }
}
