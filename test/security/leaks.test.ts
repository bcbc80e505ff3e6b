// Where secrets leak by accident: the server's log, errors, debug output, announcements, inspection.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { PGStore, PGStoreError, type PGStoreOptions } from '../../src/index.ts'
import { call, newKey, save } from '../sql/calls.ts'
import {
  clientUrl,
  closeAll,
  databaseUrl,
  hashKey,
  rejection,
  sql,
  TestResponse,
  testStore,
  until,
} from '../support/harness.ts'
import { requirement, skipped } from './requirement.ts'
import { canStart, type StrictServer, startReason, startStrict } from './server.ts'
import { fullWorkload, keyOf, newVisitor, tokenOf } from './visitors.ts'

const secret = 'the-hunter2-of-this-file'
const user = 'the-user-of-this-file'
const resultFile = process.env['PGSTORE_SECURITY_CHILD']

// S48 and S49: every class of error, forced: what the server logs and what the application gets.

interface Forced {
  readonly error: PGStoreError
  readonly password: string
}

class Forcer {
  readonly server: StrictServer
  readonly forced: Forced[] = []
  readonly tokens: string[] = []

  constructor(server: StrictServer) {
    this.server = server
  }

  /** The code of the error that `work` meets, with the role set up like this. */
  async meet(
    setting: string,
    work: (store: PGStore, admin: pg.PoolClient) => Promise<unknown>,
    options: Partial<PGStoreOptions> = {},
  ): Promise<string> {
    const { server } = this
    const connectionString = server.clientUrl
    if (setting) await server.owner.query(`alter role ${server.role} ${setting}`)
    const store = new PGStore({ connectionString, keyPairs: [hashKey], maxLength: 1000, ...options })
    const admin = await server.owner.connect()
    try {
      const error = (await rejection(work(store, admin))) as PGStoreError
      assert.instance(error, PGStoreError)
      this.forced.push({ error, password: new URL(connectionString).password })
      return error.code
    } finally {
      await admin.query('rollback')
      admin.release()
      await store.close()
      await server.owner.query(`alter role ${server.role} reset all; alter role ${server.role} connection limit -1`)
    }
  }

  /** A save of secret data, to a session that another transaction has locked. */
  async saveToHeld(store: PGStore, admin: pg.PoolClient, meanwhile: () => Promise<unknown>): Promise<void> {
    const plain = new PGStore({ connectionString: this.server.ownerUrl, keyPairs: [hashKey], maxLength: 0 })
    const visitor = await newVisitor(plain, { secret }, user)
    await plain.close()
    this.tokens.push(tokenOf(store, visitor))
    const req = visitor.request()
    const session = await store.get(req, 'sid')
    session.values['more'] = secret
    await admin.query('begin')
    await admin.query('update pgstore.sessions set version = version + 1 where user_id = $1', [user])
    const saving = store.save(req, new TestResponse(), session)
    await Promise.all([saving, meanwhile()])
  }
}

const blocked = async (server: StrictServer) =>
  await until(async () => {
    const { rowCount } = await server.owner.query(
      `select from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'`,
      [server.role],
    )
    return rowCount === 1
  })

