// A TCP proxy that delays every byte between a client and its server. It keeps their order and limits neither the
// throughput nor the number of connections.
import net from 'node:net'
import { Worker } from 'node:worker_threads'

export interface Distance {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number
  /** Milliseconds there and back, half in each direction. A change affects only bytes that arrive later. */
  roundTripMs: number
  close(): Promise<void>
}

interface Delivery {
  readonly due: number
  readonly deliver: () => void
}

/** A delivery may be this many milliseconds early; it does not wait for the clock once more. */
const mostEarlyMs = 0.03

/** Waking takes a while, so alarms are set early: a step more after a late delivery, a step less after an early one. */
const leadStepMs = 0.004
const mostLeadMs = 0.3

export async function openDistance(host: string, serverPort: number): Promise<Distance> {
  const clock = new AlarmClock(deliverDue)
  // One queue for both directions of all connections: the delay is the same for all, so what comes first is due first.
  let queue: Delivery[] = []
  let lastDue = 0
  let leadMs = 0
  function enqueue(deliver: () => void): void {
    const now = performance.now()
    lastDue = Math.max(lastDue, now + distance.roundTripMs / 2)
    if (lastDue <= now && queue.length === 0) deliver()
    else if (queue.push({ due: lastDue, deliver }) === 1) clock.set(lastDue - leadMs)
  }
  function deliverDue(): void {
    const now = performance.now()
    const firstDue = queue[0]?.due ?? now
    leadMs = Math.min(mostLeadMs, Math.max(0, leadMs + (now > firstDue ? leadStepMs : -leadStepMs)))
    const waiting = queue.findIndex(({ due }) => due > Math.max(now + mostEarlyMs, firstDue))
    const due = waiting < 0 ? queue : queue.slice(0, waiting)
    queue = waiting < 0 ? [] : queue.slice(waiting)
    for (const { deliver } of due) deliver()
    const [next] = queue
    if (next) clock.set(next.due - leadMs)
  }

  const sockets = new Set<net.Socket>()
  function relay(from: net.Socket, to: net.Socket): void {
    sockets.add(from)
    from.setNoDelay(true)
    from.on('data', (data) => enqueue(() => to.write(data)))
    from.on('end', () => enqueue(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => sockets.delete(from))
  }
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    const upstream = net.connect({ port: serverPort, host, allowHalfOpen: true })
    relay(client, upstream)
    relay(upstream, client)
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const distance: Distance = {
    port: (server.address() as net.AddressInfo).port,
    roundTripMs: 0,
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await clock.close()
    },
  }
  return distance
}

/** Waits until `due[0]`, in milliseconds since 1970, or another time if one is set; posts one message when it comes. */
const alarm = `
const { parentPort, workerData: { sets, due } } = require('node:worker_threads')
const now = () => performance.timeOrigin + performance.now()
for (;;) {
  const seen = Atomics.load(sets, 0)
  if (seen < 0) break
  const left = due[0] - now()
  if (left > 0) Atomics.wait(sets, 0, seen, left)
  else {
    due[0] = Infinity
    parentPort.postMessage(0)
  }
}
`

/** Node's timers count whole milliseconds and are up to one late: this one is a tenth late, without busy-waiting. */
class AlarmClock {
  readonly #sets = new Int32Array(new SharedArrayBuffer(4))
  readonly #due = new Float64Array(new SharedArrayBuffer(8)).fill(Number.POSITIVE_INFINITY)
  readonly #worker: Worker

  constructor(ring: () => void) {
    this.#worker = new Worker(alarm, {
      eval: true,
      execArgv: [],
      workerData: { sets: this.#sets, due: this.#due },
    })
    this.#worker.on('message', ring)
    this.#worker.unref()
  }

  /** Rings once, at this time of `performance.now()` or soon after. Set it again only after it has rung. */
  set(due: number): void {
    this.#due[0] = performance.timeOrigin + due
    Atomics.add(this.#sets, 0, 1)
    Atomics.notify(this.#sets, 0)
  }

  async close(): Promise<void> {
    Atomics.store(this.#sets, 0, -1)
    Atomics.notify(this.#sets, 0)
    await this.#worker.terminate()
  }
}
