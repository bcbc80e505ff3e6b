// For comparison: a store that does what most stores do. A session is one value: a request reads it, and writes all of it back.
import type { PGStore } from 'pgstore'

const ttl = 1800

export class OverwritingStore {
  readonly #store: PGStore<object>

  constructor(store: PGStore<object>) {
    this.#store = store
  }

  async get(id: string): Promise<Record<string, unknown> | undefined> {
    return (await this.#store.byToken.get(tokenOf(id)))?.values()
  }

  /** Puts these values there, whatever was there before: even if nothing was, any more. */
  async set(id: string, values: object): Promise<void> {
    await this.#store.byToken.put(tokenOf(id), values, { ttl })
  }

  async destroy(id: string): Promise<void> {
    await this.#store.byToken.destroy(tokenOf(id))
  }
}

/** The copy of this session. Anyone can guess this text, but no cookie is ever signed for it. */
function tokenOf(id: string): string {
  return `overwriting copy of ${id}`
}
