// One channel on several databases, the partitions behind a proxy, heard as one: a NOTIFY stays in the database that sends it.
import { ChannelListener, type ListenConnection } from './listen.ts'

export interface Tap {
  /** @param place which connection it came by, counted from 0 */
  notified(payload: unknown, place: number): void
  /** LISTEN is in force on all connections, at first and after each outage of one of them. */
  connected(): void
  /** One of the connections has ended, or is given up. */
  lost(): void
}

/** A listener for each connection; connected while all are. */
export class ChannelListeners {
  readonly #listeners: readonly ChannelListener[]

  /** Connects in the background. */
  constructor(connections: readonly ListenConnection[], channel: string, tap: Tap) {
    const connected = new Set<number>()
    this.#listeners = connections.map(
      (connection, place) =>
        new ChannelListener(connection, channel, {
          notified: (payload) => tap.notified(payload, place),
          connected: () => {
            connected.add(place)
            if (connected.size === connections.length) tap.connected()
          },
          lost: () => {
            connected.delete(place)
            tap.lost()
          },
        }),
    )
  }

  /** Resolves when all servers have answered on the connections that listen; rejects when one does not. */
  async ping(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.ping()))
  }

  async close(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.close()))
  }
}