async function forceAll(forcer: Forcer): Promise<string[]> {
  const { server } = forcer
  const create = async (store: PGStore, values: object = {}) => await newVisitor(store, { secret, ...values }, user)
  const nothing = async () => {}
  const saveToHeld =
    (meanwhile: (admin: pg.PoolClient) => Promise<unknown>) => (store: PGStore, admin: pg.PoolClient) =>
      forcer.saveToHeld(store, admin, () => meanwhile(admin))
  const wrongPassword = server.clientUrl.replace(/:\w+@/, ':wrong-password@')
  return [
    await forcer.meet(`set statement_timeout = '500ms'`, saveToHeld(nothing)),
    await forcer.meet(`set lock_timeout = '500ms'`, saveToHeld(nothing)),
    // On a client of the caller's: on a pool it would be sent again, and be done.
    await forcer.meet(`set default_transaction_isolation = 'serializable'`, async (store, admin) => {
      const client = new pg.Client(server.clientUrl)
      await client.connect()
      try {
        await forcer.saveToHeld(store.withClient(client), admin, async () => {
          await blocked(server)
          await admin.query('commit')
        })
      } finally {
        await client.end()
      }
    }),
    await forcer.meet(
      '',
      saveToHeld(async () => {
        await blocked(server)
        await server.owner.query(
          `select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and wait_event_type = 'Lock'`,
          [server.role],
        )
      }),
      { batch: false },
    ),
    await forcer.meet('set default_transaction_read_only = on', (store) => create(store)),
    await forcer.meet('connection limit 0', (store) => create(store)),
    await forcer.meet('', (store) => store.countExpiredSessions()),
    await forcer.meet('', (store) => create(store), { schema: 'nowhere' }),
    await forcer.meet('', (store) => create(store), { connectionString: wrongPassword }),
    await forcer.meet('', (store) => create(store), {
      connectionString: server.clientUrl.replace(/\/postgres$/, '/nowhere'),
    }),
    await forcer.meet('', (store) => create(store), {
      connectionString: server.clientUrl.replace(/:\d+\/postgres$/, ':1/postgres'),
    }),
    await forcer.meet('', (store) => create(store, { large: secret.repeat(100) })),
    await forcer.meet('', (store) => create(store, { nul: `${secret}\0` })),
    await forcer.meet('', (store) => create(store, { half: `${secret}\ud800` })),
    await forcer.meet('', (store) => create(store, { 'a name\0': secret })),
    await forcer.meet('', (store) => create(store, { deep: { list: [secret, 1n] } })),
    await forcer.meet('', (store) => newVisitor(store, { secret }, `${user}\0`)),
    await forcer.meet('', async (store) => {
      const visitor = await create(store)
      forcer.tokens.push(tokenOf(store, visitor))
      await visitor.visit(store, async (session) => {
        session.values['late'] = secret
        await server.owner.query('delete from pgstore.sessions')
      })
    }),
    await forcer.meet('', async (store) => {
      const visitor = await create(store)
      await visitor.visit(store, async (session, req, res) => {
        await server.owner.query('update pgstore.sessions set version = version + 1')
        session.values['late'] = secret
        await store.save(req, res, session, { ifUnchanged: true })
      })
    }),
  ]
}

const expectedCodes = [
  'timeout',
  'timeout',
  'unavailable',
  'unavailable',
  'unavailable',
  'unavailable',
  'forbidden',
  'not_installed',
  'database',
  'database',
  'unavailable',
  'too_large',
  'invalid_value',
  'invalid_value',
  'invalid_value',
  'invalid_value',
  'invalid_value',
  'gone',
  'conflict',
]

let run: Promise<{ codes: string[]; forcer: Forcer; log: string }> | undefined

/** Once, for both requirements. */
async function forced() {
  run ??= (async () => {
    const server = await startStrict({
      log_error_verbosity: 'verbose',
      log_min_messages: 'debug1',
      log_min_error_statement: 'debug1',
      log_lock_waits: 'on',
      deadlock_timeout: '100ms',
      log_connections: 'on',
      // As docs/operations.md says: every statement in the log, and no parameters.
      log_min_duration_statement: '0',
      log_parameter_max_length: '0',
    })
    try {
      const forcer = new Forcer(server)
      const codes = await forceAll(forcer)
      await server.owner.query('select 1 / 0').catch(() => {})
      await until(() => server.readLog().includes('division by zero'))
      return { codes, forcer, log: server.readLog() }
    } finally {
      await server.end()
    }
  })()
  return await run
}

/** What must not be found: data, user ids, tokens, keys, passwords. */
function secretsOf({ tokens, forced }: Forcer): string[] {
  const keys = tokens.flatMap((token) => [keyOf(token).toString('hex'), keyOf(token).toString('base64')])
  return [secret, user, hashKey, 'wrong-password', ...tokens, ...keys, ...forced.map(({ password }) => password)]
}

