#!/bin/sh
# unstorage 1.17.6, Node 20.
#
# Expected: with one driver at the root, clear('cart') removes the items under 'cart'.
# Seen: nothing is removed, and no error is raised: only what is mounted at the base or below it is cleared, so that a driver at the root
# never is, but by clear() itself. A sign-out that clears what begins with a user's name leaves everything where it was.
#
# Prints the keys before and after, and fails if the items under the base are gone.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund unstorage@1.17.6
cat > run.mjs <<'SCRIPT'
import { createStorage } from 'unstorage'
import memory from 'unstorage/drivers/memory'

const storage = createStorage({ driver: memory() })
storage.mount('mounted', memory())
for (const key of ['cart:1', 'cart:2', 'other:1', 'mounted:1']) await storage.setItem(key, 'x')
console.log(`before: ${(await storage.getKeys()).sort().join(', ')}`)
await storage.clear('cart')
await storage.clear('mounted')
const after = (await storage.getKeys()).sort()
console.log(`after clear('cart') and clear('mounted'): ${after.join(', ')}`)
process.exitCode = after.join() === 'cart:1,cart:2,other:1' ? 0 : 1
SCRIPT
node run.mjs
