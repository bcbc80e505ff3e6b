#!/bin/sh
# connect-session-knex 5.0.0 with knex 3.1.0, pg 8.16.3 and express-session 1.19.0, Node 20.
#
# Expected, as of every store of express-session: where the database cannot be reached, get, set and destroy call back with the error.
# Seen: they do, and then reject with it as well. express-session takes no promise from a store, so that each such request leaves an
# unhandled rejection, which ends a Node process that has no handler for it (in 1.x and 2.x there was one in the cleanup; its tracker
# says that 3.0.0 ended it). touch rejects and never calls back. Whoever moves from it to a store that only calls back, as ours does,
# can drop the handler that kept the process alive.
#
# Prints what was called back and what was rejected, and fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund connect-session-knex@5.0.0 knex@3.1.0 pg@8.16.3 express-session@1.19.0
cat > run.cjs <<'SCRIPT'
const { knex } = require('knex')
const { ConnectSessionKnexStore } = require('connect-session-knex')

const unhandled = []
process.on('unhandledRejection', (error) => unhandled.push(error))
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function main() {
  const database = knex({ client: 'pg', connection: 'postgres://nobody@127.0.0.1:1/none' })
  const store = new ConnectSessionKnexStore({ knex: database, cleanupInterval: 0 })
  await wait(1000)
  unhandled.length = 0 // of its look for the table
  const cookie = { maxAge: 60_000, expires: new Date(Date.now() + 60_000) }
  const seen = {}
  for (const [name, given] of Object.entries({ get: [], set: [{ cookie }], touch: [{ cookie }], destroy: [] })) {
    const calledBack = []
    const before = unhandled.length
    store[name]('sid', ...given, (error) => calledBack.push(error ? 'an error' : 'success')) // as express-session calls it
    await wait(1000)
    seen[name] = { calledBack, unhandled: unhandled.length - before }
    console.log(name, JSON.stringify(seen[name]))
  }
  const told = { calledBack: ['an error'], unhandled: 1 }
  const expected = { get: told, set: told, touch: { calledBack: [], unhandled: 1 }, destroy: told }
  process.exit(JSON.stringify(seen) === JSON.stringify(expected) ? 0 : 1)
}

main()
SCRIPT
node run.cjs
