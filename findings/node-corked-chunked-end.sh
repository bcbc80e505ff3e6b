#!/bin/sh
# Node 22.23.3, 24.21.0 and 26.10.0 (npm's package node).
#
# Expected: what is written to a response between cork() and end() leaves in the order in which it was written; cork() only gathers
# packets.
# Seen: on Node 22 and 24, where the headers of a chunked response have left already, the empty chunk that ends the body is sent before
# the chunk that was written while it was corked. A client takes the body for complete without it, and what follows for the beginning
# of the next response. On Node 20 and 26 the order is right.
#
# Prints the body as it came over the connection, and fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund node-22@npm:node@22.23.3 node-24@npm:node@24.21.0 node-26@npm:node@26.10.0
cat > run.mjs <<'SCRIPT'
import http from 'node:http'
import net from 'node:net'

const server = http.createServer((_req, res) => {
  res.write('first')
  setTimeout(() => {
    res.cork()
    res.write('page')
    res.end()
  }, 50)
})
server.listen(0, '127.0.0.1', () => {
  const socket = net.connect(server.address().port, '127.0.0.1')
  let answer = ''
  socket.on('data', (data) => {
    answer += data
  })
  socket.on('close', () => {
    console.log(JSON.stringify(answer.slice(answer.indexOf('\r\n\r\n') + 4)))
    server.close()
  })
  socket.write('GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n')
})
SCRIPT
status=0
check() {
  seen=$(timeout 20 "node_modules/node-$1/bin/node" run.mjs)
  printf 'Node %s: %s\n' "$1" "$seen"
  [ "$seen" = "$2" ] || { printf 'expected: %s\n' "$2"; status=1; }
}
check 22 '"5\r\nfirst\r\n0\r\n\r\n4\r\npage\r\n"'
check 24 '"5\r\nfirst\r\n0\r\n\r\n4\r\npage\r\n"'
check 26 '"5\r\nfirst\r\n4\r\npage\r\n0\r\n\r\n"'
exit $status
