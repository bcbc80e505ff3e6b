// A pooler in as few lines as will do: its clients keep their connection while the server behind is another, or none for a while.
import net from 'node:net'
import pg from 'pg'

export interface Pooler {
  /** Connection string that leads through it. */
  readonly url: string
  /** Ends the connections to the server; those of the clients stay, and are led to one of `url` at their next query. */
  lead(url: string): void
  close(): Promise<void>
}

/** PgBouncer also reports its own number to its clients. */
const processId = 2_000_000_000

export interface PoolerOptions {
  /** Each transaction gets another server connection, as with PgBouncer's pool_mode transaction. Default: false. */
  readonly perTransaction?: boolean
}

/** ReadyForQuery, outside of a transaction. */
const idle = Buffer.from([0x5a, 0, 0, 0, 5, 0x49])

export async function startPooler(target: string, { perTransaction = false }: PoolerOptions = {}): Promise<Pooler> {
  let url = target
  const clients = new Set<net.Socket>()
  const servers = new Set<net.Socket>()
  const server = net.createServer((client) => {
    clients.add(client)
    client.on('error', () => {}).on('close', () => clients.delete(client))
    let upstream: Promise<net.Socket> | undefined
    client.once('data', () => {
      client.write(greeting())
      client.on('data', (data: Buffer) => {
        const answered = (answer: Buffer) => {
          client.write(answer)
          if (!perTransaction || !answer.subarray(-6).equals(idle)) return
          upstream?.then((socket) => socket.destroy()).catch(() => {})
          upstream = undefined
        }
        upstream ??= connect(url, answered).then((socket) => {
          servers.add(socket)
          return socket.on('close', () => {
            servers.delete(socket)
            upstream = undefined
          })
        })
        upstream.then(
          (socket) => socket.write(data),
          () => client.destroy(),
        )
      })
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = Object.assign(new URL(target), { port: String((server.address() as net.AddressInfo).port) })
  return {
    url: through.href,
    lead(next) {
      url = next
      for (const socket of servers) socket.destroy()
    },
    async close() {
      for (const socket of [...clients, ...servers]) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Signs in as node-postgres does, and hands over the socket. */
async function connect(url: string, answered: (data: Buffer) => void): Promise<net.Socket> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  const { stream } = (client as unknown as { connection: { stream: net.Socket } }).connection
  return stream.removeAllListeners('data').on('data', answered)
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html */
function greeting(): Buffer {
  const message = (type: string, body: Buffer) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(4 + body.length)
    return Buffer.concat([Buffer.from(type), length, body])
  }
  const key = Buffer.alloc(8)
  key.writeInt32BE(processId)
  return Buffer.concat([message('R', Buffer.alloc(4)), message('K', key), message('Z', Buffer.from('I'))])
}
