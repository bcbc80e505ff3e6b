#!/bin/sh
# express-session 1.19.0, Node 20.
#
# Expected: a cookie that is made with maxAge 60000 has originalMaxAge 60000.
# Seen: 59999, or less, now and then. The maximum age is put down as the difference between an expiry that was counted from the clock and the
# clock, looked at a second time; where a millisecond ends in between, it is lost. It is stored with the session, and read and set
# again at each visit, so that it can only shrink; a store that compares what it saves sees a change where there was none.
#
# Makes cookies for up to ten seconds, prints the values seen, and fails if all are 60000.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund express-session@1.19.0
cat > run.mjs <<'SCRIPT'
import session from 'express-session'

const seen = new Set()
const end = performance.now() + 10_000
while (seen.size < 2 && performance.now() < end) {
  for (let n = 0; n < 1000; n++) seen.add(new session.Cookie({ maxAge: 60_000 }).originalMaxAge)
}
console.log(`originalMaxAge of new cookies: ${[...seen].join(', ')}`)
process.exitCode = seen.has(60_000) && Math.min(...seen) < 60_000 && Math.max(...seen) === 60_000 ? 0 : 1
SCRIPT
node run.mjs
