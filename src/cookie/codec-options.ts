// The options from which a store's codecs are created.
import { PGStoreError } from '../errors.ts'
import { type Codec, codecsFromKeys, codecsFromPairs } from './codec.ts'
import { hashKeys, type Key } from './keys.ts'

export interface CodecOptions {
  readonly keys?: readonly (Key | undefined)[] | undefined
  readonly keyPairs?: readonly (Key | null | undefined)[] | undefined
  readonly codecs?: readonly Codec[] | undefined
}

/** Adds to `problems` what is wrong with them. */
export function parseCodecs({ keys, keyPairs, codecs }: CodecOptions, problems: string[]): readonly Codec[] {
  if ([keys, keyPairs, codecs].filter((given) => given !== undefined).length !== 1) {
    problems.push('give exactly one of keys, keyPairs and codecs')
    return []
  }
  if (codecs !== undefined) {
    const isCodec = (codec: Codec) => typeof codec?.encode === 'function' && typeof codec?.decode === 'function'
    if (!Array.isArray(codecs) || codecs.length === 0 || !codecs.every(isCodec)) {
      problems.push('codecs must be a list of at least one object with encode and decode')
    }
    return codecs
  }
  if (!Array.isArray(keys ?? keyPairs)) {
    problems.push(`${keys === undefined ? 'keyPairs' : 'keys'} must be a list`)
    return []
  }
  try {
    return keys ? codecsFromKeys(...keys) : codecsFromPairs(...(keyPairs ?? []))
  } catch (error) {
    if (!(error instanceof PGStoreError)) throw error
    problems.push(error.message.replace(/\.$/, ''))
    return []
  }
}

/** What the keys of sealed values are derived from. */
export function sealSecrets({ keys, keyPairs = [] }: CodecOptions): Uint8Array[] {
  return hashKeys(keys ? keys.flatMap((key) => [key, null]) : keyPairs)
}
