// The token stays with the client: whatever the database sees, logs, stores and backs up contains no token and opens nothing.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codecsFromPairs, PGStore } from '../../src/index.ts'
import { admin, closeAll, hashKey, serverBin, sql, testStore, until } from '../support/harness.ts'
import { requirement, skipped } from './requirement.ts'
import { canStart, newHome, removeHomes, type StrictServer, startReason, startStrict } from './server.ts'
import { fullWorkload, keyOf, newVisitor, tokenOf } from './visitors.ts'

test.after(closeAll)
test.after(removeHomes)

const blockKey = 'a block key of 32 bytes, secret!'
const secret = 'the-hunter2-of-this-file'

/** Whether a text contains one of these, in any form in which Postgres prints bytes and text. */
function leaked(text: string, secrets: readonly string[]): string[] {
  const forms = (secret: string) => [
    secret,
    Buffer.from(secret).toString('hex'),
    Buffer.from(secret).toString('base64'),
  ]
  return secrets.filter((secret) => forms(secret).some((form) => text.includes(form)))
}

/** The signature in a cookie's value: the last of its three parts, as bytes. */
function signatures(cookies: readonly string[]): string[] {
  return cookies.map((cookie) => {
    const inner = Buffer.from(cookie, 'base64url')
    return inner.subarray(inner.length - 32).toString('latin1')
  })
}

async function withServer(
  settings: Readonly<Record<string, string>>,
  work: (server: StrictServer, store: PGStore) => Promise<void>,
  home?: string,
): Promise<void> {
  const server = await startStrict(settings, home)
  const store = new PGStore({ connectionString: server.clientUrl, keyPairs: [hashKey, blockKey] })
  try {
    await work(server, store)
  } finally {
    await store.close()
    await server.end()
  }
}

const needsServer = (number: 'S2' | 'S47', sentence: string, body: () => Promise<void>) =>
  canStart ? requirement(number, sentence, body) : skipped(number, sentence, startReason)

needsServer('S2', 'the full workload leaves no token in the full statement log, nor in what others run', async () => {
  const settings = {
    log_min_duration_statement: '0',
    log_statement: 'all',
    log_min_messages: 'info',
    log_error_verbosity: 'verbose',
  }
  await withServer(settings, async (server, store) => {
    const seen = new Set<string>()
    let isDone = false
    const watch = (async () => {
      while (!isDone) {
        const { rows } = await server.owner.query('select query, application_name from pg_stat_activity')
        for (const row of rows) seen.add(JSON.stringify(row))
      }
    })()
    const workload = fullWorkload(store, secret)
    await workload.catch(() => {}) // thrown below
    isDone = true
    await watch
    const { tokens, cookies } = await workload
    await until(() => server.readLog().includes('session_revoke'))
    const log = server.readLog()
    assert.ok(tokens.length >= 80 && log.includes('session_save'), `${tokens.length} tokens`)
    // The search works: it finds a logged parameter, the digest.
    assert.ok(log.includes(keyOf(tokens[0] ?? '').toString('hex')), 'the digest is not in the log')
    const watched = [...seen].join('\n')
    assert.match(watched, 'pgstore.session_')
    assert.equal(leaked(log, [...tokens, ...cookies, hashKey, blockKey]), [])
    assert.equal(leaked(watched, [...tokens, ...cookies, ...tokens.map((token) => keyOf(token).toString('hex'))]), [])
  })
})

