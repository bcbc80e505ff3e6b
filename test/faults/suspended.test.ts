// A machine that is suspended while a cache holds sessions, which end meanwhile: with each way in which its two clocks may tell
// of it, and with a listener that survives it or does not. In virtual time.
import * as assert from 'uvu/assert'
import type { Clocks } from '../../src/cache/clocks.ts'
import { type Arranged, live, stored } from '../cache/arranged.ts'
import { report, test } from './faults.ts'

const maxStale = 5
const suspendedMs = 600_000

/** Which of the two clocks go on while it sleeps. */
const kinds: Record<string, { readonly monotonic: boolean; readonly wall: boolean }> = {
  'both clocks went on': { monotonic: true, wall: true },
  'the monotonic clock stood still': { monotonic: false, wall: true },
  'the wall clock stood still': { monotonic: true, wall: false },
  'both clocks stood still': { monotonic: false, wall: false },
}

/**
 * Suspends the machine, and ends a session of its cache. What had arrived by then is read when the machine goes on.
 *
 * @returns milliseconds for which the ended session was still shown, by the clock of the machine
 */
async function shownFor(kind: { monotonic: boolean; wall: boolean }, isCut: boolean): Promise<number> {
  let missing = 0
  const clocks = (given: Clocks): Clocks => ({
    ...given,
    monotonic: () => given.monotonic() - (kind.monotonic ? 0 : missing),
    wall: () => given.wall() - (kind.wall ? 0 : missing),
  })
  const arranged: Arranged = await stored({ clocks, maxStale })
  const { world, database, process, ear, cache } = arranged
  process.standStill(suspendedMs)
  if (isCut) ear.cut(1e9) // nobody tells of it
  if (isCut) database.listening.delete(ear)
  database.end('token')
  await world.pass(suspendedMs - 1)
  missing = suspendedMs
  await world.pass(1)
  const from = world.now
  let last = from - 1
  // A request at once, and then every millisecond: longer than maxStale.
  for (let ms = 0; ms < maxStale * 1000 + 500; ms++) {
    if (cache.isOpen() === true && cache.find('token', undefined) !== undefined) last = world.now
    await world.pass(1)
  }
  await live(arranged, 20)
  return last + 1 - from
}

for (const [name, kind] of Object.entries(kinds)) {
  test(`F50: after a suspension in which ${name}, nothing is shown that ended meanwhile and was announced`, async () => {
    assert.is(await shownFor(kind, false), 0)
    report('F50', `suspended for ${suspendedMs / 60_000} min, ${name}, the announcement arrived`, 'shown for 0 ms')
  })

  test(`F50: nor, if the listener is lost, where one of the clocks tells; else for ${maxStale} s at most (${name})`, async () => {
    const ms = await shownFor(kind, true)
    const isTold = kind.monotonic || kind.wall
    assert.ok(ms <= (isTold ? 0 : maxStale * 1000), `${ms}`)
    report('F50', `suspended for ${suspendedMs / 60_000} min, ${name}, the listener lost`, `shown for ${ms} ms`)
  })
}

test.run()
