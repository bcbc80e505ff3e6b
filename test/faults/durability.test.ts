// What the server has on disk after relaxed and durable saves, and what a crash of it takes back.
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { canStart, kill, newHome, removeHomes, type StrictServer, startAgain, startReason } from '../security/server.ts'
import { inWaves, newVisitor, signOut } from '../security/visitors.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, type Visitor } from '../support/harness.ts'
import { report, test } from './faults.ts'

test.after(closeAll)
test.after(removeHomes)

/**
 * Relaxed commits may stay off the disk for so long: the WAL writer wakes so seldom, and before PostgreSQL 17 also with each page
 * of 8 kB that is full.
 */
const settings = { wal_writer_delay: '10s' }

const needsServer = (sentence: string, body: () => Promise<void>) => {
  if (canStart) return test(sentence, body)
  console.log(`Skipped: ${startReason}`)
  test.skip(sentence)
}

function relaxedStore({ clientUrl }: StrictServer): PGStore {
  return new PGStore({ connectionString: clientUrl, keys: [hashKey], durability: 'relaxed' })
}

/** Two values that are to stay equal, whichever save a crash leaves. */
async function save(store: PGStore, visitor: Visitor, value: number, isDurable = false): Promise<void> {
  await visitor.visit(store, async (session, req, res) => {
    Object.assign(session.values, { value, same: value })
    if (isDurable) await store.save(req, res, session, { durability: 'durable' })
  })
}

/** Whether the server has written less of its WAL than it has, to disk or, with 'lsn', to the system. */
async function isBehind({ owner }: StrictServer, what: 'flush_lsn' | 'lsn'): Promise<boolean> {
  const text = `select pg_current_wal_${what}() < pg_current_wal_insert_lsn() as behind`
  return (await owner.query<{ behind: boolean }>(text)).rows[0]?.behind === true
}

needsServer(
  'the commit of a durable save is on disk when it is answered, that of a relaxed one need not be',
  async () => {
    const server = await startAgain(newHome(), settings)
    const store = relaxedStore(server)
    try {
      const visitors = await inWaves(8, () => newVisitor(store))
      // Alone, and eight at once in the array form.
      for (const group of [visitors.slice(0, 1), visitors]) {
        const behind = { relaxed: 0, durable: 0 }
        for (let round = 0; round < 8; round++) {
          await Promise.all(group.map((visitor) => save(store, visitor, round)))
          if (await isBehind(server, 'flush_lsn')) behind.relaxed++
          await Promise.all(group.map((visitor) => save(store, visitor, round + 0.5, true)))
          if (await isBehind(server, 'flush_lsn')) behind.durable++
        }
        // Not always: the server's own processes write and flush now and then.
        assert.ok(behind.relaxed >= 4 && behind.durable <= 2, JSON.stringify(behind))
      }
    } finally {
      await store.close()
      await server.end()
    }
  },
)

const crashes = counts(1, 10)
const each = 30

needsServer(
  'a crash takes back relaxed saves alone, whole and only those after the last durable one, and revives nobody',
  async () => {
    const home = newHome()
    let lost = 0
    for (let crash = 0; crash < crashes; crash++) {
      const server = await startAgain(home, settings)
      const store = relaxedStore(server)
      const visitors = await inWaves(4 * each + 1, () => newVisitor(store, { value: 0, same: 0 }))
      const group = (n: number) => visitors.slice(n * each, (n + 1) * each)
      const [early, durable, ended, late] = [group(0), group(1), group(2), group(3)]
      const thieves = ended.map((visitor) => visitor.request())
      await inWaves(each, (n) => save(store, early[n] as Visitor, 1))
      await inWaves(each, (n) => signOut(store, ended[n] as Visitor))
      await inWaves(each, (n) => save(store, durable[n] as Visitor, 1, true))
      await inWaves(each, (n) => save(store, late[n] as Visitor, 1))
      const last = visitors[4 * each] as Visitor
      let acknowledged = 0
      do await save(store, last, ++acknowledged)
      while (acknowledged < 50 && !(await isBehind(server, 'lsn')))
      await kill(server)
      await store.close()

      const again = await startAgain(home, settings)
      const after = relaxedStore(again)
      const valuesOf = async (visitor: Visitor) => (await after.get(visitor.request(), 'sid')).values
      try {
        for (const visitor of [...early, ...durable]) assert.equal(await valuesOf(visitor), { value: 1, same: 1 })
        for (const req of thieves) assert.ok((await after.get(req, 'sid')).isNew)
        for (const visitor of late) {
          const { value, same } = await valuesOf(visitor)
          assert.ok((value === 0 || value === 1) && same === value, JSON.stringify({ value, same }))
          if (value === 0) lost++
        }
        const { value, same } = await valuesOf(last)
        assert.ok(Number(value) <= acknowledged && same === value, JSON.stringify({ value, same, acknowledged }))
        if (value !== acknowledged) lost++
        // What a crash took back is saved again like any other.
        for (const visitor of late) await save(after, visitor, 2)
        for (const visitor of late) assert.equal(await valuesOf(visitor), { value: 2, same: 2 })
      } finally {
        await after.close()
        await again.end()
      }
    }
    assert.ok(lost > 0, 'No crash took anything back: the test shows nothing.')
    report(
      'D11',
      'The server is killed after relaxed saves',
      `${lost} of ${crashes * (each + 1)} sessions older, all whole; no durable save lost`,
    )
  },
)

test.run()
