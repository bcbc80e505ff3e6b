// What a store in this process decides about visitors, given as the cookies of one a line in a file: is the session there, is it
// touched, and which cookie is set. The clock of this process may be wrong: see the test.
import fs from 'node:fs'
import { PGStore } from '../../src/index.ts'
import { hashKey, TestResponse } from '../support/harness.ts'

const [, , connectionString, file = ''] = process.argv
const store = new PGStore({ connectionString, keyPairs: [hashKey] })
for (const cookie of fs.readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
  const req = { headers: { cookie } }
  const res = new TestResponse()
  const session = await store.get(req, 'sid')
  const isLive = !session.isNew
  await store.save(req, res, session)
  // The cookie's value begins with the time at which it was signed, which is this clock's and decides nothing.
  console.log(JSON.stringify({ isLive, cookies: res.cookies.map((text) => text.replace(/=[^;]*/, '=')) }))
}
await store.close()
console.log(`clock ${Date.now()}`)