if (canStart) {
  requirement(
    'S48',
    'of 19 kinds of failure, forced while secrets are saved, the server logs no session data',
    async () => {
      const { codes, forcer, log } = await forced()
      assert.equal(codes, expectedCodes)
      for (const state of ['57014', '55P03', '40001', '57P01', '25006', '53300', '42501', '3F000', '28P01', '3D000']) {
        assert.match(log, state) // it was logged, and this is the text that is searched
      }
      assert.equal(
        secretsOf(forcer).filter((text) => log.includes(text)),
        [],
      )
    },
  )

  requirement(
    'S49',
    'the errors of all these name what failed, and contain no data, user, token, key, password or cause',
    async () => {
      const { forcer } = await forced()
      assert.is(forcer.forced.length, expectedCodes.length)
      const secrets = secretsOf(forcer)
      for (const { error } of forcer.forced) {
        const shown = [
          inspect(error, { depth: 9, showHidden: true }),
          JSON.stringify(error),
          String(error),
          error.stack,
        ].join()
        assert.equal(
          secrets.filter((text) => shown.includes(text)),
          [],
          `${error.code}: ${error.message}`,
        )
        assert.is(error.cause, undefined)
        assert.equal(
          Object.keys(error).filter(
            (name) => !['name', 'code', 'statusCode', 'isRetryable', 'sqlState'].includes(name),
          ),
          [],
        )
      }
    },
  )
} else {
  skipped('S48', 'of all kinds of failure the server logs no session data', startReason)
  skipped('S49', 'errors hold no data, user, token, key, password or cause', startReason)
}

requirement(
  'S48',
  'a save and a regenerate that meet an existing key return a status, which the server does not log',
  async () => {
    const [one, two] = [newKey(), newKey()]
    const set = JSON.stringify({ secret })
    assert.is((await save(one, { set, version: 0 })).status, 'saved')
    assert.is((await save(two, { set, version: 0 })).status, 'saved')
    assert.is((await save(one, { set, version: 0 })).status, 'conflict')
    assert.equal((await call('session_regenerate', { key: one, new_key: two }))[0]?.['status'], 'conflict')
  },
)

// S50

async function debugChild(): Promise<void> {
  const store = new PGStore({ connectionString: clientUrl, keyPairs: [hashKey] })
  const events = store.events()
  await events.ready
  const issued = await fullWorkload(store, secret)
  await events.next()
  await store.close()
  fs.writeFileSync(resultFile ?? '', JSON.stringify(issued))
}

requirement('S50', 'with DEBUG=* and NODE_DEBUG on, the full workload prints no token, cookie or key', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-debug-'))
  const file = path.join(folder, 'issued')
  const env = { ...process.env, DEBUG: '*', NODE_DEBUG: 'net,stream,timer,tls,pg,http', PGSTORE_SECURITY_CHILD: file }
  try {
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(import.meta.url)], { env })
    const chunks: Buffer[] = []
    for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk) => chunks.push(chunk))
    const code = await new Promise((resolve) => child.on('close', resolve))
    const output = Buffer.concat(chunks).toString('latin1')
    assert.is(code, 0, output.slice(-2000))
    assert.match(output, 'NET ')
    assert.match(output, 'pg-listen')
    const { tokens, cookies } = JSON.parse(fs.readFileSync(file, 'utf8')) as { tokens: string[]; cookies: string[] }
    assert.ok(tokens.length >= 80)
    const password = new URL(clientUrl).password
    assert.equal(
      [...tokens, ...cookies, hashKey, password].filter((text) => output.includes(text)),
      [],
    )
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})

// S51

/** All that is announced while `work` runs, as the application's role hears it. */
async function announcements(work: () => Promise<void>): Promise<string[]> {
  const listener = new pg.Client({ connectionString: clientUrl })
  const payloads: string[] = []
  let isOver = false
  listener.on('notification', ({ payload = '' }) => {
    if (payload === 'over') isOver = true
    else payloads.push(payload)
  })
  await listener.connect()
  try {
    await listener.query('listen pgstore_sessions; listen pgstore_cleanup')
    await work()
    await sql(`select pg_notify('pgstore_cleanup', 'over')`)
    await until(() => isOver)
    return payloads
  } finally {
    await listener.end()
  }
}

