// What reads would save that send the version which is known and get the data only where it is another: `npx tsx bench/validated.ts`.
// An upper bound, as every session is unchanged; the figures are in docs/performance.md.
import { randomBytes } from 'node:crypto'
import { median, perOperation } from './measure.ts'
import { openPool, openPostgres } from './systems/servers.ts'
import { exampleValues, pgstore, sessionCount } from './systems/systems.ts'

const [atOnce, rounds, roundMs] = [64, 24, 1000]

const forms = {
  whole: 'select key, id, user_id, data::text, version, label, tags from pgstore.session_get($1::bytea[])',
  validated: 'select key, version from pgstore.session_get($1::bytea[])',
} as const
type Form = keyof typeof forms

const postgres = await openPostgres()
const pool = openPool(postgres.url, 1)
try {
  await pgstore.migrate(pool)
  const keys = Array.from({ length: sessionCount }, () => randomBytes(32))
  for (const [index, key] of keys.entries()) {
    await pool.query('select from pgstore.session_save($1, $2, p_version => 0)', [key, exampleValues(index)])
  }
  const times: Record<Form, { server: number[]; client: number[] }> = {
    whole: { server: [], client: [] },
    validated: { server: [], client: [] },
  }
  const read = async (form: Form): Promise<void> => {
    const [server, client, until] = [postgres.cpu(), process.cpuUsage(), performance.now() + roundMs]
    let sessions = 0
    for (; performance.now() < until; sessions += atOnce) {
      const from = Math.floor(Math.random() * (sessionCount - atOnce))
      const values = [keys.slice(from, from + atOnce)]
      const { rows } = await pool.query<string[]>({ name: form, text: forms[form], values, rowMode: 'array' })
      if (form === 'whole') for (const row of rows) JSON.parse(row[3] as string)
    }
    const { user, system } = process.cpuUsage(client)
    times[form].client.push((user + system) / sessions)
    times[form].server.push(perOperation(server, postgres.cpu(), sessions) ?? Number.NaN)
  }
  for (let round = 0; round < rounds; round++) {
    for (const form of round % 2 ? (['whole', 'validated'] as const) : (['validated', 'whole'] as const))
      await read(form)
  }
  for (const [form, { server, client }] of Object.entries(times)) {
    console.log(`${form}: server ${median(server).toFixed(1)} µs, client ${median(client).toFixed(1)} µs a session`)
  }
} finally {
  await pool.end()
  await postgres.stop()
}
