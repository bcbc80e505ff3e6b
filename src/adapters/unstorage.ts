// A driver for unstorage: Nitro's storage, Astro's sessions.
import { randomBytes } from 'node:crypto'
import { PGStoreError } from '../errors.ts'
import type { PGStoreOptions } from '../options.ts'
import { PGStore } from '../store.ts'

export interface PGStoreDriverOptions extends Omit<PGStoreOptions, 'seal' | 'sessionsPerUser'> {
  /** A store that you open and close, without `sessionsPerUser` or `seal`; the other options are then not used. Default: one is opened at the first call. */
  readonly store?: PGStore | undefined
  /** Whether a store that is opened here installs or upgrades the schema. Default: true. */
  readonly migrate?: boolean | undefined
  /** Which items these are: drivers with another base neither see nor clear them. Default: 'unstorage'. */
  readonly base?: string | undefined
  /** Seconds that an item lives after it is set, if `setItem` says nothing else. Default: 315,360,000 (ten years). */
  readonly ttl?: number | undefined
}

/** What unstorage asks of a driver. */
export interface PGStoreDriver {
  readonly name: string
  readonly options: PGStoreDriverOptions
  hasItem(key: string): Promise<boolean>
  getItem(key: string): Promise<string | null>
  setItem(key: string, value: string, options?: { readonly ttl?: number }): Promise<void>
  removeItem(key: string): Promise<void>
  getKeys(): Promise<string[]>
  clear(base?: string): Promise<void>
  dispose(): Promise<void>
}

/**
 * A driver whose items are sessions by key, each call one round trip. Reading and writing need the right *client*, `getKeys` and
 * `clear` *account*. Without `store` and a connection it takes DATABASE_URL; `maxLength` and `lifetime` have no limit then.
 */
export function pgstoreDriver(options: PGStoreDriverOptions = {}): PGStoreDriver {
  const { store: given, base = 'unstorage', ttl = 3650 * 86400, ...rest } = options
  const connection = rest.pool || rest.connectionString ? {} : { connectionString: process.env['DATABASE_URL'] }
  let opening: Promise<PGStore> | undefined
  const open = async () => {
    if (given) return given
    opening ??= PGStore.open({ keys: [randomBytes(32)], maxLength: 0, lifetime: null, ...connection, ...rest })
    return await opening.catch((error) => {
      opening = undefined // the next call tries again
      throw error
    })
  }
  const owner = `unstorage:${base}`
  const get = async (key: string) => (await (await open()).byToken.get(`${owner}:${key}`))?.values()['value']
  const remove = async (key: string) => void (await (await open()).byToken.destroy(`${owner}:${key}`))
  const keys = async () => {
    const items = await (await open()).list(owner, { data: true })
    if (items.some(({ values }) => typeof values['key'] !== 'string'))
      throw new PGStoreError('sealed', 'The keys of sealed items cannot be listed.')
    return items.map(({ values }) => String(values['key']))
  }
  return {
    name: 'pgstore',
    options,
    hasItem: async (key) => (await get(key)) !== undefined,
    getItem: async (key) => ((await get(key)) as string | undefined) ?? null,
    setItem: async (key, value, { ttl: own = ttl } = {}) =>
      await (await open()).byToken.put(`${owner}:${key}`, { key, value }, { ttl: own, userId: owner }),
    removeItem: remove,
    getKeys: keys,
    async clear(part = '') {
      if (part === '') await (await open()).revoke(owner)
      else await Promise.all((await keys()).filter((key) => key.startsWith(part)).map(remove))
    },
    dispose: async () => await (await opening)?.close(),
  }
}

// biome-ignore lint/style/noDefaultExport: unstorage, Nitro and Astro import a driver by its module's default
export default (options?: PGStoreDriverOptions): PGStoreDriver => pgstoreDriver(options)
