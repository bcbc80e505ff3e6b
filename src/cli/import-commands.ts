// What each import is, for --help and for finding it. What it does is loaded when it runs.
import type { Command } from './command.ts'
import { presets } from './import/presets.ts'

const common = ['from', 'userKey', 'maxLength', 'lifetime', 'dryRun'] as const

const promise = `The old store is only read. Each session keeps its id and its remaining life, so that visitors stay signed in. One
that is here already is left alone, so the command can be interrupted and run again; but if it has no user and --user-key finds one,
it gets it. It counts the sessions that it skips, with the reason. --dry-run reports what would be imported and writes nothing; it
fails if --user-key finds no user at all.`

const columns = ['table', 'id', 'data', 'expires'] as const

export const importCommands: readonly Command[] = [
  {
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
    run: async (flags) => await (await import('./imports.ts')).importTable(flags),
  },
  {
    name: 'import connect-pg-simple',
    summary: 'import the sessions of connect-pg-simple',
    options: [...common, ...columns],
    details: `${promise}

It is "import table --preset connect-pg-simple". The table is "session" in the same database; --table and --from name another. Its
times have no time zone: they are read in the time zone of this role's connections, as connect-pg-simple reads them.

  pgstore import connect-pg-simple --user-key passport.user --dry-run
  pgstore import connect-pg-simple --user-key passport.user --from postgres://reader@old.example/app --table web.session`,
    run: async (flags) => await (await import('./imports.ts')).importConnectPgSimple(flags),
  },
  {
    name: 'import connect-redis',
    summary: 'import the sessions of connect-redis; needs the package redis',
    options: [...common, 'prefix'],
    details: `${promise}

--from or the environment variable REDIS_URL names the Redis server. In a cluster, run it once for each primary.

  REDIS_URL=redis://127.0.0.1:6379 pgstore import connect-redis --user-key passport.user --dry-run`,
    run: async (flags) => await (await import('./imports.ts')).importConnectRedis(flags),
  },
  {
    name: 'import connect-mongo',
    summary: 'import the sessions of connect-mongo; needs the package mongodb',
    options: [...common, 'table'],
    details: `${promise}

--from or the environment variable MONGODB_URI names the database; the URL must contain its name. The collection is "sessions";
--table names another. Encrypted sessions (its option crypto) are unreadable.

  MONGODB_URI=mongodb://127.0.0.1/app pgstore import connect-mongo --user-key passport.user --dry-run`,
    run: async (flags) => await (await import('./imports.ts')).importConnectMongo(flags),
  },
  {
    name: 'import session-file-store',
    summary: 'import the sessions of session-file-store',
    options: [...common, 'ttl'],
    details: `${promise}

--from names the folder; default: sessions. A session whose cookie has no maxAge lives for --ttl seconds after its last use, as the
store's option ttl says; default: 3600. Encrypted sessions (its option secret) are unreadable.

  pgstore import session-file-store --from ./sessions --user-key passport.user --dry-run`,
    run: async (flags) => await (await import('./imports.ts')).importSessionFileStore(flags),
  },
  {
    name: 'import koa-session',
    summary: 'import the sessions that koa-session keeps in a table in Postgres',
    options: [...common, ...columns],
    details: `${promise}

For koa-session with an external store; sessions in cookies need no import. --table, --id and --data name the table of that store
and its columns: the key, which the cookie carries, and the session as JSON or its text. The expiry in the data counts, or the
column --expires.

  pgstore import koa-session --table koa_sessions --id key --data value --user-key user --dry-run`,
    run: async (flags) => await (await import('./imports.ts')).importKoaSession(flags),
  },
  {
    name: 'import jsonl',
    summary: 'import sessions from JSON lines on standard input',
    options: ['userKey', 'maxLength', 'lifetime', 'dryRun', 'id', 'data', 'expires'],
    details: `${promise}

Each line is an object with the session's id, which the cookie carries, its data as an object or as JSON text, and its expiry: ISO
8601 text, milliseconds or seconds since 1970, or MongoDB's {"$date": …}. --id, --data and --expires give their names; default:
"id", "data" and "expires". A line without an expiry lives as long as its cookie, or a day.

  pgstore import jsonl --user-key passport.user < sessions.jsonl
  mongoexport --uri "$MONGODB_URI" --collection sessions | pgstore import jsonl --id _id --data session --user-key passport.user`,
    run: async (flags) => await (await import('./imports.ts')).importJsonl(flags),
  },
  {
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
    run: async (flags) => await (await import('./imports.ts')).importPgstoreGo(flags),
  },
]
