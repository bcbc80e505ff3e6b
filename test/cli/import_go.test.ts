// test/vectors/pgstore-go.json was written once by a Go 1.19 program with gorilla/securecookie 1.1.1: for each session its id,
// its cookie, and the column `data` as pgstore's Save writes it.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { pgstoreGo } from '../../src/cli/import/pgstore-go.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeEverything, present } from '../sql/calls.ts'
import { databaseUrl, rejection, sql, testStore } from '../support/harness.ts'
import { documented } from './moving.ts'
import { pgstore } from './pgstore.ts'
import { importCounts, take } from './reports.ts'

interface Vector {
  readonly comment: string
  readonly name: string
  readonly hashKeys: readonly string[]
  readonly blockKeys: readonly (string | null)[]
  readonly id: string
  readonly cookie: string
  readonly data: string
  readonly values: Readonly<Record<string, unknown>>
}

const vectors: readonly Vector[] = JSON.parse(
  fs.readFileSync(new URL('../vectors/pgstore-go.json', import.meta.url), 'utf8'),
)
const [first] = vectors as [Vector]

test.before.each(async () => {
  await sql('drop table if exists http_sessions')
  await sql(
    `create table http_sessions (
       id bigserial primary key, key bytea, data bytea, created_on timestamptz default current_timestamp,
       modified_on timestamptz, expires_on timestamptz
     )`,
  )
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

async function insert(key: string, data: string, life: string | null = '1 day'): Promise<void> {
  await sql(
    `insert into http_sessions (key, data, expires_on)
     values (convert_to($1, 'UTF8'), convert_to($2, 'UTF8'), now() + $3::interval)`,
    key,
    data,
    life,
  )
}

function keyPairs({ hashKeys, blockKeys }: Vector): (Buffer | null)[] {
  return hashKeys.flatMap((hashKey, i) => {
    const blockKey = blockKeys[i]
    return [Buffer.from(hashKey, 'hex'), blockKey ? Buffer.from(blockKey, 'hex') : null]
  })
}

function source(vector: Vector, name: string = vector.name): ReturnType<typeof pgstoreGo> {
  return pgstoreGo({ connectionString: databaseUrl, name, keyPairs: keyPairs(vector) })
}

for (const vector of vectors) {
  test(`a visitor whom the Go program signed in stays so, with the same cookie and values: ${vector.comment}`, async () => {
    await insert(vector.id, vector.data)
    assert.equal(await take(source(vector), { userPath: ['user'] }), {
      read: 1,
      taken: 1,
      ...('user' in vector.values ? { users: 1 } : {}),
    })
    const store = testStore({ keyPairs: keyPairs(vector), options: { maxAge: 50 * 365 * 86400 } })
    store.maxAge(0) // the vectors grow old
    const session = await store.get({ headers: { cookie: `${vector.name}=${vector.cookie}` } }, vector.name)
    assert.is(session.isNew, false)
    assert.equal(session.values, vector.values)
    assert.is(session.userId, vector.values['user'] as string | undefined)
  })
}

test('flash messages that were not shown yet are shown', async () => {
  await insert(first.id, first.data)
  await take(source(first))
  const store = testStore({ keyPairs: keyPairs(first) })
  store.maxAge(0)
  const session = await store.get({ headers: { cookie: `${first.name}=${first.cookie}` } }, first.name)
  assert.equal(session.flashes(), ['saved'])
})

test('rows that were altered, signed with other keys or never a session are skipped, and counted with the reason', async () => {
  const [, , , , , other] = vectors as [Vector, Vector, Vector, Vector, Vector, Vector]
  await insert(first.id, `${first.data.slice(0, -8)}AAAAAAA=`)
  await insert(first.id, other.data)
  await insert(first.id, '')
  await insert('short', first.data)
  await insert(first.id.toLowerCase(), first.data)
  await insert(first.id, first.cookie) // does not contain a map
  await insert(first.id, first.data, '-1 second')
  await sql('insert into http_sessions default values')
  assert.equal(await take(source(first)), {
    read: 8,
    expired: 1,
    unreadable: 7,
    problems: {
      'not signed with these keys and this name': 3,
      'no session id in the column key': 3,
      'not a map at the top level': 1,
    },
  })
  await sql('delete from http_sessions where id > 1')
  await insert(first.id, first.data)
  const wrongName = await take(source(first, 'another'))
  assert.equal(wrongName.problems, { 'not signed with these keys and this name': 2 })
})

test('of two rows with the same key the first counts, as in the Go program', async () => {
  await insert(first.id, first.data)
  await insert(first.id, first.data)
  assert.equal(await take(source(first)), { read: 2, taken: 1, already_there: 1 })
})

test('a row without an expiry lives thirty days from its last save', async () => {
  await insert(first.id, first.data, null)
  const age = Math.floor(Date.now() / 1000) - Number(/^\d+/.exec(Buffer.from(first.data, 'base64url').toString()))
  const isOver = age >= 30 * 86400
  assert.equal(await take(source(first)), isOver ? { read: 1, expired: 1 } : { read: 1, taken: 1 })
  if (!isOver) {
    const left = ((await present(sessionKey(first.id))).expires_at.getTime() - Date.now()) / 1000
    assert.ok(Math.abs(left - (30 * 86400 - age)) < 0.011 * 30 * 86400, String(left))
  }
})

test('a table of many batches is read to its end', async () => {
  await insert(first.id, first.data)
  await sql(`insert into http_sessions (key, data, expires_on)
             select key, data, expires_on from http_sessions, generate_series(1, 700)`)
  assert.equal(await take(source(first)), { read: 701, taken: 1, already_there: 700 })
})

test('a table whose columns are text, as in a fork, is read too', async () => {
  await insert(first.id, first.data)
  await sql(`alter table http_sessions alter key type varchar(63) using convert_from(key, 'UTF8'),
             alter data type text using convert_from(data, 'UTF8')`)
  assert.equal(await take(source(first)), { read: 1, taken: 1 })
})

test('the keys come from the environment or a file, each with its encoding', async () => {
  const vector = vectors.find(({ comment }) => comment === 'the key before the one in use') as Vector
  const words = keyPairs(vector).map((key, i) =>
    i % 2 ? `base64:${key?.toString('base64')}` : `hex:${key?.toString('hex')}`,
  )
  await insert(vector.id, vector.data)
  const args = [...documented("Go's pgstore"), '--dry-run']
  const expected = { read: 1, taken: 1, users: 1, dry_run: true }
  assert.equal(await importCounts(args, { PGSTORE_IMPORT_KEYS: words.join(' ') }), expected)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-keys-'))
  try {
    const file = path.join(folder, 'keys')
    fs.writeFileSync(file, `${words.join('\n')}\n`)
    assert.equal(await importCounts([...args, '--keys', file]), expected)
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})

test('invalid keys are named by their position, and never shown', async () => {
  const args = ['import', 'pgstore-go', '--name', 'sid']
  const secret = 'a-secret-that-is-none'
  for (const keys of ['', secret, `text:${secret}`, `hex:${'ab'.repeat(32)} base64:!!!${secret}`, `hex:abc`, '-']) {
    const { code, stderr, stdout } = await pgstore(args, { PGSTORE_IMPORT_KEYS: keys })
    assert.is(code, 2, keys)
    assert.not.ok(`${stdout}${stderr}`.includes(secret), stderr)
  }
  assert.is((await pgstore(['import', 'pgstore-go'], { PGSTORE_IMPORT_KEYS: '-' })).code, 2)
  const missing = await pgstore([...args, '--keys', '/no/such/file'])
  assert.match(missing.stderr, /^Cannot read the file named by --keys: ENOENT\.$/m)
  const failure = await rejection(
    Promise.resolve().then(() => pgstoreGo({ connectionString: '', name: 'sid', keyPairs: ['short'] })),
  )
  assert.is(failure.code, 'invalid_option')
})

test.run()
