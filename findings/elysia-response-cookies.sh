#!/bin/sh
# Elysia 1.4.30, Node 20.
#
# Expected: the cookies of context.cookie are sent whatever the handler returns, and so is the Set-Cookie of a Response.
# Seen: beside a Response with a Set-Cookie of its own, one cookie of the context is sent, and of two or more none, without an error. A
# session's cookie is lost on the day when a second cookie is set.
#
# Prints the cookies that arrive, and fails if those of the last handler are complete.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund elysia@1.4.30
cat > run.mjs <<'SCRIPT'
import { Elysia } from 'elysia'

const own = () => new Response('', { headers: { 'set-cookie': 'own=1' } })
const app = new Elysia()
  .get('/two', ({ cookie: { a, b } }) => {
    a.value = '1'
    b.value = '2'
    return new Response('')
  })
  .get('/own-and-one', ({ cookie: { a } }) => {
    a.value = '1'
    return own()
  })
  .get('/own-and-two', ({ cookie: { a, b } }) => {
    a.value = '1'
    b.value = '2'
    return own()
  })
const names = []
for (const path of ['/two', '/own-and-one', '/own-and-two']) {
  const response = await app.handle(new Request(`http://localhost${path}`))
  names.push(response.headers.getSetCookie().map((line) => line.split('=')[0]).join(' '))
  console.log(`${path}: ${names.at(-1)}`)
}
process.exitCode = names.join() === 'a b,own a,own' ? 0 : 1
SCRIPT
node run.mjs
