#!/bin/sh
# Bun 1.4.5.
#
# Expected: a tracing channel of node:diagnostics_channel says by hasSubscribers whether anybody listens, as in Node 20.13 and later.
# Seen: it has no such property, before somebody subscribes and after, while each of its five channels has. Code that asks the tracing
# channel, to spend nothing where nobody listens, never tells anybody anything.
#
# Prints both properties before and after a subscription, and fails if the tracing channel's is there.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund bun@1.4.5
cat > run.mjs <<'SCRIPT'
import { tracingChannel } from 'node:diagnostics_channel'

const traced = tracingChannel('example')
const seen = []
const look = (when) => {
  seen.push(traced.hasSubscribers, traced.start.hasSubscribers)
  console.log(`${when}: the tracing channel ${traced.hasSubscribers}, its channel start ${traced.start.hasSubscribers}`)
}
look('before')
traced.subscribe({ start() {}, end() {}, asyncStart() {}, asyncEnd() {}, error() {} })
look('after')
process.exitCode = seen.join() === ',false,,true' ? 0 : 1
SCRIPT
node_modules/.bin/bun run.mjs
