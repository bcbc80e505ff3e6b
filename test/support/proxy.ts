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
  const target = new URL(url)
  const sockets = new Set<net.Socket>()
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
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket
        .on('error', () => {})
        .on('close', () => {
          sockets.delete(socket)
          client.destroy()
          upstream.destroy()
        })
    }
    client.on('data', (data) => proxy.isSilent || isCut('call', client) || upstream.write(data))
    client.resume()
    let rest: Buffer = Buffer.alloc(0)
    upstream.on('data', (data: Buffer) => {
      if (proxy.isSilent || isCut('answer', client)) return
      if (held) {
        held.push(() => client.write(data))
        return
      }
      if (!isDeaf && !rewrite) {
        client.write(data)
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

/** 'A': https://www.postgresql.org/docs/current/protocol-message-formats.html */
const notification = 0x41

/** Of a message from the server: a type, then a length that counts itself. */
function messageLength(data: Buffer): number {
  return data.length < 5 ? Number.POSITIVE_INFINITY : 1 + data.readInt32BE(1)
}
