import type session from 'express-session'
import expressSession from 'express-session'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { presets, type SessionTable } from '../../src/cli/import/presets.ts'
import { sessionTable } from '../../src/cli/import/session-table.ts'
import { sessionKey } from '../../src/session/token.ts'
import { closeEverything, present, save } from '../sql/calls.ts'
import { admin, databaseUrl, rejection, row, sql } from '../support/harness.ts'
import { areInstalled, requireVersion } from '../versions.ts'
import { documented, moveByGuide } from './moving.ts'
import { pgstore } from './pgstore.ts'
import { counts, importCounts, take } from './reports.ts'

test.before.each(async () => {
  await sql('drop table if exists session, sessions, "Sessions", "Session" cascade; drop schema if exists web cascade')
  await sql('truncate pgstore.sessions')
})
test.after(closeEverything)

if (!areInstalled)
  console.log('Skipped: moves from other stores. They are not installed: npm ci --prefix test/versions.')
const peerTest = (name: string, run: () => Promise<void>) => (areInstalled ? test(name, run) : test.skip(name))

peerTest('a visitor of connect-pg-simple stays signed in', async () => {
  const PgStore = requireVersion('connect-pg-simple')(expressSession)
  const old = new PgStore({ pool: admin, createTableIfMissing: true, pruneSessionInterval: false })
  assert.equal(await moveByGuide(old, 'connect-pg-simple'), { read: 1, taken: 1, users: 1 })
})

peerTest('a visitor of connect-session-knex stays signed in', async () => {
  const knex = requireVersion('knex')({ client: 'pg', connection: databaseUrl })
  const { ConnectSessionKnexStore } = requireVersion('connect-session-knex')
  const old = new ConnectSessionKnexStore({ knex, cleanupInterval: 0 })
  try {
    assert.equal(await moveByGuide(old, 'connect-session-knex'), { read: 1, taken: 1, users: 1 })
  } finally {
    await knex.destroy()
  }
})

peerTest('a visitor of connect-session-sequelize stays signed in', async () => {
  const { Sequelize } = requireVersion('sequelize')
  const db = new Sequelize(databaseUrl, { logging: false })
  const SequelizeStore = requireVersion('connect-session-sequelize')(expressSession.Store)
  const old = new SequelizeStore({ db, checkExpirationInterval: 0 })
  await old.sync()
  try {
    assert.equal(await moveByGuide(old, 'connect-session-sequelize'), { read: 1, taken: 1, users: 1 })
  } finally {
    await db.close()
  }
})

/** As `prisma migrate` makes it of the model in prisma-session-store's README. */
const prismaTable = `create table "Session" (
  "id" text not null, "sid" text not null, "data" text not null, "expiresAt" timestamp(3) not null,
  constraint "Session_pkey" primary key ("id")
);
create unique index "Session_sid_key" on "Session" ("sid")`

/** What prisma-session-store calls of a Prisma client, which needs an engine: times are written as UTC, as Prisma does. */
const prisma = {
  $connect: () => Promise.resolve(),
  session: {
    findUnique: async ({ where }: { where: { sid: string } }) =>
      (
        await sql(
          `select id, sid, data, "expiresAt" at time zone 'UTC' as "expiresAt" from "Session" where sid = $1`,
          where.sid,
        )
      )[0] ?? null,
    create: ({ data }: { data: { id: string; sid: string; data: string; expiresAt: Date } }) =>
      sql(
        `insert into "Session" values ($1, $2, $3, $4::timestamptz at time zone 'UTC')`,
        data.id,
        data.sid,
        data.data,
        data.expiresAt,
      ),
    update: ({ data, where }: { data: { data: string; expiresAt: Date }; where: { sid: string } }) =>
      sql(
        `update "Session" set data = $2, "expiresAt" = $3::timestamptz at time zone 'UTC' where sid = $1`,
        where.sid,
        data.data,
        data.expiresAt,
      ),
    deleteMany: ({ where }: { where: { sid: string } }) => sql('delete from "Session" where sid = $1', where.sid),
  },
}

peerTest('a visitor of prisma-session-store stays signed in, whatever the time zone', async () => {
  await sql(prismaTable)
  const { PrismaSessionStore } = requireVersion('@quixo3/prisma-session-store')
  const old: session.Store = new PrismaSessionStore(prisma, { checkPeriod: undefined, logger: false })
  const { name } = await row<{ name: string }>('select current_database() as name')
  await sql(`alter database ${name} set timezone = 'Asia/Tokyo'`)
  try {
    assert.equal(await moveByGuide(old, 'prisma-session-store'), { read: 1, taken: 1, users: 1 })
  } finally {
    await sql(`alter database ${name} reset timezone`)
  }
})

peerTest('a visitor of connect-typeorm stays signed in, and one who signed out there stays signed out', async () => {
  const { DataSource, EntitySchema } = requireVersion('typeorm')
  // The entity of connect-typeorm's README, without decorators.
  const Session = new EntitySchema({
    name: 'Session',
    columns: {
      expiredAt: { type: 'bigint' },
      id: { type: 'varchar', length: 255, primary: true },
      json: { type: 'text' },
      destroyedAt: { type: 'timestamp', deleteDate: true, nullable: true },
    },
  })
  const source = new DataSource({ type: 'postgres', url: databaseUrl, entities: [Session], synchronize: true })
  await source.initialize()
  const { TypeormStore } = requireVersion('connect-typeorm')
  const old = new TypeormStore({}).connect(source.getRepository(Session))
  try {
    assert.equal(await moveByGuide(old, 'connect-typeorm'), { read: 2, taken: 1, expired: 1, users: 1 })
  } finally {
    await source.destroy()
  }
})

