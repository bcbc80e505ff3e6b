// A process that consumes endings, to be killed in the middle: `plain` prints the sessions that it is done with, `transaction` writes
// them to a table in the transaction that it is handed.
import pg from 'pg'
import { PGStore } from '../../src/index.ts'

const [, , connectionString = '', consumer = '', kind = '', pause = '0'] = process.argv
const work = async () => await new Promise((resolve) => setTimeout(resolve, Number(pause)))
const pool = new pg.Pool({ connectionString })
const store = new PGStore({ pool, keys: ['an example hash key of 32 bytes!'] })

if (kind === 'plain') {
  for await (const { sessionId } of store.endings({ consumer, lease: 1, poll: 0.1 })) {
    await work()
    console.log(sessionId)
  }
} else {
  for await (const { sessionId, client } of store.endings({ consumer, transaction: true, poll: 0.1 })) {
    await client.query('insert into public.handled (consumer, session_id) values ($1, $2)', [consumer, sessionId])
    await work()
    console.log(sessionId)
  }
}
