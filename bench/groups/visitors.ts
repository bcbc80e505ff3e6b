// The visitors of group `indexes`.
import { createHash } from 'node:crypto'

/** How visitors come: each session is active for 60 ticks, with this many saves in every sixth of them. */
export interface Pattern {
  readonly name: string
  readonly ttl: string
  readonly tickSeconds: number
  readonly saves: number
  readonly ticksBetweenVacuums: number
  readonly ticksBetweenPurges: number
}

export const patterns: readonly Pattern[] = [
  // Ten minutes of clicks, one save a minute; vacuum each minute, autovacuum's default naptime.
  {
    name: '30 minutes',
    ttl: '30 minutes',
    tickSeconds: 10,
    saves: 1,
    ticksBetweenVacuums: 6,
    ticksBetweenPurges: 30,
  },
  // A visit a day for ten days, with three saves at each.
  { name: '30 days', ttl: '30 days', tickSeconds: 4 * 3600, saves: 3, ticksBetweenVacuums: 1, ticksBetweenPurges: 6 },
]

export const activeTicks = 60

/** Of session n of those that began at a tick. */
export function keyOf(tick: number, n: number): Buffer {
  return createHash('sha256').update(`${tick} ${n}`).digest()
}

/** Those that save in this tick, of this many that began at each: every session saves in every sixth tick of its life. */
export function activeKeys(tick: number, arrivals: number, ages: number = activeTicks): Buffer[] {
  const keys: Buffer[] = []
  for (let age = 1; age <= ages; age++) {
    for (let n = (activeTicks - age) % 6; n < arrivals; n += 6) keys.push(keyOf(tick - age, n))
  }
  return keys
}