const passport = JSON.stringify({ cookie: {}, passport: { user: 'ann' } })

test('any other table with JSON is imported by the names of its columns', async () => {
  await sql(
    `create schema web;
     create table web.logins ("key" uuid primary key, payload jsonb, until bigint)`,
  )
  await sql(
    `insert into web.logins
     select gen_random_uuid(), $1, extract(epoch from now() + i * interval '1 hour') * case i when 2 then 1000 else 1 end
     from generate_series(-1, 2) as i where i <> 0`,
    passport,
  )
  assert.equal(await importCounts(documented('another table')), { read: 3, taken: 2, expired: 1, users: 2 })
  const lives = await sql<{ hours: number }>(
    `select round(extract(epoch from expires_at - now()) / 3600)::integer as hours from pgstore.sessions order by 1`,
  )
  assert.equal(lives, [{ hours: 1 }, { hours: 2 }])
})

test('without a column for the expiry the cookie decides', async () => {
  await sql(`create table sessions (sid integer primary key, sess text)`)
  const at = new Date(Date.now() + 7_200_000).toISOString()
  await sql(`insert into sessions values (-7, $1), (8, $2)`, JSON.stringify({ cookie: { expires: at } }), passport)
  assert.equal(await importCounts(['table', '--table', 'sessions', '--id', 'sid', '--data', 'sess']), {
    read: 2,
    taken: 2,
  })
  const lives = async (sid: string) => ((await present(sessionKey(sid))).expires_at.getTime() - Date.now()) / 3_600_000
  assert.is(Math.round(await lives('-7')), 2)
  assert.is(Math.round(await lives('8')), 24)
})

const names = presets['connect-pg-simple'] as SessionTable
const old = () => sessionTable(databaseUrl, names)

async function fill(count: number): Promise<void> {
  await sql('create table session (sid varchar primary key, sess json not null, expire timestamp(6) not null)')
  await sql(
    `insert into session select 'sid ' || i, $1, now() + '1 day' from generate_series(1, $2) as i`,
    passport,
    count,
  )
}

test('a --user-key that finds no user fails a dry run, and is a warning in a run', async () => {
  await fill(101)
  const args = ['import', 'connect-pg-simple', '--user-key', 'pasport.user']
  const rehearsed = await pgstore([...args, '--dry-run'])
  assert.is(rehearsed.code, 1)
  assert.match(rehearsed.stderr, /^No session has a user at pasport\.user\. Correct --user-key/)
  const asJson = await pgstore([...args, '--dry-run', '--json'])
  assert.is(asJson.code, 1)
  assert.equal(counts(asJson), { read: 101, taken: 101, dry_run: true })
  const done = await pgstore(args)
  assert.is(done.code, 0)
  assert.match(done.stderr, /^No session has a user at pasport\.user\. Run it again with the right --user-key/)
  assert.match(done.stdout, /0 have a user at pasport\.user/)
  assert.is((await pgstore([...args.slice(0, 2), '--dry-run'])).code, 0)
})

test('a second run with the right --user-key adds the users, and a dry run counts them', async () => {
  await fill(300)
  await take(old(), { userPath: ['pasport', 'user'] })
  await save(sessionKey('sid 1'), { set: '{"passport": {}}' }) // has signed out since
  await save(sessionKey('sid 2'), { set: '{"passport": {"user": "bob"}}' }) // and in again, as somebody else
  await save(sessionKey('sid 3'), { user_id: 'carol' })
  const before = await sql('select key, data, expires_at from pgstore.sessions order by key')
  const expected = { read: 300, already_there: 300, users: 300, users_added: 297 }
  const userPath = ['passport', 'user']
  assert.equal(await take(old(), { userPath, dryRun: true }), expected)
  assert.equal(await sql('select count(*) from pgstore.sessions where user_id is not null'), [{ count: '1' }])
  assert.equal(await take(old(), { userPath }), expected)
  assert.equal(await sql('select key, data, expires_at from pgstore.sessions order by key'), before)
  const users = 'select user_id, count(*)::integer from pgstore.sessions group by user_id order by user_id'
  assert.equal(await sql(users), [
    { user_id: 'ann', count: 297 },
    { user_id: 'carol', count: 1 },
    { user_id: null, count: 2 },
  ])
  assert.equal(await take(old(), { userPath }), { read: 300, already_there: 300, users: 300 })
})

test('what cannot be read is said in a sentence', async () => {
  await fill(1)
  for (const [args, code, problem] of [
    [['--preset', 'connect-mongo'], 2, /^Unknown preset "connect-mongo"; there are connect-pg-simple, /],
    [['--table', 'session'], 2, /^Name the store with --preset/],
    [['--preset', 'connect-session-knex'], 1, /^Table sessions does not exist: name the table with --table\.$/m],
    [
      ['--preset', 'connect-session-knex', '--table', 'session'],
      1,
      /^Table session has no column "expired": name it with --expires\.$/m,
    ],
  ] as const) {
    const outcome = await pgstore(['import', 'table', ...args])
    assert.is(outcome.code, code, outcome.stderr)
    assert.match(outcome.stderr, problem)
  }
  const args = ['table', '--preset', 'connect-session-knex', '--table', 'session', '--expires', 'expire']
  assert.equal(await importCounts(args), { read: 1, taken: 1 })
})

test("a column's name is only ever a name", async () => {
  await fill(1)
  const failing = sessionTable(databaseUrl, { ...names, id: 'sid" = sid; drop table session; --' })
  assert.match((await rejection(take(failing))).message, /has no column/)
  assert.is((await admin.query('select from session')).rowCount, 1)
})

test.run()
