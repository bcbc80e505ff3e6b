// A standby in place of its primary: behind PgBouncer, by a name with two addresses, and behind Pgpool-II, which reads from it.
import net from 'node:net'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { closeAll, hashKey, until, Visitor } from '../support/harness.ts'
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts'
import { hasPgpool, startPgpool } from '../support/pgpool.ts'
import { startProxy } from '../support/proxy.ts'
import { report, test } from './faults.ts'
import { Load } from './load.ts'
import { canStartServers, OwnServer } from './own-server.ts'

const servers: OwnServer[] = []

/** Closed after each test, in reverse. */
const open: (() => unknown)[] = []

test.after.each(async () => {
  for (const close of open.splice(0).reverse()) await close()
  await Promise.all(servers.splice(0).map((server) => server.remove()))
})
test.after(closeAll)

const settings = { max_wal_senders: '4', max_connections: '60' }

async function pair(standbySettings: Readonly<Record<string, string>> = {}): Promise<[OwnServer, OwnServer]> {
  const primary = new OwnServer(settings)
  servers.push(primary)
  await primary.install()
  const standby = await primary.standby({ ...settings, fsync: 'off', ...standbySettings })
  servers.push(standby)
  return [primary, standby]
}

function storeAt(connection: { connectionString: string } | { pool: pg.Pool }): PGStore {
  const store = new PGStore({ ...connection, keys: [hashKey] })
  open.push(() => store.close())
  return store
}

function needs(isThere: boolean, what: string, name: string, body: () => Promise<void>): void {
  const reason = canStartServers ? (isThere ? undefined : `${what} is not installed`) : 'the server is not ours'
  if (reason === undefined) test(name, body)
  else {
    console.log(`Skipped: ${name.slice(0, 3)}: ${reason}.`)
    test.skip(name)
  }
}

needs(
  hasPgBouncer,
  'pgbouncer',
  'F39: a failover behind PgBouncer loses, revives and misreads nothing, and the demoted primary is never read',
  async () => {
    const [one, other] = await pair()
    // What leads to the server that is the primary now, as an address that moves.
    const way = await startProxy({ url: one.clientUrl })
    open.push(() => way.close())
    const bouncer = await startPgBouncer(way.url, ['server_connect_timeout = 2', 'server_login_retry = 1'])
    open.push(() => bouncer.close())
    const url = bouncer.through(one.clientUrl)
    const pool = new pg.Pool({ connectionString: url, max: 4, connectionTimeoutMillis: 2000 }).on('error', () => {})
    open.push(() => pool.end())
    const load = new Load([storeAt({ connectionString: url }), storeAt({ pool })], { clients: 8 })
    await load.start()
    await load.more(100)
    await one.stop() // its last changes reach the standby
    await other.promote()
    await one.demote(other)
    // For a while everything still leads to the old one, which is a standby now.
    await load.more(20)
    await until(() => (load.codes['unavailable'] ?? 0) > 0)
    way.lead(other.clientUrl)
    way.sever()
    const success = await load.success()
    await load.more(200)
    const { text } = await load.judged()
    report('F39', 'failover behind PgBouncer', text, { 'first success': { is: success, most: 5000 } })
  },
)

needs(true, '', 'F39: a failover by a name with two addresses loses, revives and misreads nothing', async () => {
  const [one, other] = await pair()
  const name = await twoAddresses(one.clientUrl, other.clientUrl)
  if (!name) {
    console.log('Skipped: F39 by a name with two addresses: this system has no 127.0.0.2.')
    return
  }
  open.push(name.close)
  const pool = new pg.Pool({
    connectionString: name.url,
    max: 4,
    connectionTimeoutMillis: 2000,
    stream: name.stream as never,
  }).on('error', () => {})
  open.push(() => pool.end())
  const load = new Load(storeAt({ pool }), { clients: 8 })
  await load.start()
  await load.more(100)
  name.end(0)
  await one.stop()
  await other.promote()
  const success = await load.success()
  await load.more(200)
  const { text } = await load.judged()
  report('F39', 'failover by a name with two addresses', text, { 'first success': { is: success, most: 5000 } })
})

