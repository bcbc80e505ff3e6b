// A TCP proxy in front of the database, for faults of the network and of poolers.
import net from 'node:net'
import { databaseUrl } from './harness.ts'

export interface Proxy {
  /** Connection string that leads through it. */
  readonly url: string
  /** Answers are held back, and no connection is closed, until it is false. */
  isSilent: boolean
  /** Answers that wait for `release`; undefined lets all pass. */
  readonly held: readonly unknown[] | undefined
  /** Keeps answers until `release`, in their order. */
  hold(): void
  release(): void
  /** Connections taken so far. */
  accepted: number
  /** New connections wait for it. */
  gate: Promise<void> | undefined
  /** Cuts the next connection that carries a call: its answer when that comes, or the call before it is sent. Resolves then. */
  cut(what: 'answer' | 'call'): Promise<void>
  /** Cuts nothing after all: what was waited for did not come. */
  spare(): void
  /** Ends all connections at once; new ones pass. */
  sever(): void
  /** Ends all connections to the server, of which the clients hear nothing; new ones pass. */
  strand(): void
  /** New connections lead to this one. */
  lead(url: string): void
  /** Milliseconds that each answer takes longer. */
  delayMs: number
  /** Answers come no faster than this. */
  bytesPerSecond: number
  /** The share of calls that end their connection with a reset, before or after they are sent. */
  resets: number
  close(): Promise<void>
}

/**
 * @param isDeaf notifications are swallowed, as by a pooler in transaction mode, which runs LISTEN on another client's
 * connection
 */
export async function startProxy({
  isDeaf = false,
  rewrite,
  url = databaseUrl,
}: {
  readonly isDeaf?: boolean
  /** What happens to a message from the server. */
  readonly rewrite?: ((message: Buffer) => Buffer) | undefined
  readonly url?: string
} = {}): Promise<Proxy> {
  let target = new URL(url)
  const sockets = new Set<net.Socket>()
  const upstreams = new Set<net.Socket>()
  let cutting: { readonly what: 'answer' | 'call'; readonly done: () => void } | undefined
  let held: (() => unknown)[] | undefined
  const isCut = (what: 'answer' | 'call', socket: net.Socket) => {
    if (cutting?.what !== what) return false
    const { done } = cutting
    cutting = undefined
    socket.once('close', done).destroy()
    return true
  }
  const server = net.createServer((client) => void relay(client))
  const relay = async (client: net.Socket) => {
    proxy.accepted++
    client.pause().on('error', () => {})
    await proxy.gate
    const upstream = net.connect(Number(target.port), target.hostname)
    upstreams.add(upstream)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(socket)
          if (socket === upstream && !upstreams.delete(upstream)) return // stranded
          client.destroy()
          upstream.destroy()
        })
    }
    client.on('data', (data) => {
      if (proxy.isSilent || isCut('call', client)) return
      const isReset = proxy.resets > 0 && Math.random() < proxy.resets
      if (!isReset || Math.random() < 0.5) upstream.write(data)
      if (isReset) client.resetAndDestroy()
    })
    client.resume()
    const answer = lane(client, proxy)
    let rest: Buffer = Buffer.alloc(0)
    upstream.on('data', (data: Buffer) => {
      if (proxy.isSilent || isCut('answer', client)) return
      if (held) {
        held.push(() => client.write(data))
        return
      }
      if (!isDeaf && !rewrite) {
        answer(data)
        return
      }
      rest = Buffer.concat([rest, data])
      for (let length = messageLength(rest); length <= rest.length; length = messageLength(rest)) {
        const message = rest.subarray(0, length)
        if (!isDeaf || rest[0] !== notification) client.write(rewrite?.(message) ?? message)
        rest = rest.subarray(length)
      }
    })
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  const through = new URL(url)
  through.port = String(port)
  const proxy: Proxy = {
    url: through.href,
    isSilent: false,
    get held() {
      return held
    },
    hold() {
      held ??= []
    },
    release() {
      const answers = held ?? []
      held = undefined
      for (const answer of answers) answer()
    },
    accepted: 0,
    gate: undefined,
    cut: (what) =>
      new Promise((done) => {
        cutting = { what, done }
      }),
    spare() {
      cutting = undefined
    },
    strand() {
      for (const socket of upstreams) socket.destroy()
      upstreams.clear()
    },
    lead(next) {
      target = new URL(next)
    },
    delayMs: 0,
    bytesPerSecond: Number.POSITIVE_INFINITY,
    resets: 0,
    sever() {
      for (const socket of sockets) socket.destroy()
    },
    async close() {
      proxy.sever()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return proxy
}

/** Writes to a socket, in order, as late as the proxy is told. */
function lane(
  socket: net.Socket,
  line: { readonly delayMs: number; readonly bytesPerSecond: number },
): (data: Buffer) => void {
  const waiting: { readonly data: Buffer; readonly at: number }[] = []
  let freeAt = 0
  const drain = () => {
    const [first] = waiting
    if (!first) return
    const early = first.at - performance.now()
    if (early <= 0) {
      waiting.shift()
      if (!socket.destroyed) socket.write(first.data)
      drain()
    } else setTimeout(drain, early)
  }
  return (data) => {
    const { delayMs, bytesPerSecond } = line
    if (delayMs === 0 && bytesPerSecond === Number.POSITIVE_INFINITY && waiting.length === 0) {
      socket.write(data)
      return
    }
    freeAt = Math.max(freeAt, performance.now()) + (1000 * data.length) / bytesPerSecond
    const last = waiting.at(-1)?.at ?? 0
    waiting.push({ data, at: Math.max(last, freeAt + delayMs) })
    if (waiting.length === 1) drain()
  }
}

/** 'A': https://www.postgresql.org/docs/current/protocol-message-formats.html */
const notification = 0x41

/** Of a message from the server: a type, then a length that counts itself. */
function messageLength(data: Buffer): number {
  return data.length < 5 ? Number.POSITIVE_INFINITY : 1 + data.readInt32BE(1)
}
