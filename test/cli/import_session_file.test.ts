import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import session from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { sessionFileStore } from '../../src/cli/import/session-file-store.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeEverything, present } from '../sql/calls.ts'
import { rejection, sql } from '../support/harness.ts'
import { areInstalled, requireVersion } from '../versions.ts'
import { documented, move } from './moving.ts'
import { importCounts, take } from './reports.ts'

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sessions-'))

test.before.each(async () => {
  await sql('truncate pgstore.sessions')
})
test.after.each(() => {
  for (const name of fs.readdirSync(folder)) fs.rmSync(path.join(folder, name))
})
test.after(async () => {
  fs.rmSync(folder, { recursive: true })
  await closeEverything()
})

if (!areInstalled)
  console.log('Skipped: moves from session-file-store. It is not installed: npm ci --prefix test/versions.')
const peerTest = (name: string, run: () => Promise<void>) => (areInstalled ? test(name, run) : test.skip(name))

function fileStore(options: object = {}): session.Store {
  const FileStore = requireVersion('session-file-store')(session)
  return new FileStore({ path: folder, retries: 0, reapInterval: -1, logFn: () => {}, ...options })
}

peerTest('a visitor of session-file-store stays signed in', async () => {
  const args = documented('session-file-store').map((word) => (word === './sessions' ? folder : word))
  assert.equal(await move(fileStore(), () => importCounts(args)), { read: 1, taken: 1, users: 1 })
  const [stored] = await sql<{ data: object }>('select data from pgstore.sessions')
  assert.equal(Object.keys(stored?.data ?? {}).sort(), ['cookie', 'passport'])
})

peerTest('encrypted sessions are unreadable', async () => {
  const store = fileStore({ secret: 'an example secret' })
  const cookie = { originalMaxAge: null } as session.Cookie
  await new Promise((resolve) => store.set('sealed', { cookie }, resolve))
  assert.is(fs.readdirSync(folder).length, 1)
  assert.equal(await take(sessionFileStore(folder, 3600)), {
    read: 1,
    unreadable: 1,
    problems: { 'no time of its last use, or encrypted': 1 },
  })
})

test('a session lives from its last use for the maxAge of its cookie, or else for --ttl', async () => {
  const write = (sid: string, ago: number, originalMaxAge: number | null) =>
    fs.writeFileSync(
      path.join(folder, `${sid}.json`),
      JSON.stringify({ cookie: { originalMaxAge }, __lastAccess: Date.now() - ago }),
    )
  write('own', 3_600_000, 3 * 3_600_000)
  write('ttl', 3_600_000, null)
  write('over', 3_600_000, 1_800_000)
  fs.writeFileSync(path.join(folder, 'broken.json'), '{"cookie"')
  fs.writeFileSync(path.join(folder, 'other.txt'), '')
  assert.equal(await importCounts(['session-file-store', '--from', folder, '--ttl', '18000']), {
    read: 4,
    taken: 2,
    expired: 1,
    unreadable: 1,
    problems: { 'not a JSON object': 1 },
  })
  for (const [sid, hours] of [
    ['own', 2],
    ['ttl', 4],
  ] as const) {
    const { expires_at } = await present(sessionKey(sid))
    assert.is(Math.round((expires_at.getTime() - Date.now()) / 3_600_000), hours)
  }
})

test('a folder that is not there is reported in a sentence', async () => {
  const failure = await rejection(take(sessionFileStore(path.join(folder, 'none'), 3600)))
  assert.is(failure.message, 'Cannot read the folder of sessions: ENOENT.')
})

test.run()
