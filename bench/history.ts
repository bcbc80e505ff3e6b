// What the history costs, on and off, by runs that alternate on one connection: `npx tsx bench/history.ts [rounds]`. It counts the
// time on the processor of the server process (Linux), which other programs disturb less than the time that passes.
import fs from 'node:fs'
import pg from 'pg'
import { startPostgres } from '../scripts/postgres.ts'
import { migrate } from '../src/index.ts'

const rounds = Number(process.argv[2] ?? 15)
const calls = 1000

const server = await startPostgres()
const pool = new pg.Pool({ connectionString: server.url(), max: 1 })
pool.on('error', () => {})
try {
  await migrate(pool)
  await pool.query('set synchronous_commit = off')
  const key = (what: string) => `sha256(('${what}' || $1::text)::bytea)`
  const create = async () => {
    await pool.query('truncate pgstore.sessions, pgstore.history, pgstore.ending_deliveries')
    const text = `select count(pgstore.session_save(${key('0-')}, '{"cart": [1, 2, 3]}', p_version => 0, p_user_id => 'user ' || $1)) from generate_series(1, ${calls}) as g (n)`
    await pool.query(text.replaceAll('$1', 'g.n'))
  }
  const works: Readonly<Record<string, string>> = {
    regenerate: `select pgstore.session_regenerate(${key('0-')}, ${key('1-')})`,
    'sign-in': `select pgstore.session_regenerate(${key('0-')}, ${key('1-')}, p_user_id => 'ada')`,
    'save of data': `select pgstore.session_save(${key('0-')}, '{"a": 1}')`,
    read: `select pgstore.session_get(${key('0-')})`,
    end: `select pgstore.session_destroy(${key('0-')})`,
  }
  const { rows } = await pool.query('select pg_backend_pid() as pid')
  const cpuMs = () => {
    const [user, system] =
      fs.readFileSync(`/proc/${rows[0].pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11, 13) ?? []
    return (Number(user) + Number(system)) * 10 // ticks of 10 ms
  }
  console.log('| one call | off | on | on / off |\n|---|---|---|---|')
  for (const [name, text] of Object.entries(works)) {
    const times = { off: 0, on: 0 }
    for (let round = 0; round < rounds * 2; round++) {
      // Which of the two comes first alternates too.
      const which = (round + (round >> 1)) % 2 === 0 ? 'off' : 'on'
      await create()
      await pool.query(`select pgstore.audit_set(${which === 'on'})`)
      const before = cpuMs()
      for (let n = 1; n <= calls; n++) await pool.query({ name: `${name}`, text, values: [n] })
      times[which] += ((cpuMs() - before) * 1000) / calls / rounds
    }
    const { off, on } = times
    console.log(`| ${name} | ${off.toFixed(0)} µs | ${on.toFixed(0)} µs | ${(on / off).toFixed(2)} |`)
  }
} finally {
  await pool.end()
  await server.stop()
}
