// Every function, called by the application's role with arguments that no client would send.
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { grantedFunctions } from '../../src/schema/grants.ts'
import { closeAll, until } from '../support/harness.ts'
import { requirement, skipped } from './requirement.ts'
import { canStart, type StrictServer, startReason, startStrict } from './server.ts'

test.after(closeAll)

/** Part of every value except keys, so that a log that quotes a row shows it. */
const marker = 'MARKEDROW'

const bytes = (length: number, fill = 7) => Buffer.alloc(length, fill)
const megabyte = 2 ** 20
const text = (length: number) => marker.repeat(Math.ceil(length / marker.length)).slice(0, length)

/** A JSON array of arrays, this deep. */
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`

/** Values for a parameter of each type, as text: null, wrong, huge, of the wrong shape, and right. */
const values: Readonly<Record<string, readonly (string | Buffer | null)[]>> = {
  bytea: [null, '', bytes(1), bytes(31), bytes(32), bytes(32, 8), bytes(33), bytes(megabyte)],
  boolean: [null, 'true', 'false'],
  text: [
    null,
    '',
    marker,
    'user',
    "';drop table x;--",
    text(1024),
    text(1025),
    text(megabyte),
    '\u{10ffff}\u200f\ufeff',
  ],
  jsonb: [
    null,
    '{}',
    'null',
    '[]',
    '1',
    '"x"',
    'true',
    `{"a":"${marker}"}`,
    `["${marker}"]`,
    `{"":1,"__proto__":{"x":1}}`,
    '{"n":1e131071}',
    '{"n":-1e-16383}',
    `{"m":"${text(megabyte)}"}`,
    `{"d":${nested(1000)}}`,
    '["a"]',
    '[1]',
    '[["a"]]',
    '[null]',
  ],
  interval: [
    null,
    '0',
    '1 millisecond',
    '-1 day',
    '1 day',
    '100 years',
    '101 years',
    '178000000 years',
    '-178000000 years',
    '2147483647 months',
    '-2147483648 days',
    '2147483647 days -2147483647 months',
    '99 years -36135 days',
    '36600 days -1200 months',
    '1 year -12 months 1 second',
    '2562047788:00:54',
    'infinity',
    '-infinity',
  ],
  integer: [null, '0', '1', '-1', '2', '2147483647', '-2147483648', '4096'],
  numeric: [null, '0', '1', '-0.5', 'NaN', 'Infinity', '-Infinity', '1e100', '1e131071', '1e-16383'],
  bigint: [null, '0', '1', '-1', '9223372036854775807', '-9223372036854775808'],
}

/** An array literal of these, which may hold nulls. */
function literal(items: readonly (string | Buffer | null)[]): string {
  const item = (value: string | Buffer | null) => {
    if (value === null) return 'NULL'
    const inner = typeof value === 'string' ? value : `\\x${value.toString('hex')}`
    return `"${inner.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
  }
  return `{${items.map(item).join()}}`
}

let seed = Number(process.env['PGSTORE_FUZZ_SEED'] ?? 1)
/** The same sequence at every run (mulberry32). */
function random(below: number): number {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
}

function pick<Item>(items: readonly Item[]): Item {
  return items[random(items.length)] as Item
}

/** A value for a parameter of this type. Megabytes are rare: they cost time. */
function value(type: string): string | Buffer | null {
  const element = type.replace('[]', '')
  const known = values[element]
  if (!known) throw new Error(`No values for ${type}.`)
  const one = () => {
    const chosen = pick(known)
    return (chosen?.length ?? 0) > 100_000 && random(10) > 0 ? pick(known.slice(0, 3)) : chosen
  }
  if (type === element) return one()
  switch (random(9)) {
    case 0:
      return null
    case 1:
      return '{}'
    case 2:
      return `{${literal([one(), one()])},${literal([one(), one()])}}` // two dimensions
    case 3:
      return `[5:6]=${literal([one(), one()])}` // not from 1
    case 4:
      return literal([null, null, one()])
    default:
      return literal(Array.from({ length: random(4) }, one))
  }
}

/** A value as a client would send it; of arrays two items each. */
function good(type: string): string | Buffer | null {
  switch (type) {
    case 'bytea':
      return bytes(32, random(6))
    case 'jsonb':
      return `{"a":"${marker}"}`
    case 'interval':
      return '1 day'
    case 'integer':
      return pick(['0', '1', '4096'])
    case 'numeric':
      return '1'
    case 'text':
      return 'user'
    case 'bytea[]':
      return literal([bytes(32, random(6)), bytes(32, random(6))])
    case 'jsonb[]':
      return pick([literal([`{"a":"${marker}"}`, '{}']), '{NULL,NULL}'])
    case 'interval[]':
      return '{1 day,1 hour}'
    case 'integer[]':
      return pick(['{NULL,0}', '{0,1}', '{NULL,NULL}'])
    case 'text[]':
      return '{NULL,user}'
    case 'bigint[]':
      return '{1,NULL}'
    default:
      return null
  }
}

