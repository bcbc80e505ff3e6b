// The keys that sign and encrypt: what a key is, and what is wrong with one.

/** Key material: a string stands for its UTF-8 bytes. */
export type Key = string | Uint8Array

export function keyBytes(key: Key): Buffer {
  return typeof key === 'string' ? Buffer.from(key, 'utf8') : Buffer.from(key)
}

/** The hash keys among `keyPairs`, in their order. */
export function hashKeys(keyPairs: readonly (Key | null | undefined)[]): Uint8Array[] {
  return keyPairs.flatMap((key, index) => (index % 2 === 0 && key ? keyBytes(key) : []))
}

/** @param hash the prefix of a problem with the hash key, `block` with the block key: which of several it is */
export function keyProblems(hashKey: Key | null | undefined, blockKey: Key | null, hash = '', block = ''): string[] {
  const problems = hashKeyProblems(hashKey, hash)
  if (blockKey === null) return problems
  if (!isKey(blockKey)) problems.push(`${block}a block key must be a Uint8Array, a string or null`)
  else if (![16, 24, 32].includes(keyBytes(blockKey).length)) {
    problems.push(`${block}a block key must have 16, 24 or 32 bytes, this one has ${keyBytes(blockKey).length}`)
  }
  return problems
}

export function hashKeyProblems(key: Key | null | undefined, prefix = ''): string[] {
  if (key === null || key === undefined) return [`${prefix}a hash key is missing`]
  if (!isKey(key)) return [`${prefix}a hash key must be a Uint8Array or a string`]
  const { length } = keyBytes(key)
  return length < 32 ? [`${prefix}a hash key must have at least 32 bytes, this one has ${length}`] : []
}

function isKey(key: unknown): key is Key {
  return typeof key === 'string' || key instanceof Uint8Array
}
