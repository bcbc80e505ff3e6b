import fs from 'node:fs'
import type { Key } from '../cookie/keys.ts'
import { PGStoreError } from '../errors.ts'
import { type Command, databaseUrl, type Flags, UsageError } from './command.ts'
import { connectMongo } from './import/connect-mongo.ts'
import { connectRedis } from './import/connect-redis.ts'
import { foundKoaSession } from './import/koa-session.ts'
import { jsonLines } from './import/lines.ts'
import { pgstoreGo } from './import/pgstore-go.ts'
import { sessionFileStore } from './import/session-file-store.ts'
import { type FindSession, presets, sessionTable } from './import/session-table.ts'
import type { Source } from './import/source.ts'
import { importFrom, wholeNumber } from './import-from.ts'

const common = ['from', 'userKey', 'maxLength', 'lifetime', 'dryRun'] as const

const promise = `The old store is only read. Each session keeps its id and its remaining life, so that visitors stay signed in. One
that is here already is left alone, so the command can be interrupted and run again; but if it has no user and --user-key finds one,
it gets it. It counts the sessions that it skips, with the reason. --dry-run reports what would be imported and writes nothing; it
fails if --user-key finds no user at all.`

const columns = ['table', 'id', 'data', 'expires'] as const

export const importTable: Command = {
  name: 'import table',
  summary: 'import the sessions that another store keeps in Postgres',
  options: [...common, 'preset', ...columns],
  details: `${promise}

--preset names the store: ${Object.keys(presets).join(', ')}. The table and its columns may have
other names: --table, --id, --data, --expires. For any other store, name at least the first three: the column --id holds what the
cookie carries, --data the session as JSON (or its text), --expires a time, or the milliseconds or seconds since 1970. Without
--expires the expiry of the cookie in the data counts, or a day.

  pgstore import table --preset connect-session-knex --user-key passport.user --dry-run
  pgstore import table --table web.sessions --id sid --data payload --expires valid_until --user-key user.id`,
  run: (flags) => importFrom(flags, () => Promise.resolve(openTable(flags, flags.preset))),
}