requirement(
  'S51',
  'announcements of sessions contain a type, numbers and a reason, under 8,000 bytes each, however many ended',
  async () => {
    const store = testStore()
    let issued = { tokens: [''] }
    const payloads = await announcements(async () => {
      issued = await fullWorkload(store, secret)
      await sql(
        `select pgstore.session_save(sha256(n::text::bytea), '{}', p_version => 0, p_user_id => $1) from generate_series(1, 1000) as n`,
        user,
      )
      assert.is(await store.revoke(user), 1000)
    })
    assert.ok(payloads.length > 40)
    for (const payload of payloads) {
      assert.ok(Buffer.byteLength(payload) < 8000)
      const { type, ids, n, reason, ...rest } = JSON.parse(payload)
      assert.ok(['destroyed', 'regenerated', 'revoked', 'changed'].includes(type))
      assert.ok(Number.isSafeInteger(n))
      assert.ok([undefined, 'signed_out', 'revoked', 'limited'].includes(reason), reason)
      assert.ok(Array.isArray(ids) && ids.every(Number.isSafeInteger), payload)
      assert.equal(rest, {})
    }
    const all = payloads.join('\n')
    assert.equal(
      [secret, user, ...issued.tokens, ...issued.tokens.map((token) => keyOf(token).toString('hex'))].filter((text) =>
        all.includes(text),
      ),
      [],
    )
  },
)

requirement('S51', 'announcements of the cleanup contain counts and times, at most 512 bytes each', async () => {
  const owner = testStore({ connectionString: databaseUrl })
  const payloads = await announcements(async () => {
    await sql(`select pgstore.cleanup_start('1 minute')`)
    await sql('select pgstore.cleanup_begin_run()')
    await sql(`select pgstore.cleanup_end_run(10, 20)`)
    await sql(`select pgstore.cleanup_end_run(10, 20, $1)`, '57014'.repeat(1000))
    await owner.stopCleanup()
  })
  assert.is(payloads.length, 4)
  for (const payload of payloads) {
    assert.ok(Buffer.byteLength(payload) <= 512, payload)
    const { type, code, ...numbers } = JSON.parse(payload)
    assert.ok(['started', 'stopped', 'purged', 'failed'].includes(type))
    assert.is(typeof code, type === 'failed' ? 'string' : 'undefined')
    assert.ok(Object.values(numbers).every(Number.isSafeInteger), payload)
    assert.equal(
      Object.keys(numbers).filter((name) => !['every_ms', 'purged', 'ms', 'remaining'].includes(name)),
      [],
    )
  }
})

// S52

requirement(
  'S52',
  'inspecting and printing a store, its sessions, streams and codecs shows no key, password or value',
  async () => {
    const blockKey = 'a block key of 32 bytes, secret!'
    const store = testStore({ keyPairs: [hashKey, blockKey] })
    const visitor = await newVisitor(store, { secret }, user)
    const session = await store.get(visitor.request(), 'sid')
    const events = store.events()
    await events.ready
    const client = { query: () => Promise.resolve({ rows: [] }) }
    const things = [store, session, events, store.codecs, store.options, store.withClient(client), store.watchCleanup()]
    const shown = things.map((thing) => `${inspect(thing, { depth: 20, showHidden: true })} ${JSON.stringify(thing)}`)
    await store.close()
    const token = tokenOf(store, visitor)
    const secrets = [hashKey, blockKey, secret, user, token, keyOf(token).toString('hex'), new URL(clientUrl).password]
    const bytes = [hashKey, blockKey].map((key) => inspect(Buffer.from(key)).slice(8, 40))
    assert.equal(
      [...secrets, ...bytes].filter((text) => shown.join().includes(text)),
      [],
    )
  },
)

requirement(
  'S52',
  'the command line takes its database from the environment, where a list of processes does not show it',
  async () => {
    const child = spawn(process.execPath, ['dist/cli/main.js', 'cleanup', 'watch'], {
      env: { ...process.env, DATABASE_URL: databaseUrl },
    })
    let said = ''
    child.stdout.on('data', (chunk) => {
      said += chunk
    })
    const ended = new Promise((resolve) => child.on('close', resolve))
    try {
      await until(() => said.includes('status'), 30)
      const listed = fs.existsSync(`/proc/${child.pid}/cmdline`)
        ? fs.readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')
        : ''
      const { password } = new URL(databaseUrl)
      const activity = JSON.stringify(await sql('select * from pg_stat_activity'))
      assert.match(activity, 'pgstore command')
      for (const shown of [listed, activity, said]) assert.is(shown.includes(password), false)
    } finally {
      child.kill('SIGTERM')
      await ended
    }
  },
)

if (resultFile) {
  await debugChild()
  await closeAll()
} else {
  test.after(closeAll)
  test.run()
}
