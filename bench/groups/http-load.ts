// The visitors of group `http`, in a separate process: keep-alive connections with one request in flight on each. Raw
// sockets, because Node's own HTTP client takes longer to ask than most servers take to respond.
import net from 'node:net'
import { Latencies, type Percentiles } from '../measure.ts'

/** What the parent asks for. */
export interface Load {
  readonly port: number
  readonly path: string
  /** Each visitor's Cookie header; '' for none. */
  readonly cookies: readonly string[]
  readonly callers: number
  readonly seconds: number
}

export interface LoadResult extends Percentiles {
  readonly operations: number
  readonly seconds: number
}

async function run({ port, path, cookies, callers, seconds }: Load): Promise<LoadResult> {
  const latencies = new Latencies()
  const requests = cookies.map((cookie) =>
    Buffer.from(`GET ${path} HTTP/1.1\r\nHost: bench\r\n${cookie ? `Cookie: ${cookie}\r\n` : ''}\r\n`, 'latin1'),
  )
  const start = performance.now()
  const end = start + seconds * 1000
  await Promise.all(
    Array.from({ length: callers }, async () => await visit(port, requests, end, (ms) => latencies.add(ms))),
  )
  return {
    operations: latencies.count,
    seconds: (performance.now() - start) / 1000,
    ...latencies.percentiles(),
  }
}

/** One connection. Every response must be a 200 with a whole body. */
function visit(port: number, requests: readonly Buffer[], end: number, done: (ms: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1')
    let at = 0
    let received = ''
    const ask = (): void => {
      at = performance.now()
      if (at >= end) {
        socket.destroy()
        resolve()
      } else socket.write(requests[Math.floor(Math.random() * requests.length)] as Buffer)
    }
    socket.setNoDelay(true).setEncoding('latin1')
    socket.on('connect', ask).on('error', reject)
    socket.on('close', () => reject(new Error('The server closed a connection.')))
    socket.on('data', (chunk: string) => {
      received = received === '' ? chunk : received + chunk
      const head = received.indexOf('\r\n\r\n')
      if (head < 0) return
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(received)?.[1])
      if (received.length < head + 4 + length) return
      if (!received.startsWith('HTTP/1.1 200') || length === 0) reject(new Error(received.slice(0, 200)))
      received = ''
      done(performance.now() - at)
      ask()
    })
  })
}

process.on('message', (load: Load) => {
  run(load).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      console.error(error)
      process.exit(1)
    },
  )
})
process.once('disconnect', () => process.exit())
