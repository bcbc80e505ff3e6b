// A server whose clock is off, and whose key is a newer one, so that it re-signs the cookie: `late.ts MINUTES COOKIE` saves that
// session and prints the Set-Cookie line.
import { PGStore } from '../../src/index.ts'

const [minutes = '0', cookie = ''] = process.argv.slice(2)
const { now } = Date
const off = Number(minutes) * 60_000
Date.now = () => now() + off
globalThis.Date = class extends Date {
  constructor(...values: []) {
    if (values.length > 0) super(...values)
    else super(now() + off)
  }
} as DateConstructor

const store = new PGStore({
  connectionString: process.env['PGSTORE_TEST_DATABASE_URL'],
  keys: ['a newer hash key, of 32 bytes....', 'an example hash key of 32 bytes!'],
})
const req = { headers: { cookie } }
const headers = new Headers()
const session = await store.get(req, 'sid')
if (session.isNew) throw new Error('The cookie was not taken.')
session.values['minutes'] = minutes
await store.save(req, headers, session)
console.log(headers.getSetCookie().join('\n'))
await store.close()
