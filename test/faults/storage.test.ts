// The server runs out of disk: of that of the sessions, then of that of its write-ahead log. On small file systems in memory,
// which only root can mount.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, until } from '../support/harness.ts'
import { duration, report, test } from './faults.ts'
import { Load } from './load.ts'
import { canStartServers, OwnServer } from './own-server.ts'

const server = new OwnServer({ min_wal_size: '32MB', max_wal_size: '64MB', autovacuum: 'off' })
const mounts: string[] = []

function mount(folder: string, options: string): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]).status === 0
}

/** A folder of so many MB beside the data, of the server's user. */
function small(name: string, megabytes: number): string {
  const folder = path.join(path.dirname(server.home), name)
  fs.mkdirSync(folder)
  assert.ok(mount(folder, `size=${megabytes}m`))
  mounts.push(folder)
  const { uid, gid } = fs.statSync(path.join(server.home, 'data'))
  fs.chownSync(folder, uid, gid)
  return folder
}

function canMount(): boolean {
  const folder = fs.mkdtempSync(path.join(path.dirname(server.home), 'mount-'))
  const is = process.getuid?.() === 0 && mount(folder, 'size=1m')
  if (is) spawnSync('umount', [folder])
  fs.rmdirSync(folder)
  return is
}

const isPossible = canStartServers && canMount()
const isFull = counts(0, 1) === 1

/** With short counts, where it cannot be, it is left to `npm run faults`, and its skip is not one of CI's. */
const diskTest = (name: string, body: () => Promise<void>) => {
  if (isPossible) test(name, body)
  else if (isFull) test.skip(name)
  else
    test(name, async () =>
      console.log('Left out: only root may mount a small file system, and only outside of some containers.'),
    )
}
if (!isPossible && isFull) console.log('Skipped: the disk-full experiment needs root, and the right to mount.')

test.after(async () => {
  await server.stop()
  for (const folder of mounts) spawnSync('umount', ['-l', folder])
  await server.remove()
  await closeAll()
})

diskTest('F10: while there is no room for sessions, reads go on and saves say so; none is torn', async () => {
  await server.install()
  const folder = small('sessions', 64)
  await server.ask(`create tablespace small location '${folder}'`)
  await server.ask('alter table pgstore.sessions set tablespace small')
  await server.ask('create table filler (text text) tablespace small')
  await server.ask('alter table filler alter column text set storage external') // or it would be compressed
  const store = new PGStore({ connectionString: server.clientUrl, keyPairs: [hashKey], maxLength: 0 })
  const load = new Load(store)
  await load.start()
  await load.more(50)
  const fill = async (text: string) => {
    for (let n = 0; n < 100; n++) {
      const error = await server.ask(text).then(
        () => undefined,
        (error) => error,
      )
      if (error) return assert.is(error.code, '53100')
    }
    throw new Error('It did not get full.')
  }
  // Ever less at a time, so that no page is left.
  for (const rows of [10_000, 100, 1])
    await fill(`insert into filler select repeat(md5(n::text), 200) from generate_series(1, ${rows}) as n`)
  const before = { ...load.counts.read }
  // Large ones, which find no room in the pages that are there.
  const full = new PGStore({ connectionString: server.clientUrl, keyPairs: [hashKey], maxLength: 0 })
  let refused = 0
  for (let n = 0; n < 20; n++) {
    const large = Array.from({ length: 2000 }, () => Math.random().toString(36)).join('')
    await full.byToken.put(`a token of F10, ${n}`, { large }, { ttl: 3600 }).catch((error) => {
      if (error.code === 'timeout') return // a machine may be too busy to answer in time
      assert.is(error.code, 'full', error.message)
      refused++
    })
  }
  await load.more(counts(100, 2000))
  const reads = load.counts.read
  const [asked, failed] = [reads.calls - before.calls, reads.failed - before.failed]
  await server.ask('drop table filler')
  const success = await duration(() =>
    until(() =>
      full.byToken.put('another token', { a: 1 }, { ttl: 60 }).then(
        () => true,
        () => false,
      ),
    ),
  )
  const { text } = await load.judged()
  await Promise.all([store.close(), full.close()])
  assert.ok(refused > 0)
  report(
    'F10',
    'no room left for sessions',
    `${refused} saves refused with full, ${failed} of ${asked} reads failed; ${text}`,
    {
      'reads failed': { is: (1000 * failed) / asked, most: 10, unit: 'of 1000' },
      'first save after there is room': { is: success, most: 5000 },
    },
  )
})

diskTest('F10: when there is no room for its log the server stops; with room again it has lost nothing', async () => {
  if (mounts.length === 0) await server.install()
  await server.stop()
  const folder = small('wal', 96)
  const wal = path.join(server.home, 'data/pg_wal')
  assert.is(spawnSync('cp', ['-a', `${wal}/.`, folder]).status, 0)
  fs.rmSync(wal, { recursive: true })
  fs.symlinkSync(folder, wal)
  await server.startAgain()
  const store = new PGStore({ connectionString: server.clientUrl, keyPairs: [hashKey] })
  const load = new Load(store)
  await load.start()
  await load.more(50)
  // What a backup that nobody fetches does.
  await server.ask(`select pg_create_physical_replication_slot('nobody', true)`)
  const filling = server.ask(
    `select count(pg_logical_emit_message(false, 'filler', repeat('x', 1000000))) from generate_series(1, 200)`,
  )
  assert.ok(
    await filling.then(
      () => false,
      () => true,
    ),
    'It did not get full.',
  )
  await load.more(counts(30, 300))
  assert.ok(mount(folder, 'remount,size=400m'))
  // It may have restarted by itself and gone down again, or wait for somebody to start it.
  await server.stop()
  await server.startAgain()
  const success = await load.success()
  const { text } = await load.judged()
  await store.close()
  report('F10', 'no room left for the write-ahead log', text, {
    'first success after the restart': { is: success, most: 5000 },
  })
})

test.run()