requirement('S3', 'a cookie made of what the database holds opens nothing, signed or not', async () => {
  const store = testStore({ keyPairs: [hashKey, blockKey] })
  for (let i = 0; i < 100; i++) await newVisitor(store, { i }, `hash ${i % 5}`)
  const rows = await sql<{ key: Buffer; id: string }>('select key, id from pgstore.sessions limit 100')
  const [codec] = codecsFromPairs(hashKey, blockKey)
  let tried = 0
  for (const { key, id } of rows) {
    for (const text of [
      key.toString('hex'),
      key.toString('base64url'),
      key.toString('base64'),
      key.toString('latin1'),
      id,
    ]) {
      for (const value of [text, encodeURIComponent(text), codec?.encode('sid', text) ?? '']) {
        tried++
        const session = await store.get({ headers: { cookie: `sid=${value}` } }, 'sid')
        if (!session.isNew) throw new Error(`Accepted: ${value}`)
      }
    }
  }
  assert.ok(tried >= 1000, `${tried} tried`)
  assert.is((await admin.query('select from pgstore.sessions where key = $1', [rows[0]?.key])).rowCount, 1)
})

/** All bytes of all files below a folder. */
function* filesBelow(folder: string): Generator<[string, string]> {
  for (const entry of fs.readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    yield [path.relative(folder, file), fs.readFileSync(file, 'latin1')]
  }
}

interface Backup {
  readonly dump: string
  readonly data: string
  /** All that must not be in either. */
  readonly raw: readonly string[]
  /** A session that is still there. */
  readonly kept: string
}

let backup: Promise<Backup> | undefined

/** Both kinds of a backup, of one server that had the full workload. */
async function takeBackup(): Promise<Backup> {
  const home = newHome()
  let [dump, kept, raw] = ['', '', ['']]
  const work = async (server: StrictServer, store: PGStore) => {
    const { tokens, cookies } = await fullWorkload(store, secret)
    assert.ok(tokens.length >= 80)
    kept = tokenOf(store, await newVisitor(store, { secret }, 'the user of this file'))
    raw = [...tokens, ...cookies, ...signatures(cookies), hashKey, blockKey, kept]
    const program = path.join(serverBin, 'pg_dump')
    dump = fs.existsSync(program) ? pgDump(program, server.ownerUrl) : await copyOut(server.owner)
  }
  await withServer({ wal_level: 'logical' }, work, home)
  return { dump, data: path.join(home, 'data'), raw, kept }
}

needsServer(
  'S47',
  'a copy of the data directory, including WAL, contains no token, no signature and no signing key',
  async () => {
    backup ??= takeBackup()
    const { data, raw, kept } = await backup
    const shows = { key: false, data: false, user: false, wal: false }
    for (const [name, bytes] of filesBelow(data)) {
      const found = raw.filter((text) => bytes.includes(text))
      if (found.length > 0) throw new Error(`${name} holds ${found.length} of them`)
      // What it does show: SECURITY.md says so.
      if (bytes.includes(keyOf(kept).toString('latin1'))) shows.key = true
      if (bytes.includes(secret)) shows.data = true
      if (bytes.includes('the user of this file')) shows.user = true
      if (name.startsWith('pg_wal') && bytes.includes(secret)) shows.wal = true
    }
    assert.equal(shows, { key: true, data: true, user: true, wal: true })
  },
)

needsServer('S47', 'nor does pg_dump, which shows digests, user ids, times and data', async () => {
  backup ??= takeBackup()
  const { dump, raw, kept } = await backup
  assert.equal(leaked(dump, raw), [])
  for (const shown of [keyOf(kept).toString('hex'), secret, 'the user of this file']) assert.match(dump, shown)
})

function pgDump(program: string, url: string): string {
  const { stdout, stderr, status } = spawnSync(program, [url], { encoding: 'utf8', maxBuffer: 100_000_000 })
  if (status !== 0) throw new Error(stderr)
  return stdout
}

/** If the server's programs lack pg_dump: the rows that it would print. */
async function copyOut(owner: pg.Pool): Promise<string> {
  let text = ''
  for (const table of ['sessions', 'cleanup', 'migrations']) {
    const { rows } = await owner.query<{ line: string }>(`select t::text as line from pgstore.${table} as t`)
    text += rows.map(({ line }) => line).join('\n')
  }
  return text
}

test.run()
