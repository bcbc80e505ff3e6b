// connect-redis: a key "sess:" + sid for each session, whose value is JSON text, and Redis' own expiry.
import { PGStoreError } from '../../errors.ts'
import {
  batchSize,
  cookieSeconds,
  foundExpressSession,
  type Item,
  mostBytes,
  readExpressSession,
  type Source,
  unreadable,
} from './source.ts'

/** What this uses of the package `redis`, from version 4 on. */
interface RedisClient {
  connect(): Promise<unknown>
  sendCommand(command: string[]): Promise<unknown>
  on(event: 'error', listener: (error: unknown) => void): unknown
  destroy?(): void
  disconnect?(): Promise<void>
}

/** @throws {PGStoreError} `invalid_option` without the package `redis` or for what is not a Redis URL; `unavailable` */
export async function connectRedis(url: string, prefix = 'sess:'): Promise<Source> {
  const client = await connect(url)
  const send = async (...command: string[]) => {
    try {
      return await client.sendCommand(command)
    } catch (error) {
      throw redisError(error)
    }
  }
  const read = async (key: string): Promise<Item> => {
    const ifText = (error: PGStoreError) => {
      if (error.message.includes('WRONGTYPE')) return undefined
      throw error
    }
    const [text, length, milliseconds] = await Promise.all([
      send('GETRANGE', key, '0', String(mostBytes)).catch(ifText),
      send('STRLEN', key).catch(ifText),
      send('PTTL', key),
    ])
    if (text === undefined) return unreadable('not a JSON object')
    return item(key.slice(prefix.length), text as string, Number(length), Number(milliseconds))
  }
  return {
    total: async () => Number(await send('DBSIZE')),
    async *batches() {
      const pattern = `${prefix.replaceAll(/[\\*?[\]]/g, '\\$&')}*`
      let cursor = '0'
      do {
        const reply = await send('SCAN', cursor, 'MATCH', pattern, 'COUNT', String(batchSize))
        const [next, keys] = reply as [string, string[]]
        cursor = String(next)
        if (keys.length > 0) yield await Promise.all([...new Set(keys.map(String))].map(read))
      } while (cursor !== '0')
    },
    async close() {
      if (client.destroy) client.destroy()
      else await client.disconnect?.()
    },
  }
}

async function connect(url: string): Promise<RedisClient> {
  const { createClient } = await import('redis').catch(() => {
    throw new PGStoreError('invalid_option', 'Reading Redis needs the package redis: npm install redis')
  })
  let client: RedisClient
  try {
    client = createClient({ url, socket: { connectTimeout: 5000, reconnectStrategy: false } }) as unknown as RedisClient
  } catch {
    throw new PGStoreError('invalid_option', 'The URL of the old store must begin with redis:// or rediss://.')
  }
  client.on('error', () => {}) // the affected command is rejected
  try {
    await client.connect()
  } catch (error) {
    throw redisError(error)
  }
  return client
}

/** @param milliseconds the result of PTTL: -1 for a key that does not expire, -2 for one that is gone */
function item(sid: string, text: string, length: number, milliseconds: number): Item {
  if (milliseconds === -2 || length === 0) return { as: 'expired' }
  if (length > mostBytes) return { as: 'tooLarge' }
  const session = readExpressSession(sid, text)
  if (!session) return unreadable('not a JSON object')
  return foundExpressSession(sid, session, milliseconds === -1 ? cookieSeconds(session) : milliseconds / 1000)
}

/** Redis' messages name commands and causes, never a value. */
function redisError(error: unknown): PGStoreError {
  const { code, message } = error as { code?: unknown; message?: unknown }
  const said = [message, code].filter((text) => typeof text === 'string' && text !== '')
  const [reason = 'no connection'] = said as string[]
  const isRefusal = /^(NOAUTH|WRONGPASS|NOPERM)/.test(reason)
  return new PGStoreError(isRefusal ? 'forbidden' : 'unavailable', `Redis: ${reason}`)
}