interface Outcome {
  readonly call: string
  readonly state: string
}

/** If a value is not of its type the caller gets the server's own error, before any function runs. */
const refusedByType = new Set(['22P02', '22007', '22008', '2202E', '22015', '22003'])

const statuses =
  /^(saved|gone|conflict|too_large|invalid|locked|destroyed|taken|none|ended|off|marked|bound|unbound|moved|current|previous|refused)$/

/** Whether these are arguments that the server takes as their types; else no function ran. */
async function areTyped(owner: pg.Pool, types: readonly string[], args: readonly unknown[]): Promise<boolean> {
  const list = types.map((type, index) => `$${index + 1}::${type}`).join(', ')
  return await owner.query(`select ${list}`, [...args]).then(
    () => true,
    (error) => !refusedByType.has(error.code),
  )
}

async function fuzz(
  server: StrictServer,
  calls: number,
): Promise<{ wrong: Outcome[]; ran: number; pids: Set<string>; seen: Set<string> }> {
  const client = new pg.Client({ connectionString: server.clientUrl })
  await client.connect()
  const wrong: Outcome[] = []
  const signatures = [...grantedFunctions.client, ...grantedFunctions.account]
  const pids = new Set<string>()
  const seen = new Set<string>()
  let ran = 0
  try {
    for (let n = 0; n < calls; n++) {
      // The sessions of the good keys, again and again: calls that end them are among these.
      if (n % 25 === 0) {
        const create = `select pgstore.session_save(decode(repeat(lpad(to_hex(n), 2, '0'), 32), 'hex'), $1, p_version => 0, p_user_id => 'user')`
        await server.owner.query(`${create} from generate_series(0, 5) as n`, [`{"a":"${marker}"}`])
      }
      const signature = signatures[n % signatures.length] ?? ''
      const [, name, list = ''] = /^(\w+)\((.*)\)$/.exec(signature) ?? []
      const parameters = list === '' ? [] : list.split(', ')
      const args = parameters.map((type) => (random(4) === 0 ? value(type) : good(type)))
      const placeholders = parameters.map((type, index) => `$${index + 1}::${type}`).join(', ')
      let outcome = ''
      try {
        const { rows } = await client.query(`select * from pgstore.${name}(${placeholders})`, args)
        const undocumented = rows.filter(({ status }) => status !== undefined && !statuses.test(status))
        for (const { status } of rows) seen.add(String(status))
        if (undocumented.length > 0) outcome = `status ${undocumented[0].status}`
      } catch (error) {
        const { code, message } = error as { code: string; message: string }
        if (refusedByType.has(code) && !(await areTyped(server.owner, parameters, args))) continue
        outcome = `${code} ${message}`
      }
      ran++
      if (outcome !== '') wrong.push({ call: `${name}(${args.map(shown).join(' | ')})`, state: outcome })
      if (n % 100 === 0) pids.add((await client.query('select pg_backend_pid() as pid')).rows[0].pid)
    }
  } finally {
    await client.end()
  }
  return { wrong, ran, pids, seen }
}

function shown(arg: string | Buffer | null): string {
  return arg === null ? 'null' : typeof arg === 'string' ? arg.slice(0, 200) : `${arg.length} bytes`
}

const sentence =
  'over 1,000 calls with nulls, wrong lengths, megabytes, crooked arrays and infinities answer a documented status, on one backend, and no row is in the log'

async function body(): Promise<void> {
  const server = await startStrict({
    fsync: 'off',
    log_min_messages: 'debug1',
    log_error_verbosity: 'verbose',
    log_statement: 'none',
  })
  try {
    const { wrong, ran, pids, seen } = await fuzz(server, Number(process.env['PGSTORE_FUZZ_CALLS'] ?? 1500))
    assert.equal(wrong.slice(0, 20), [])
    assert.ok(ran > 1000, `${ran} calls ran`)
    assert.is(pids.size, 1)
    await server.owner.query('select 1 / 0').catch(() => {})
    await until(() => server.readLog().includes('division by zero')) // the log is written to, and this far
    const log = server.readLog()
    assert.equal(
      log.split('\n').filter((line) => line.includes(marker)),
      [],
    )
    // Good calls are among them, and get far.
    for (const status of ['saved', 'gone', 'conflict', 'invalid']) assert.ok(seen.has(status), `no ${status}`)
  } finally {
    await server.end()
  }
}

if (canStart) requirement('S36', sentence, body)
else skipped('S36', sentence, startReason)

test.run()
