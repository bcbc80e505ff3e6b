// `npx tsx bench/simulate.ts`: what chance does to partitions. Nothing is measured here: three small models, whose constants come from
// docs/scaling-out.md, and the same numbers at every run.
import { randomFrom } from '../test/cache/world.ts'

const random = randomFrom(1)

/** Sessions are spread by their key's first byte: 256 values, so many to each partition. */
function imbalance(
  partitions: number,
  sessions: number,
  skew: number,
): { rows: number; load: number; hottest: number } {
  const rows = Array.from({ length: partitions }, () => 0)
  const load = Array.from({ length: partitions }, () => 0)
  let most = 0
  let all = 0
  for (let rank = 1; rank <= sessions; rank++) {
    const place = Math.floor(random() * 256) % partitions
    const visits = rank ** -skew
    most = Math.max(most, visits)
    all += visits
    rows[place] = (rows[place] ?? 0) + 1
    load[place] = (load[place] ?? 0) + visits
  }
  const excess = (of: number[], total: number) => (Math.max(...of) * partitions) / total
  return { rows: excess(rows, sessions), load: excess(load, all), hottest: most / all }
}

interface Purging {
  /** New sessions a second that nobody visits again, and for how long; the rest is steady. */
  readonly burst: number
  readonly burstSeconds: number
  readonly steady: number
  readonly ttlSeconds: number
  readonly everySeconds: number
  /** Rows that one worker deletes in a second. */
  readonly speed: number
}

/** One partition, second by second: how many expired rows wait at the most, and how long after the burst's end none is overdue. */
function purging({ burst, burstSeconds, steady, ttlSeconds, everySeconds, speed }: Purging) {
  const born = (second: number) => (second < 0 ? 0 : steady + (second < burstSeconds ? burst : 0))
  let waiting = 0
  let most = 0
  let isRunning = false
  let clearedAt = 0
  const end = burstSeconds + ttlSeconds
  for (let second = 0; second < end + 86_400; second++) {
    waiting += born(second - ttlSeconds)
    if (second % everySeconds === 0) isRunning = true
    if (isRunning) waiting -= Math.min(waiting, speed)
    if (waiting === 0) isRunning = false
    most = Math.max(most, waiting)
    if (second >= end && waiting <= steady * everySeconds) {
      clearedAt = second
      break
    }
  }
  return { most, late: clearedAt - end }
}

/** Saves of one session take turns, each as long as a commit. Arrivals at random; returns milliseconds at the 99th percentile. */
function hotKey(savesPerSecond: number, commitMs: number): number {
  const waits: number[] = []
  let now = 0
  let freeAt = 0
  for (let n = 0; n < 200_000; n++) {
    now -= (Math.log(1 - random()) * 1000) / savesPerSecond
    const begins = Math.max(now, freeAt)
    freeAt = begins + commitMs
    waits.push(freeAt - now)
  }
  waits.sort((one, other) => one - other)
  return waits[Math.floor(waits.length * 0.99)] as number
}

function print(title: string, columns: readonly string[], rows: readonly (string | number)[][]): void {
  console.log(`\n${title}\n\n| ${columns.join(' | ')} |\n|${columns.map(() => '---:|').join('')}`)
  for (const row of rows) console.log(`| ${row.join(' | ')} |`)
}

const percent = (share: number) => `${((share - 1) * 100).toFixed(1)} %`
const whole = (count: number) => Math.round(count).toLocaleString('en')

print(
  'Imbalance: how much more than its share the fullest partition holds, and the busiest is asked; skew 0 is visits alike, 1 is Zipf',
  ['partitions', 'sessions', 'skew', 'rows over the mean', 'visits over the mean', 'hottest session of all visits'],
  [4, 16, 64].flatMap((partitions) =>
    [0, 0.5, 1].map((skew) => {
      const { rows, load, hottest } = imbalance(partitions, 1e6, skew)
      return [partitions, whole(1e6), skew, percent(rows), percent(load), `${(hottest * 100).toFixed(4)} %`]
    }),
  ),
)
print(
  'Purge lag on one of 16 partitions: 24 sessions expire a second there, and bots make more for an hour; 14,900 rows/s, every 5 minutes',
  ['bots on all, sessions/s', 'expired rows at the most', 'MB of them', 'behind for, s'],
  [1e3, 1e4, 1e5, 3e5].map((bots) => {
    const limits = { burstSeconds: 3600, steady: 24, ttlSeconds: 1800, everySeconds: 300, speed: 14_900 }
    const { most, late } = purging({ burst: bots / 16, ...limits })
    return [whole(bots), whole(most), whole((most * 515) / 1e6), whole(late)]
  }),
)
print(
  'A hot session: saves of one session take turns; p99 of a save, in ms, by what a commit takes',
  ['saves/s of one session', 'commit 0.7 ms', 'commit 2 ms', 'commit 5 ms'],
  [10, 50, 100, 150, 180].map((rate) => [rate, ...[0.7, 2, 5].map((ms) => hotKey(rate, ms).toFixed(1))]),
)
