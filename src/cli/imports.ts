// What each import opens.
import fs from 'node:fs'
import type { Key } from '../cookie/keys.ts'
import { PGStoreError } from '../errors.ts'
import { databaseUrl, type Flags, UsageError } from './command.ts'
import { connectMongo } from './import/connect-mongo.ts'
import { connectRedis } from './import/connect-redis.ts'
import { foundKoaSession } from './import/koa-session.ts'
import { jsonLines } from './import/lines.ts'
import { pgstoreGo } from './import/pgstore-go.ts'
import { presets } from './import/presets.ts'
import { sessionFileStore } from './import/session-file-store.ts'
import { type FindSession, sessionTable } from './import/session-table.ts'
import type { Source } from './import/source.ts'
import { importFrom, wholeNumber } from './import-from.ts'

export async function importTable(flags: Flags): Promise<void> {
  await importFrom(flags, () => Promise.resolve(openTable(flags, flags.preset)))
}

export async function importConnectPgSimple(flags: Flags): Promise<void> {
  await importFrom(flags, () => Promise.resolve(openTable(flags, 'connect-pg-simple')))
}

function openTable(flags: Flags, preset: string | undefined, find?: FindSession): Source {
  const known = preset === undefined ? undefined : presets[preset]
  if (preset !== undefined && !known) {
    throw new UsageError(`Unknown preset "${preset}"; there are ${Object.keys(presets).join(', ')}.`)
  }
  const { table = known?.table, id = known?.id, data = known?.data, expires = known?.expires } = flags
  if (table === undefined || id === undefined || data === undefined) {
    throw new UsageError('Name the store with --preset, or its table and columns with --table, --id and --data.')
  }
  return sessionTable(flags.from ?? databaseUrl(flags), { ...known, table, id, data, expires }, find)
}

export async function importConnectRedis(flags: Flags): Promise<void> {
  await importFrom(flags, () => {
    const url = flags.from ?? process.env['REDIS_URL']
    if (!url) throw new UsageError('Redis URL missing: give --from or set REDIS_URL.')
    return connectRedis(url, flags.prefix)
  })
}

export async function importJsonl(flags: Flags): Promise<void> {
  await importFrom(flags, () => {
    const { id = 'id', data = 'data', expires = 'expires' } = flags
    return Promise.resolve(jsonLines(process.stdin, { id, data, expires }))
  })
}

export async function importSessionFileStore(flags: Flags): Promise<void> {
  const ttl = wholeNumber('ttl', flags.ttl ?? '3600')
  await importFrom(flags, () => Promise.resolve(sessionFileStore(flags.from ?? 'sessions', ttl)))
}

export async function importConnectMongo(flags: Flags): Promise<void> {
  await importFrom(flags, () => {
    const url = flags.from ?? process.env['MONGODB_URI']
    if (!url) throw new UsageError('MongoDB URL missing: give --from or set MONGODB_URI.')
    return connectMongo(url, flags.table)
  })
}

export async function importKoaSession(flags: Flags): Promise<void> {
  await importFrom(flags, () => Promise.resolve(openTable(flags, undefined, foundKoaSession)))
}

export async function importPgstoreGo(flags: Flags): Promise<void> {
  await importFrom(flags, () => {
    const { name } = flags
    if (!name) throw new UsageError('Session name missing: give --name, the name that the Go program uses.')
    const keyPairs = readKeys(flags)
    const connectionString = flags.from ?? databaseUrl(flags)
    return Promise.resolve(pgstoreGo({ connectionString, table: flags.table, name, keyPairs }))
  })
}

function readKeys({ keys: file }: Flags): (Key | null)[] {
  const words = (file === undefined ? (process.env['PGSTORE_IMPORT_KEYS'] ?? '') : readFile(file)).split(/\s+/)
  const keys = words.filter(Boolean).map((word, index): Key | null => {
    if (word === '-') return null
    const [, kind, key = ''] = /^(hex|base64|text):(.+)$/.exec(word) ?? []
    if (kind === 'text') return key
    if (kind === 'hex' && /^([0-9a-f]{2})+$/i.test(key)) return Buffer.from(key, 'hex')
    if (kind === 'base64' && /^[\w+/-]+={0,2}$/.test(key)) return Buffer.from(key, 'base64')
    throw new PGStoreError('invalid_option', `Key ${index} must be written as hex:…, base64:… or text:…, or be "-".`)
  })
  if (keys.length === 0) throw new UsageError('Keys missing: set PGSTORE_IMPORT_KEYS, or name a file with --keys.')
  return keys
}

function readFile(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new PGStoreError('invalid_option', `Cannot read the file named by --keys: ${code}.`)
  }
}
