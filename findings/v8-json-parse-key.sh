#!/bin/sh
# Node 24.21.0 (V8 13.6) and 26.10.0 (V8 14.6), and Deno 2.9.6 (V8 15.0) beside Node 22.23.3 (V8 12.4): npm's packages node and deno.
#
# Expected: JSON.parse reads a text the same whatever was parsed before.
# Seen: it does not. After an object with a key that ends in a backslash, an object with the same keys before it, and there a key that ends
# in a quotation mark, gets the former's key: {"a":1,"\"":2} comes out as {"a":1,"\\":2}. There is no error, and JSON.stringify of what was
# read differs from the text that was read. Node 22 is right.
#
# Prints the second key of that object, and fails if that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund node-22@npm:node@22.23.3 node-24@npm:node@24.21.0 node-26@npm:node@26.10.0 deno@2.9.6
cat > run.mjs <<'SCRIPT'
JSON.parse(String.raw`{"a":1,"\\":2}`)
console.log(Object.keys(JSON.parse(String.raw`{"a":1,"\"":2}`))[1])
SCRIPT
status=0
check() {
  expected=$1
  shift
  seen=$("$@" run.mjs)
  printf '%s: %s\n' "$1" "$seen"
  [ "$seen" = "$expected" ] || { printf 'expected: %s\n' "$expected"; status=1; }
}
check '"' node_modules/node-22/bin/node
check '\' node_modules/node-24/bin/node
check '\' node_modules/node-26/bin/node
check '\' node_modules/.bin/deno run --allow-all
exit $status