/** A host name of two addresses, which lead to these; undefined where the system has one of its own only. */
async function twoAddresses(...urls: readonly [string, string]) {
  const relays = urls.map((url) => {
    const sockets = new Set<net.Socket>()
    const server = net.createServer((client) => {
      const upstream = net.connect(Number(new URL(url).port), new URL(url).hostname)
      for (const [socket, peer] of [
        [client, upstream],
        [upstream, client],
      ] as const) {
        sockets.add(socket)
        socket.on('error', () => {}).on('close', () => peer.destroy())
        socket.pipe(peer)
      }
    })
    return { server, sockets }
  })
  const [first, second] = relays as [(typeof relays)[number], (typeof relays)[number]]
  await new Promise<void>((resolve) => first.server.listen(0, '127.0.0.1', resolve))
  const { port } = first.server.address() as net.AddressInfo
  const isThere = await new Promise<boolean>((resolve) =>
    second.server.once('error', () => resolve(false)).listen(port, '127.0.0.2', () => resolve(true)),
  )
  const end = (n: number) => {
    const relay = relays[n]
    if (!relay) return
    relay.server.close()
    for (const socket of relay.sockets) socket.destroy()
  }
  if (!isThere) {
    end(0)
    return undefined
  }
  const lookup = (_host: string, _options: object, done: (error: null, addresses: object[]) => void) =>
    done(
      null,
      ['127.0.0.1', '127.0.0.2'].map((address) => ({ address, family: 4 })),
    )
  const stream = () => {
    const socket = new net.Socket()
    const connect = socket.connect.bind(socket)
    const two = (at: number, host: string) => connect({ port: at, host, lookup, autoSelectFamily: true } as never)
    return Object.assign(socket, { connect: two })
  }
  const url = Object.assign(new URL(urls[0]), { hostname: 'two.example', port: String(port) }).href
  return {
    url,
    stream,
    end,
    close: () => {
      end(0)
      end(1)
    },
  }
}

needs(
  hasPgpool,
  'Pgpool-II',
  'F40: behind Pgpool-II with a standby that is three seconds late no read is stale, and no ended session lives',
  async () => {
    const [one, other] = await pair({ recovery_min_apply_delay: '3s' })
    await one.use(async (owner) => {
      // A read that is called stable: what is to be shown is that it would be stale.
      await owner.query(
        `create function public.stable_count() returns bigint language sql stable security definer as $$ select count(*) from pgstore.sessions $$`,
      )
    })
    // The standby is late with this, too.
    await other.use((pool) =>
      until(async () => {
        const { rows } = await pool.query("select to_regproc('public.stable_count') is not null as is_there")
        return rows[0].is_there
      }),
    )
    const pgpool = await startPgpool(one.url, other.url)
    open.push(() => pgpool.close())
    const store = storeAt({ connectionString: pgpool.through(one.clientUrl) })
    const direct = new pg.Pool({ connectionString: pgpool.through(one.url), max: 1 }).on('error', () => {})
    open.push(() => direct.end())
    let [stale, revived, control] = [0, 0, 0]
    const rounds = 60
    for (let n = 0; n < rounds; n++) {
      const visitor = new Visitor()
      await visitor.visit(store, ({ values }) => Object.assign(values, { n }))
      if ((await store.get(visitor.request(), 'sid')).values['n'] !== n) stale++
      const { rows } = await direct.query('select public.stable_count() as many')
      if (Number(rows[0].many) !== 1) control++
      const old = visitor.request()
      await visitor.visit(store, async (session, req, res) => await store.destroy(req, res, session))
      if (!(await store.new(old, 'sid')).isNew) revived++
    }
    assert.equal([stale, revived], [0, 0])
    assert.ok(control > 0, 'Pgpool-II sent nothing to the standby: the test shows nothing.')
    report(
      'F40',
      'behind Pgpool-II, its standby 3 s late',
      `${rounds} saves and ${rounds} ends: stale reads 0, ended sessions shown 0; a stable function was stale ${control} times`,
    )
  },
)

test.run()
