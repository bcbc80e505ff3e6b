// Ending in time even if a server does not respond: waits with a limit, and sockets that can be cut.
import { Socket } from 'node:net'

/** Waits for `work`, for at most `ms` milliseconds. It may continue afterwards; its failure is ignored. */
export async function atMost(ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  // The timer keeps the process alive: one that ran out of work while it waits here would end with code 13.
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  await Promise.race([work?.catch(() => {}), limit])
  clearTimeout(timer)
}

/** The sockets of a node-postgres client or pool. */
export class Sockets {
  readonly #open = new Set<Socket>()
  #areCut = false

  /** For the option `stream`. Throws once they have been cut, which ends any further attempt to connect. */
  readonly create = (): Socket => {
    if (this.#areCut) throw new Error('closed')
    const socket = new Socket()
    this.#open.add(socket)
    return socket.once('close', () => this.#open.delete(socket))
  }

  /** Destroys all of them, connected or connecting, without telling the server. */
  cut(): void {
    this.#areCut = true
    for (const socket of this.#open) socket.destroy()
  }
}
