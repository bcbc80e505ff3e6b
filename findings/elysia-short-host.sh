#!/bin/sh
# Elysia 1.4.30, Node 20.
#
# Expected: a route answers whatever the host of the request's URL is called.
# Seen: where the host has three letters or fewer and the port is the scheme's own, every route is 404: the path is looked for from
# the twelfth character of the URL on. Services of a compose file are often called api or web, and a health check that calls
# one by that name at port 80 gets 404, while localhost and IP addresses answer.
#
# Prints the status for hosts of several lengths, and fails if the short ones answer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund elysia@1.4.30
cat > run.mjs <<'SCRIPT'
import { Elysia } from 'elysia'

const app = new Elysia().get('/', () => 'root').get('/item/:id', ({ params }) => params.id)
const seen = []
for (const host of ['a', 'api', 'apis', 'api:8080', 'localhost']) {
  const statuses = []
  for (const path of ['/', '/item/1']) statuses.push((await app.handle(new Request(`http://${host}${path}`))).status)
  console.log(`http://${host}: / ${statuses[0]}, /item/1 ${statuses[1]}`)
  seen.push(...statuses)
}
process.exitCode = seen.join() === '404,404,404,404,200,200,200,200,200,200' ? 0 : 1
SCRIPT
node run.mjs
