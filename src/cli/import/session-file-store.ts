// session-file-store: a folder with a file sid + ".json" for each session, JSON with the time of its last use among the values.
import fs from 'node:fs/promises'
import path from 'node:path'
import { PGStoreError } from '../../errors.ts'
import {
  batchSize,
  foundExpressSession,
  type Item,
  mostBytes,
  readExpressSession,
  type Source,
  unreadable,
} from './source.ts'

const extension = '.json'

/** @param ttlSeconds its option `ttl`, for a session whose cookie has no maxAge */
export function sessionFileStore(folder: string, ttlSeconds: number): Source {
  const files = async () => {
    try {
      return (await fs.readdir(folder)).filter((name) => name.endsWith(extension))
    } catch (error) {
      throw fileError('the folder of sessions', error)
    }
  }
  return {
    total: async () => (await files()).length,
    async *batches() {
      const names = await files()
      for (let from = 0; from < names.length; from += batchSize) {
        const items: Item[] = []
        for (const name of names.slice(from, from + batchSize)) items.push(await read(name))
        yield items
      }
    },
    close: () => Promise.resolve(),
  }

  async function read(name: string): Promise<Item> {
    const file = path.join(folder, name)
    try {
      const { size } = await fs.stat(file)
      if (size > mostBytes) return { as: 'tooLarge' }
      return item(name.slice(0, -extension.length), await fs.readFile(file, 'utf8'))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { as: 'expired' } // it ended meanwhile
      throw fileError('a session', error)
    }
  }

  /** As the store counts: from the last use, for the cookie's maxAge or else its own ttl. */
  function item(sid: string, text: string): Item {
    const session = readExpressSession(sid, text)
    if (!session) return unreadable('not a JSON object')
    const { __lastAccess: used, ...values } = session
    if (typeof used !== 'number') return unreadable('no time of its last use, or encrypted')
    const { originalMaxAge } = (values['cookie'] ?? {}) as { originalMaxAge?: unknown }
    const life = typeof originalMaxAge === 'number' && originalMaxAge !== 0 ? originalMaxAge : ttlSeconds * 1000
    return foundExpressSession(sid, values, (used + life - Date.now()) / 1000)
  }
}

/** Without the path, which has the session's id. */
function fileError(what: string, error: unknown): PGStoreError {
  return new PGStoreError('unavailable', `Cannot read ${what}: ${(error as NodeJS.ErrnoException).code}.`)
}
