// JSON.parse without a bug of V8: Node 24 and 26, and Deno, may read a key written with an escape as a different key, one that an
// earlier object of the same shape had in its place (findings/v8-json-parse-key.sh). So keys with escapes get plain names before
// parsing, and are renamed afterwards.

export function readJson(text: string): unknown {
  if (!text.includes('\\')) return JSON.parse(text)
  const keys = new Map<string, string>()
  const prefix = unused(text)
  let plain = ''
  let from = 0
  for (const [start, end] of escapedKeys(text)) {
    const name = `${prefix}${keys.size}`
    keys.set(name, JSON.parse(text.slice(start, end)))
    plain += `${text.slice(from, start)}"${name}"`
    from = end
  }
  return keys.size === 0 ? JSON.parse(text) : rename(JSON.parse(plain + text.slice(from)), keys)
}

/** Where keys with an escape begin and end, including their quotation marks. Linear: no character is searched for twice. */
function* escapedKeys(text: string): Generator<readonly [start: number, end: number]> {
  const next = (character: string, found: number, from: number) =>
    found >= from || found < 0 ? found : text.indexOf(character, from)
  let slash = 0
  let quote = 0
  for (let start = text.indexOf('"'); start >= 0; start = text.indexOf('"', quote + 1)) {
    let at = start + 1
    let isEscaped = false
    for (;;) {
      quote = next('"', quote, at)
      slash = next('\\', slash, at)
      if (quote < 0) return // not JSON: JSON.parse will say so
      if (slash < 0 || slash > quote) break
      isEscaped = true
      at = slash + 2
    }
    if (!isEscaped) continue
    let after = quote + 1
    while (' \n\r\t'.includes(text[after] ?? '-')) after++
    if (text[after] === ':') yield [start, quote + 1]
  }
}

function unused(text: string): string {
  let prefix = 'k'
  while (text.includes(prefix)) prefix += 'k'
  return prefix
}

/** A loop, not a recursion: SQL may have stored a value thousands of levels deep. */
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
