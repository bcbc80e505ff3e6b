// Fault experiments: their results, and a server that may be stopped.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as assert from 'uvu/assert'
import { type PostgresServer, startPostgres } from '../../scripts/postgres.ts'
import { serverBin } from '../support/harness.ts'

/** A measurement and the most that it should be; a machine that is busy with other things may take five times as long. */
export interface Figure {
  readonly is: number
  readonly most: number
  /** Default: ms. */
  readonly unit?: string
}

/** Prints the result of an experiment for the table of `npm run faults`, and fails if a figure is far too high. */
export function report(number: string, what: string, text: string, figures: Record<string, Figure> = {}): void {
  const measured = Object.entries(figures)
  const shown = measured.map(
    ([name, { is, most, unit = 'ms' }]) => `${name} ${Math.round(is)} ${unit} (at most ${Math.round(most)})`,
  )
  const isSlow = measured.some(([, { is, most }]) => is > most)
  const verdict = isSlow ? 'held, slower than wanted' : 'held'
  console.log(
    `Fault: ${JSON.stringify({ number, what, figures: [text, ...shown].filter(Boolean).join('; '), verdict })}`,
  )
  for (const [name, { is, most }] of measured) assert.ok(is <= 5 * most, `${number}: ${name} ${Math.round(is)}`)
}

/** Milliseconds until `work` is done. */
export async function duration(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0
}

/** None of these can run on a server that is not ours. */
export const canStartServers: boolean = serverBin !== ''

/** A server of this file's own, which keeps its data and its port when it is stopped and started. */
export class OwnServer {
  readonly #home = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-fault-'))
  readonly #settings: Readonly<Record<string, string>>
  #server: PostgresServer | undefined
  #port: number | undefined

  constructor(settings: Readonly<Record<string, string>> = {}) {
    this.#settings = { fsync: 'off', ...settings }
  }

  get url(): string {
    if (!this.#server) throw new Error('It has never run.')
    return this.#server.url()
  }

  async start(): Promise<void> {
    const port = this.#port === undefined ? {} : { port: this.#port }
    fs.chmodSync(this.#home, 0o755) // the server's user must get in
    this.#server = await startPostgres({
      bin: serverBin,
      home: path.join(this.#home, 'server'),
      settings: this.#settings,
      ...port,
    })
    this.#port = this.#server.port
  }

  async stop(): Promise<void> {
    await this.#server?.stop()
  }

  /** Comes back as a standby, as an old primary does after a failover; `pg_promote()` makes it a primary again. */
  async demote(): Promise<void> {
    await this.stop()
    const data = path.join(this.#home, 'server/data')
    const { uid, gid } = fs.statSync(data)
    fs.writeFileSync(path.join(data, 'standby.signal'), '')
    fs.chownSync(path.join(data, 'standby.signal'), uid, gid)
    await this.start()
  }

  async remove(): Promise<void> {
    await this.stop()
    fs.rmSync(this.#home, { recursive: true, force: true })
  }
}
