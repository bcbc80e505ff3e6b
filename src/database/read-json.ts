// JSON text, parsed past a fault of V8: Node 24 and 26, and Deno, may read a key that is written with an escape as another one, which
// an object of the same shape had at its place before (findings/v8-json-parse-key.sh). So no key is parsed as it is written where that
// takes an escape: it gets a plain name, and its own again afterwards.

const strings = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?/g

export function readJson(text: string): unknown {
  if (!text.includes('\\')) return JSON.parse(text)
  const keys = new Map<string, string>()
  const prefix = unused(text)
  const plain = text.replaceAll(strings, (token, colon?: string) => {
    if (colon === undefined || !token.includes('\\')) return token
    const name = `${prefix}${keys.size}`
    keys.set(name, JSON.parse(token.slice(0, -colon.length)))
    return `"${name}":`
  })
  if (keys.size === 0) return JSON.parse(text)
  return rename(JSON.parse(plain), keys)
}

function unused(text: string): string {
  let prefix = 'k'
  while (text.includes(prefix)) prefix += 'k'
  return prefix
}

/** A loop, not a recursion: SQL may have stored what is thousands of levels deep. */
function rename(parsed: object, keys: ReadonlyMap<string, string>): unknown {
  const whole = [parsed]
  const holders: object[] = [whole]
  for (let holder = holders.pop(); holder; holder = holders.pop()) {
    for (const [name, value] of Object.entries(holder)) {
      const key = keys.get(name)
      if (key !== undefined) {
        delete (holder as Record<string, unknown>)[name]
        Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
      }
      if (typeof value === 'object' && value !== null) holders.push(value)
    }
  }
  return whole[0]
}
