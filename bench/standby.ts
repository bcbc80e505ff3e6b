// What reads from a standby would cost, and how late one is: `npx tsx bench/standby.ts`. A primary and a standby on this machine, which
// share its disk and processors; the figures are in docs/design.md.
import { setTimeout as pause } from 'node:timers/promises'
import { systemBin } from '../scripts/postgres.ts'
import { median } from './measure.ts'

process.env['PGSTORE_TEST_BIN'] ??= systemBin()
process.env['PGSTORE_TEST_DATABASE_URL'] ??= 'postgres://none' // read by a module that none of this uses
const { OwnServer } = await import('../test/faults/own-server.ts')
const pg = (await import('pg')).default

const rounds = 2000
const primary = new OwnServer({ fsync: 'on' })
const standby = await (async () => {
  await primary.install()
  return await primary.standby({ fsync: 'on' })
})()

const p99 = (numbers: readonly number[]) =>
  numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length * 0.99)] as number
const ms = (number: number) => number.toFixed(3)

try {
  const [writer, reader] = await Promise.all([primary.url, standby.url].map(open))
  if (!writer || !reader) throw new Error('No connection.')
  await writer.query(`select pgstore.session_put(sha256(n::text::bytea), jsonb_build_object('n', n, 'x', repeat('x', 200)), '1 hour')
    from generate_series(1, 10000) as n`)
  await pause(2000)

  const key = () => `sha256(${1 + Math.floor(Math.random() * 10_000)}::text::bytea)`
  const read = () => `select data from pgstore.sessions where key = ${key()}`
  const save = () => `select pgstore.session_put(${key()}, '{"n": 1}', '1 hour')`
  const pairs = [
    ['read on the standby', reader, read, () => `select pg_last_wal_replay_lsn(); ${read()}`],
    ['save on the primary', writer, save, () => `begin; ${save()}; commit; select pg_current_wal_flush_lsn()`],
  ] as const
  for (const [name, client, plain, positioned] of pairs) {
    const times: [number[], number[]] = [[], []]
    for (let round = 0; round < 2 * rounds; round++) {
      const began = performance.now()
      await client.query((round % 2 ? positioned : plain)())
      times[round % 2 ? 1 : 0].push(performance.now() - began)
    }
    const [without, withIt] = times.map(median) as [number, number]
    console.log(`${name}: p50 ${ms(without)} ms, with its position ${ms(withIt)} ms: ${(withIt / without).toFixed(2)}`)
  }

  for (const writers of [0, 16]) {
    let isOver = false
    const busy = Array.from({ length: writers }, async () => {
      const client = await open(primary.url)
      while (!isOver) await client.query(save())
      await client.end()
    })
    const late: number[] = []
    let behind = 0
    let early = 0
    for (let round = 0; round < rounds / 4; round++) {
      // A position before the commit, and one after it.
      const answers = (await writer.query(
        `begin; ${save()}; select pg_current_wal_insert_lsn() as at; commit; select pg_current_wal_flush_lsn() as at`,
      )) as unknown as { rows: { at: string }[] }[]
      const [within, after] = [answers[2]?.rows[0]?.at, answers[4]?.rows[0]?.at]
      const began = performance.now()
      let asked = 0
      for (;;) {
        const { rows } = await reader.query(
          'select pg_last_wal_replay_lsn() >= $1::pg_lsn as is_there, pg_last_wal_replay_lsn() >= $2::pg_lsn as is_within',
          [after, within],
        )
        if (asked++ === 0) {
          if (!rows[0]?.is_there) behind++
          if (rows[0]?.is_within && !rows[0]?.is_there) early++
        }
        if (rows[0]?.is_there) break
        if (performance.now() - began > 10_000) throw new Error('The standby does not come after.')
      }
      late.push(performance.now() - began)
    }
    isOver = true
    await Promise.all(busy)
    console.log(
      `${writers} writers beside: of ${late.length} reads right after a save ${((100 * behind) / late.length).toFixed(1)} % find the standby behind; ` +
        `it is there after p50 ${ms(median(late))}, p99 ${ms(p99(late))} ms; ` +
        `${((100 * early) / late.length).toFixed(1)} % would have been believed by the position inside the transaction`,
    )
  }
  await Promise.all([writer.end(), reader.end()])
} finally {
  await standby.remove()
  await primary.remove()
}

async function open(connectionString: string) {
  const client = new pg.Client({ connectionString })
  await client.connect()
  return client
}
