// connect-mongo without a server: what its store writes is recorded by a client that has only the calls it makes, and printed as
// mongoexport does, by the driver's own EJSON. No test has read a live MongoDB.
import type session from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { connectMongo, mongoSource } from '../../src/cli/import/connect-mongo.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeEverything, present } from '../sql/calls.ts'
import { rejection, sql } from '../support/harness.ts'
import { areInstalled, requireVersion } from '../versions.ts'
import { documented, move } from './moving.ts'
import { pgstore } from './pgstore.ts'
import { importCounts, take } from './reports.ts'

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

if (!areInstalled) console.log('Skipped: moves from connect-mongo. It is not installed: npm ci --prefix test/versions.')
const peerTest = (name: string, run: () => Promise<void>) => (areInstalled ? test(name, run) : test.skip(name))

const hours = async (sid: string) =>
  Math.round(((await present(sessionKey(sid))).expires_at.getTime() - Date.now()) / 3_600_000)

test('a line is a session, its data an object or text and its expiry in any of the usual forms', async () => {
  const at = Date.now() + 7_200_000
  const iso = new Date(at).toISOString()
  const data = { cookie: {}, passport: { user: 'ann' } }
  const lines = [
    { id: 'text', data: JSON.stringify(data), expires: iso },
    { id: 'ms', data, expires: at },
    { id: 's', data, expires: at / 1000 },
    { id: 'date', data, expires: { $date: iso } },
    { id: 'long', data, expires: { $date: { $numberLong: String(at) } } },
    { id: 'cookie', data: { cookie: { expires: iso } } },
    { id: 'day', data, expires: null },
  ]
  const input = `${lines.map((line) => JSON.stringify(line)).join('\r\n')}\n\n`
  assert.equal(await importCounts(documented('JSON lines'), {}, input), { read: 7, taken: 7, users: 6 })
  for (const { id } of lines) assert.is(await hours(id), id === 'day' ? 24 : 2, id)
})

test('lines that are no session are counted with the reason, and do not stop the others', async () => {
  const input = [
    'no JSON',
    '[]',
    '{"data": {}}',
    '{"id": "a"}',
    '{"id": "b", "data": "7"}',
    '{"id": "c", "data": {}, "expires": "soon"}',
    '{"id": "c", "data": {}, "expires": {"$date": {}}}',
    '{"id": "d", "data": {}, "expires": 1}',
    JSON.stringify({ id: 'e', data: { text: 'x'.repeat(5_000_000) } }),
    JSON.stringify({ id: 'f', data: { text: 'x'.repeat(9_000_000) } }),
    '{"id": 7, "data": {}}',
  ].join('\n')
  assert.equal(await importCounts(['jsonl'], {}, input), {
    read: 11,
    taken: 1,
    expired: 1,
    too_large: 2,
    unreadable: 7,
    problems: { 'not a JSON object': 4, 'no session id': 1, 'an expiry that is not a time': 2 },
  })
  assert.is(await hours('7'), 24)
})

test('thousands of lines are read to the end', async () => {
  const input = Array.from({ length: 3000 }, (_, id) => JSON.stringify({ id, data: { name: 'Zoë' } })).join('\n')
  assert.equal(await importCounts(['jsonl'], {}, input), { read: 3000, taken: 3000 })
  assert.equal((await present(sessionKey('2999'))).data, { name: 'Zoë' })
})

interface Document {
  readonly _id: string
  readonly session: unknown
  readonly expires: Date
}

/** connect-mongo's own store on a collection in memory. */
function mongo(options: object = {}): { store: session.Store; documents: Map<string, Document> } {
  const documents = new Map<string, Document>()
  const collection = {
    createIndex: () => Promise.resolve(''),
    findOne: ({ _id }: Document) => Promise.resolve(documents.get(_id) ?? null),
    updateOne({ _id }: Document, { $set }: { $set: Document }) {
      documents.set(_id, { ...documents.get(_id), ...$set })
      return Promise.resolve({ upsertedCount: 1, matchedCount: 1 })
    },
    deleteOne: ({ _id }: Document) => Promise.resolve({ deletedCount: documents.delete(_id) ? 1 : 0 }),
  }
  const client = { db: () => ({ collection: () => collection }), close: () => Promise.resolve() }
  const { MongoStore } = requireVersion('connect-mongo')
  return { store: MongoStore.create({ client, ...options }), documents }
}

for (const [format, options] of [
  ['relaxed', { relaxed: true }],
  ['canonical', { relaxed: false }],
] as const) {
  peerTest(`a visitor of connect-mongo stays signed in by the lines of mongoexport, ${format}`, async () => {
    const { store, documents } = mongo()
    const { EJSON } = requireVersion('bson')
    const run = async () => {
      const input = [...documents.values()].map((document) => `${EJSON.stringify(document, options)}\n`).join('')
      return await importCounts(documented('connect-mongo, exported'), {}, input)
    }
    assert.equal(await move(store, run), { read: 1, taken: 1, users: 1 })
  })
}

for (const stringify of [true, false]) {
  peerTest(`a visitor of connect-mongo stays signed in by its documents, stringify ${stringify}`, async () => {
    const { store, documents } = mongo({ stringify })
    const collection = {
      estimatedDocumentCount: () => Promise.resolve(documents.size),
      async *find() {
        yield* documents.values()
      },
    }
    const client = {
      connect: () => Promise.resolve(),
      close: () => Promise.resolve(),
      db: () => ({ collection: () => collection }),
    }
    const run = () => take(mongoSource(client, 'sessions'), { userPath: ['passport', 'user'] })
    assert.equal(await move(store, run), { read: 1, taken: 1, users: 1 })
  })
}

test('without the driver the command says what to install, and it needs a URL', async () => {
  const failure = await rejection(connectMongo('mongodb://user:secret@127.0.0.1:1/app'))
  assert.is(failure.message, 'Reading MongoDB needs the package mongodb: npm install mongodb')
  const { code, stderr } = await pgstore(['import', ...documented('connect-mongo')], { MONGODB_URI: '' })
  assert.is(code, 2)
  assert.match(stderr, /^MongoDB URL missing/)
})

test.run()
