#!/bin/sh
# Bun 1.4.5 and Deno 2.9.6 beside Node 24.21.0 (npm's packages bun, deno and node), node:http in each.
#
# Expected: what is written to a response after cork() leaves when it is uncorked or ended, as node's documentation of streams says.
# Seen: on Bun it leaves at once, whether the response is corked or its socket; there is no error, and `cork` is there to call. On
# Node and Deno it waits.
#
# Prints which it was, and fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund bun@1.4.5 deno@2.9.6 node-24@npm:node@24.21.0
cat > run.mjs <<'SCRIPT'
import http from 'node:http'
import net from 'node:net'

const outcome = (corked) =>
  new Promise((resolve) => {
    let isUncorked = false
    const server = http.createServer((_req, res) => {
      const target = corked === 'socket' ? res.socket : res
      target.cork()
      res.writeHead(302, { location: '/next', 'content-length': 4 })
      res.write('pag')
      setTimeout(() => {
        isUncorked = true
        target.uncork()
        res.end('e')
      }, 300)
    })
    server.listen(0, '127.0.0.1', () => {
      const socket = net.connect(server.address().port, '127.0.0.1')
      socket.once('data', () => {
        resolve(isUncorked ? 'waits' : 'leaves')
        socket.destroy()
        server.close()
      })
      socket.write('GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n')
    })
  })
console.log(`response ${await outcome('response')}, socket ${await outcome('socket')}`)
process.exit(0)
SCRIPT
status=0
check() {
  expected=$1
  shift
  seen=$(timeout 20 "$@" run.mjs)
  printf '%s: %s\n' "$1" "$seen"
  [ "$seen" = "$expected" ] || { printf 'expected: %s\n' "$expected"; status=1; }
}
check 'response waits, socket waits' node_modules/node-24/bin/node
check 'response leaves, socket leaves' node_modules/.bin/bun
check 'response waits, socket waits' node_modules/.bin/deno run --allow-all
exit $status
