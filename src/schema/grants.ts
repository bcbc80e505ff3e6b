// What each right may run, and everything else that we create in a schema. The signatures are written here, not looked up in
// the database: a role gets what this file lists, and that can be printed without a database. A test compares them with the
// catalog.
import { escapeIdentifier, escapeLiteral } from 'pg'
import { refuse } from '../errors.ts'
import { schemaProblems } from './schema-name.ts'

/**
 * `client` is for the application, `entry` for a role that works in its own tables under row-level security and can neither read a
 * session nor sign anyone in, `account` for its pages that list and end a user's sessions, `cleanup` for the worker, `admin`
 * for people: all of these, and the sessions of all users; `proxy` for the role that a PL/Proxy proxy has on its partitions: what
 * `admin` may, and what a proxy alone calls.
 */
export type Right = 'client' | 'entry' | 'account' | 'cleanup' | 'admin' | 'proxy'

/** Not to be had with a right that can sign in where an injection must not become somebody else. */
const entry = ['session_enter(bytea)', 'current_session_id()', 'current_session_user()'] as const

const client = [
  'session_key(text)',
  'session_get(bytea)',
  'session_get(bytea[])',
  'session_save(bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean)',
  'session_save(bytea, jsonb, text[], interval, integer, text, integer, interval, jsonb, text[], boolean, boolean, jsonb)',
  'session_save(bytea[], jsonb[], jsonb[], interval[], integer[], text[], integer, interval, boolean)',
  'session_destroy(bytea, text)',
  'session_destroy(bytea[], text)',
  'session_try_destroy(bytea[])',
  'session_regenerate(bytea, bytea, interval, text, interval)',
  'session_regenerate(bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean)',
  'session_regenerate(bytea, bytea, interval, text, interval, jsonb, text[], integer, integer, jsonb, text[], boolean, boolean, jsonb)',
  'session_limit(text, integer, bytea, text)',
  'session_take(bytea, text)',
  'session_increment(bytea, text, numeric, interval, integer)',
  'session_put(bytea, jsonb, interval, text, integer, interval)',
  'session_bind(bytea, bigint, bytea, text, bytea)',
  'session_binding(bytea)',
  'session_rebind(bytea, bytea, bytea, interval, interval)',
  'session_unbound(bytea, bytea, boolean)',
  'announcement_number()',
  'announcement_echo(text)',
  ...entry,
] as const

const account = [
  'session_list(text, boolean)',
  'session_revoke(text, bigint, bytea, text)',
  'session_revoke_tag(text, bytea, text)',
  'session_history(text, bigint, integer)',
  'endings_take(text, bigint[], text, integer, interval)',
] as const

const cleanup = [
  'count_expired()',
  'purge_expired(integer)',
  'session_stats(integer)',
  'rights_granted()',
  'cleanup_start(interval)',
  'cleanup_stop()',
  'cleanup_status()',
  'cleanup_begin_run()',
  'cleanup_beat()',
  'cleanup_end_run(bigint, integer, text)',
] as const

/** The sessions of all users and their history: for people, not for a program that visitors can reach. */
const everybody = [
  'count_live()',
  'session_all(bytea, integer)',
  'session_changed(text)',
  'session_clear(integer)',
  'session_end_before(text, timestamp with time zone)',
  'audit_set(boolean, interval)',
  'audit_status()',
  'endings_forget(text)',
  'history_erase(text)',
] as const

/** Parts of what the proxy's own functions do, each on one partition. */
const proxied = ['session_sign_ins(text, bytea)', 'session_revoke_some(text, bigint[], text)'] as const

const admin = [...client, ...account, ...cleanup, ...everybody]

/** The functions that each right may run, in this version. */
export const grantedFunctions: Readonly<Record<Right, readonly string[]>> = {
  client,
  entry,
  account,
  cleanup,
  admin,
  proxy: [...admin, ...proxied],
}

/** Internal functions, called by our other functions and by no role. */
export const internalFunctions: readonly string[] = [
  'cleanup_announce(text, jsonb)',
  'session_announce(text, bigint[], text)',
  'ending(bigint, text, jsonb, text[], timestamp with time zone)',
  'history_note(text, bytea)',
  'history_end(jsonb, text)',
  'history_purge(integer)',
  'endings_spread()',
  'valid_life(interval)',
  'valid_label(jsonb, text[])',
  'valid_lives(jsonb)',
  'live_data(jsonb, jsonb, timestamp with time zone)',
  'drop_ended(jsonb, jsonb, timestamp with time zone)',
  'next_ends(jsonb, jsonb, jsonb, timestamp with time zone)',
  'expiry(timestamp with time zone, interval, interval, timestamp with time zone, timestamp with time zone)',
  'past_lifetime(timestamp with time zone, interval, timestamp with time zone, timestamp with time zone)',
  'purge_time(timestamp with time zone, interval, timestamp with time zone)',
  'signed_in_when(timestamp with time zone, text, text, timestamp with time zone)',
  'is_renamed(text, text, jsonb, jsonb, text[], text[])',
  'is_standing(timestamp with time zone, timestamp with time zone, text, text[], timestamp with time zone)',
  'mark_gate()',
  'no_marks()',
  'mark_gate_switch(boolean)',
  'is_marked(timestamp with time zone, text, text[])',
  'purge_marked(integer)',
  'entry_proof(bytea, text)',
  'is_entered(bytea, text)',
  'entry_renew()',
]

/** What we create besides functions: no right includes these. */
export const ownObjects: Readonly<Record<'table' | 'sequence' | 'type', readonly string[]>> = {
  table: [
    'sessions',
    'cleanup',
    'grants',
    'migrations',
    'audit',
    'history',
    'ending_consumers',
    'ending_deliveries',
    'watermark',
    'marks',
    'sweep',
    'entry_keys',
    'bindings',
  ],
  sequence: ['session_number', 'announcement', 'history_number', 'mark_gate'],
  type: ['cleanup_state'],
}

/**
 * The statements that grant `role` these rights on this schema and record them: they add to what it has, and may be run
 * again.
 *
 * @throws {PGStoreError} `invalid_option`, naming what is wrong with the arguments
 */
export function grantStatements(role: string, rights: readonly Right[], schema: string): string[] {
  const problems = [...roleProblems(role), ...schemaProblems(schema)]
  if (rights.length === 0 || !rights.every((right) => Object.hasOwn(grantedFunctions, right))) {
    problems.push('the right must be client, entry, account, cleanup, admin or proxy, or several separated by commas')
  }
  refuse(problems)
  const to = `to ${escapeIdentifier(role)}`
  const records = [...new Set(rights)].map((right) => `(${escapeLiteral(role)}, '${right}')`)
  const signatures = new Set(rights.flatMap((right) => grantedFunctions[right]))
  const functions = [...signatures].map((signature) => `  ${schema}.${signature}`)
  return [
    `insert into ${schema}.grants (role, "right") values ${records.join(', ')} on conflict do nothing;`,
    `grant usage on schema ${schema} ${to};`,
    `grant execute on function\n${functions.join(',\n')}\n${to};`,
  ]
}

/** Quoting does not help against these: "public" in quotes still means all roles, and a name too long is truncated to another. */
function roleProblems(role: string): string[] {
  if (role === 'public' || role === 'none')
    return [`"${role}" is not a role: name the role that the program connects as`]
  return role === '' || role.includes('\0') || Buffer.byteLength(role) > 63
    ? ['the role must be a name of 1 to 63 bytes']
    : []
}
