// What each command is, for --help and for finding it. What it does is loaded when it runs: pg alone takes a tenth of a second.
import type { Command } from './command.ts'
import { importCommands } from './import-commands.ts'

export const commands: readonly Command[] = [
  {
    name: 'status',
    right: 'cleanup',
    summary: 'show the state of the sessions, and what is wrong',
    details: `Counts are exact for a small table; for one of more than 1,000 pages (8 MB) they are estimated from a random sample of that
many pages, to a few percent, and printed with "about". Warnings say what to do. The exit code is 0 even with warnings: a monitor
should read "warnings" in the JSON.

It needs a role with the right "cleanup" or "admin".`,
    run: async (flags) => await (await import('./status.ts')).status(flags),
  },
  {
    name: 'doctor',
    summary: 'look for what is wrong, and say what mends it',
    options: ['role'],
    details: `Looks at the connection (pooler, standby, notifications, clock), the schema, who owns it and who can reach it, the settings of
the server and of the application's role, the purge, the table, the keys in SESSION_KEY and SESSION_SECRET, and the packages installed
in this folder. It changes nothing. Run it where the application runs, with its DATABASE_URL; and once as a role with the right
"cleanup" or "admin", which may see the most. --role names the application's role; default: those that were granted "client".

The exit code is 1 if something is wrong, and 0 if there are only warnings. --json prints "findings", each with id, level ("wrong" or
"warning"), says and mend: a command for the shell, or SQL, which ends with a semicolon; null where no single command mends it.

  pgstore doctor --json | jq -r '.findings[] | select(.level == "wrong") | .says'`,
    run: async (flags) => await (await import('./doctor/doctor.ts')).doctor(flags),
  },
  {
    name: 'dashboard',
    summary: 'show a page for operators on 127.0.0.1, until Ctrl-C',
    options: ['port', 'showData'],
    right: 'admin',
    details: `It prints the page's address, which holds a token: whoever has the address sees the page. Sessions and sizes over time, the
recurring purge, what "doctor" finds, and the sessions of a user whose id you enter, which you can end. Nothing else is changed. The
data of sessions is shown only with --show-data. What it has seen is kept in memory and gone when it ends.

For a server elsewhere, forward a port of the same number: ssh -L 4321:127.0.0.1:4321 HOST, and there "pgstore dashboard --port 4321".

It needs a role with the right "admin"; with "cleanup" all but the sessions of a user is there.`,
    run: async (flags) => await (await import('./dashboard/dashboard.ts')).dashboard(flags),
  },
  {
    name: 'migrate',
    summary: 'install or upgrade the schema',
    details: `Applies everything that is missing in one transaction, or nothing; any number of processes may run it at once. The role
needs CREATE on the database, or must own the schema. PGStore.open() does the same unless it is given migrate: false.

  DATABASE_URL=postgres://owner@localhost/app pgstore migrate`,
    run: async (flags) => await (await import('./schema.ts')).migrateSchema(flags),
  },
  {
    name: 'sql',
    summary: 'print the schema as SQL, for your own migration history',
    options: ['engine', 'partitions'],
    details: `Prints what "migrate" would run on an empty database, for your own migration tool. Run it in one transaction, and open
the store with migrate: false. No database is needed.

  pgstore sql --schema sessions > migrations/0042_sessions.sql

With --engine plproxy and --partitions, a power of two, it prints what a PL/Proxy proxy in front of that many partitions needs: the same
functions, each running on the partition that holds its key, or on all. Its first lines say how to prepare the proxy and the partitions.

  pgstore sql --engine plproxy --partitions 4 | psql -1 -v ON_ERROR_STOP=1 postgres://postgres@proxy/sessions`,
    run: async (flags) => await (await import('./schema.ts')).printSql(flags),
  },
  {
    name: 'key',
    summary: 'print a new key to sign cookies with',
    details: `32 random bytes as 43 characters, for the store's option "keys". Keep it with your other secrets, for example in the
environment, and out of the repository: PGStore.open({ …, keys: [process.env.SESSION_KEY] }). Use the text as it is; there is nothing
to decode. To rotate, put a new key before the old one, on all servers: keys: [newKey, oldKey]. Drop the old one after maxAge. No
database is needed.

  SESSION_KEY=$(npx pgstore key)`,
    run: async (flags) => await (await import('./key.ts')).printKey(flags),
  },
  {
    name: 'grant',
    argument: 'ROLE',
    summary: 'let a role run the functions',
    options: ['as', 'print'],
    details: `Rights: client (the application), entry (a role for its own tables, under row-level security), account (its pages that list and
end a user's sessions), cleanup (the worker), admin (all), and on a partition proxy (the role that a PL/Proxy proxy connects as). They add to
those granted to the role before, and the table "grants" records them. Rights on pgstore's objects that are not recorded there,
of this role or any other, are revoked, now and at each "migrate".

  pgstore grant app --as client,account`,
    run: async (flags) => await (await import('./grant.ts')).grantRights(flags),
  },
  {
    name: 'worker',
    right: 'cleanup',
    summary: 'run the worker that purges, until it is stopped; needs the package graphile-worker',
    options: ['workerSchema'],
    details: `Any number may run; each purge is done by one of them. It ends on SIGINT or SIGTERM, after its batch. It uses LISTEN, so it needs
a connection that leads directly to Postgres, and a role with the right "cleanup". Its jobs are kept in graphile-worker's schema,
which an application with the same version of graphile-worker may share; for another version, name a separate schema with
--worker-schema.

  DATABASE_URL=postgres://cleaner@localhost/app pgstore worker`,
    run: async (flags) => await (await import('./cleanup.ts')).worker(flags),
  },
  {
    name: 'cleanup start',
    right: 'cleanup',
    summary: 'switch the recurring purge on, for all servers',
    options: ['every'],
    details: `The schedule is kept in the database and shared by all servers. Some process must run the worker: "pgstore worker",
or a server that calls store.startCleanup(). The interval is a Postgres interval from 100 milliseconds to a year. If the purge is on
already, only the interval changes.

  pgstore cleanup start --every '1 minute'`,
    run: async (flags) => await (await import('./cleanup.ts')).start(flags),
  },
  {
    name: 'cleanup stop',
    right: 'cleanup',
    summary: 'switch the recurring purge off, for all servers',
    details: `Workers keep running and wait; a purge in progress ends after its batch. Expired sessions stay expired, purged or not.`,
    run: async (flags) => await (await import('./cleanup.ts')).stop(flags),
  },
  {
    name: 'cleanup status',
    right: 'cleanup',
    summary: 'show the recurring purge: schedule, worker, last run',
    details: `It counts all expired sessions. "pgstore status" shows more and reads less.`,
    run: async (flags) => await (await import('./cleanup.ts')).status(flags),
  },
  {
    name: 'cleanup watch',
    right: 'cleanup',
    summary: 'print what the recurring purge does, one line per event, until Ctrl-C',
    details: `First the state, then starts, stops, purges and failures as they happen. It uses LISTEN, so it needs a connection that leads
directly to Postgres: behind a pooler in transaction mode nothing arrives.

  pgstore cleanup watch --json | jq -r 'select(.type == "failed")'`,
    run: async (flags) => await (await import('./cleanup.ts')).watch(flags),
  },
  {
    name: 'audit on',
    right: 'admin',
    summary: 'switch the history of sessions on, for all servers',
    options: ['keep'],
    details: `Every sign-in, regeneration and end of a session is then a row of the history, written in the same transaction: who, when,
why, and the session's label and tags. store.history() shows a user's, and store.endings() gives each end to programs that must not
miss one. A row is kept as long as --keep says and deleted by the recurring purge. It needs a role with the right "admin".

  pgstore audit on --keep '90 days'`,
    run: async (flags) => await (await import('./audit.ts')).setAudit(flags, true),
  },
  {
    name: 'audit off',
    right: 'admin',
    summary: 'switch the history of sessions off, for all servers',
    options: ['keep'],
    details: `What is kept stays until its time is over, and consumers of endings are still given what ended before. Delete it sooner with
a shorter --keep and the next purge.`,
    run: async (flags) => await (await import('./audit.ts')).setAudit(flags, false),
  },
  {
    name: 'audit status',
    right: 'admin',
    summary: 'show whether the history is on, and what waits for its consumers',
    details: `For each consumer of store.endings(): how many endings wait and since when the oldest does. One that will not come back is
forgotten with the SQL function endings_forget.`,
    run: async (flags) => await (await import('./audit.ts')).auditStatus(flags),
  },
  {
    name: 'purge',
    right: 'cleanup',
    summary: 'purge all expired sessions now',
    details: `It deletes in batches of 1,000 with pauses in between, whether or not the recurring purge is on: for your own schedule, or
after a long time without one. If interrupted, it keeps what it has deleted so far.

  pgstore purge --json`,
    run: async (flags) => await (await import('./cleanup.ts')).purgeNow(flags),
  },
  {
    name: 'end-all',
    right: 'admin',
    summary: 'sign everybody out now, or all sessions of a tag or a user',
    options: ['before', 'tag', 'user'],
    details: `It writes one row, however many sessions there are: none that began, or last signed in, before now lives any longer, on any
server. --before takes an earlier time, such as 2030-01-31T12:00:00Z: whoever has signed in since stays. --tag and --user end only
the sessions that carry a tag, or a user's. It cannot be undone. The recurring purge deletes the rows later.

It needs a role with the right "admin".

  pgstore end-all --before 2030-01-31T12:00:00Z`,
    run: async (flags) => await (await import('./end-all.ts')).endAll(flags),
  },
  ...importCommands,
]
