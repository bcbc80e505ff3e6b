// Pages that change by themselves: each open page is a stream of server-sent events.
import type { ServerResponse } from 'node:http'
import type { PGStore } from 'pgstore'
import type { Html } from './html.ts'
import type { Rows, SessionRow } from './rows.ts'

/** Parts of the page, by their names. */
export type Parts = Readonly<Record<string, Html>>

export type RenderParts = (row: SessionRow) => Promise<Parts>

interface Watcher {
  readonly res: ServerResponse
  readonly id: string
  /** What its page shows by now. */
  readonly shown: Map<string, string>
  /** The row as it was last looked at. */
  row: string
  /** Since when there is none, in milliseconds. */
  missingSince: number | undefined
}

/** Nobody announces what is written with psql, nor what expires: once a second the rows are looked at. */
const lookMs = 1000

export class Live {
  readonly #watchers = new Set<Watcher>()
  readonly #rows: Rows
  readonly #render: RenderParts
  readonly #clock: NodeJS.Timeout
  #isLooking = false
  #isRung = false

  constructor(store: PGStore<object>, rows: Rows, render: RenderParts) {
    this.#rows = rows
    this.#render = render
    this.#clock = setInterval(() => void this.#look(), lookMs)
    void this.#hear(store)
  }

  get isWatched(): boolean {
    return this.#watchers.size > 0
  }

  /**
   * Keeps this page up to date until it is closed or its session ends.
   *
   * @param id the session's; undefined if it has ended already
   */
  watch(res: ServerResponse, id: string | undefined): void {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' })
    if (id === undefined) {
      write(res, 'ended', {})
      res.end()
      return
    }
    const watcher: Watcher = { res, id, shown: new Map(), row: '', missingSince: undefined }
    this.#watchers.add(watcher)
    res.on('close', () => this.#watchers.delete(watcher))
    this.ring() // now that an end would be heard: it may have come in between
  }

  /** A doorbell: something may have changed. What, is for the table to say. */
  ring(): void {
    this.#isRung = true
    void this.#look()
  }

  /** To all pages. */
  send(event: string, data: unknown): void {
    for (const { res } of this.#watchers) write(res, event, data)
  }

  close(): void {
    clearInterval(this.#clock)
    for (const { res } of this.#watchers) res.end()
  }

  async #hear(store: PGStore<object>): Promise<void> {
    // #region events
    for await (const event of store.events()) {
      if (event.type === 'destroyed' || event.type === 'revoked') {
        for (const id of event.ids) this.#end(id, event.reason)
      }
      this.ring() // new devices, new keys: read the rows
    }
    // #endregion
  }

  #end(id: string, reason?: string): void {
    for (const watcher of this.#watchers) {
      if (watcher.id !== id) continue
      write(watcher.res, 'ended', { reason })
      watcher.res.end()
      this.#watchers.delete(watcher)
    }
  }

  async #look(): Promise<void> {
    if (this.#isLooking) return
    this.#isLooking = true
    do {
      const isRung = this.#isRung
      this.#isRung = false
      const watchers = [...this.#watchers]
      try {
        const found = watchers.length > 0 ? await this.#rows.find(watchers.map(({ id }) => id)) : new Map()
        await Promise.all(watchers.map((watcher) => this.#update(watcher, found.get(watcher.id), isRung)))
      } catch {
        for (const watcher of watchers) watcher.row = '' // the database is away: the next look shows everything
      }
    } while (this.#isRung)
    this.#isLooking = false
  }

  async #update(watcher: Watcher, row: SessionRow | undefined, isRung: boolean): Promise<void> {
    const { res, id, shown } = watcher
    if (!row) {
      // What ended it, if it did not expire, is announced in a moment, and says why.
      watcher.missingSince ??= performance.now()
      if (performance.now() - watcher.missingSince > lookMs) this.#end(id)
      return
    }
    const seen = JSON.stringify(row)
    if (watcher.row === seen && !isRung) return
    watcher.row = seen
    for (const [name, { text }] of Object.entries(await this.#render(row))) {
      if (shown.get(name) === text) continue
      shown.set(name, text)
      write(res, 'part', { name, text })
    }
  }
}

function write(res: ServerResponse, event: string, data: unknown): void {
  if (!res.writableEnded) res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}