export const importConnectPgSimple: Command = {
  name: 'import connect-pg-simple',
  summary: 'import the sessions of connect-pg-simple',
  options: [...common, ...columns],
  details: `${promise}

It is "import table --preset connect-pg-simple". The table is "session" in the same database; --table and --from name another. Its
times have no time zone: they are read in the time zone of this role's connections, as connect-pg-simple reads them.

  pgstore import connect-pg-simple --user-key passport.user --dry-run
  pgstore import connect-pg-simple --user-key passport.user --from postgres://reader@old.example/app --table web.session`,
  run: (flags) => importFrom(flags, () => Promise.resolve(openTable(flags, 'connect-pg-simple'))),
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

export const importConnectRedis: Command = {
  name: 'import connect-redis',
  summary: 'import the sessions of connect-redis; needs the package redis',
  options: [...common, 'prefix'],
  details: `${promise}

--from or the environment variable REDIS_URL names the Redis server. In a cluster, run it once for each primary.

  REDIS_URL=redis://127.0.0.1:6379 pgstore import connect-redis --user-key passport.user --dry-run`,
  run: (flags) =>
    importFrom(flags, () => {
      const url = flags.from ?? process.env['REDIS_URL']
      if (!url) throw new UsageError('Redis URL missing: give --from or set REDIS_URL.')
      return connectRedis(url, flags.prefix)
    }),
}

export const importJsonl: Command = {
  name: 'import jsonl',
  summary: 'import sessions from JSON lines on standard input',
  options: ['userKey', 'maxLength', 'lifetime', 'dryRun', 'id', 'data', 'expires'],
  details: `${promise}

Each line is an object with the session's id, which the cookie carries, its data as an object or as JSON text, and its expiry: ISO
8601 text, milliseconds or seconds since 1970, or MongoDB's {"$date": …}. --id, --data and --expires give their names; default:
"id", "data" and "expires". A line without an expiry lives as long as its cookie, or a day.

  pgstore import jsonl --user-key passport.user < sessions.jsonl
  mongoexport --uri "$MONGODB_URI" --collection sessions | pgstore import jsonl --id _id --data session --user-key passport.user`,
  run: (flags) =>
    importFrom(flags, () => {
      const { id = 'id', data = 'data', expires = 'expires' } = flags
      return Promise.resolve(jsonLines(process.stdin, { id, data, expires }))
    }),
}

export const importSessionFileStore: Command = {
  name: 'import session-file-store',
  summary: 'import the sessions of session-file-store',
  options: [...common, 'ttl'],
  details: `${promise}

--from names the folder; default: sessions. A session whose cookie has no maxAge lives for --ttl seconds after its last use, as the
store's option ttl says; default: 3600. Encrypted sessions (its option secret) are unreadable.

  pgstore import session-file-store --from ./sessions --user-key passport.user --dry-run`,
  run: (flags) => {
    const ttl = wholeNumber('ttl', flags.ttl ?? '3600')
    return importFrom(flags, () => Promise.resolve(sessionFileStore(flags.from ?? 'sessions', ttl)))
  },
}

export const importConnectMongo: Command = {
  name: 'import connect-mongo',
  summary: 'import the sessions of connect-mongo; needs the package mongodb',
  options: [...common, 'table'],
  details: `${promise}

--from or the environment variable MONGODB_URI names the database; the URL must contain its name. The collection is "sessions";
--table names another. Encrypted sessions (its option crypto) are unreadable.

  MONGODB_URI=mongodb://127.0.0.1/app pgstore import connect-mongo --user-key passport.user --dry-run`,
  run: (flags) =>
    importFrom(flags, () => {
      const url = flags.from ?? process.env['MONGODB_URI']
      if (!url) throw new UsageError('MongoDB URL missing: give --from or set MONGODB_URI.')
      return connectMongo(url, flags.table)
    }),
}

export const importKoaSession: Command = {
  name: 'import koa-session',
  summary: 'import the sessions that koa-session keeps in a table in Postgres',
  options: [...common, ...columns],
  details: `${promise}

For koa-session with an external store; sessions in cookies need no import. --table, --id and --data name the table of that store
and its columns: the key, which the cookie carries, and the session as JSON or its text. The expiry in the data counts, or the
column --expires.

  pgstore import koa-session --table koa_sessions --id key --data value --user-key user --dry-run`,
  run: (flags) => importFrom(flags, () => Promise.resolve(openTable(flags, undefined, foundKoaSession))),
}

export const importPgstoreGo: Command = {
  name: 'import pgstore-go',
  summary: "import the sessions of Go's pgstore",
  options: [...common, 'table', 'name', 'keys'],
  details: `${promise}

The table is "http_sessions" in the same database; --table and --from name another. --name is the name that the Go program uses for
its sessions and their cookie: keep that name, and the same keys, and the cookies stay valid.

The keys are never given on the command line, where others could see them. Put them in the environment variable
PGSTORE_IMPORT_KEYS, or in a file named by --keys: separated by white space, in the order of the Go program's NewPGStore (hash key,
block key, hash key …). Write each as hex:…, base64:… or text:…, and a missing block key as a single "-".

  PGSTORE_IMPORT_KEYS='text:my-hash-key-of-at-least-32-bytes! -' pgstore import pgstore-go --name session --dry-run

It reads text, booleans, numbers, slices, maps and structs. Byte slices become base64, times ISO 8601 text, and integers beyond 2^53
decimal text.`,
  run: (flags) =>
    importFrom(flags, () => {
      const { name } = flags
      if (!name) throw new UsageError('Session name missing: give --name, the name that the Go program uses.')
      const keyPairs = readKeys(flags)
      const connectionString = flags.from ?? databaseUrl(flags)
      return Promise.resolve(pgstoreGo({ connectionString, table: flags.table, name, keyPairs }))
    }),
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
