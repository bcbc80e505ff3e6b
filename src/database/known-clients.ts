// What is known of a connection: checked at its first use, and behind a pooler again from time to time.
import { PGStoreError } from '../errors.ts'
import { type ArrayQuery, standbyError } from './pool.ts'

export interface Client {
  readonly processID?: number | null
  query(query: object): unknown
  on(event: 'error', listener: () => void): unknown
  release(error?: Error | boolean): void
}

export interface KnownClient {
  /** It leads directly to Postgres: a pooler, which may lend it to many, reports another process number. */
  readonly isDirect: boolean
  /** Statements prepared here by name were not there later. */
  losesNames: boolean
  askedAt: number
  readonly generation: number
}

/** A pooler may reach another server from one transaction to the next. */
const askAgainMs = 5000

/** A read-only database, where every write fails, must not cost all connections each time. */
const retireAgainMs = 1000

const bytes = Buffer.from([0x61, 0, 0x62])
const question: ArrayQuery = {
  text: `select pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery(), pg_catalog.encode($1::pg_catalog.bytea, 'hex')`,
  values: [bytes],
  rowMode: 'array',
  types: { getTypeParser: () => (text) => text },
}

/** The clients of a pool, shared by all stores that use it. */
export class KnownClients {
  readonly #known = new WeakMap<Client, KnownClient>()
  #generation = 0
  #retiredAt = Number.NEGATIVE_INFINITY

  /** What is known, without a query; undefined when it is time to check. */
  get(client: Client, now: number): KnownClient | undefined {
    const known = this.#known.get(client)
    if (known === undefined || known.isDirect || this.isRetired(known)) return known
    return now - known.askedAt > askAgainMs ? undefined : known
  }

  /** Whether it must be replaced: it was used before the server turned out to be read-only, or fell silent. */
  isRetired({ generation }: KnownClient): boolean {
    return generation !== this.#generation
  }

  /** Every client known so far is replaced before its next use. */
  retire(): void {
    const now = performance.now()
    if (now - this.#retiredAt < retireAgainMs) return
    this.#retiredAt = now
    this.#generation++
  }

  /**
   * @param ask sends the question over this client
   * @throws {PGStoreError} `unavailable` for a standby; `invalid_option` for a client that cannot carry our calls
   */
  async meet(client: Client, ask: (question: ArrayQuery) => Promise<unknown[]>): Promise<KnownClient> {
    const before = this.#known.get(client)
    const [row] = (await ask(question)) as [[string, string, string]]
    const [pid, isStandby, hex] = row
    if (hex !== bytes.toString('hex') || !['t', 'f'].includes(isStandby)) {
      throw new PGStoreError(
        'invalid_option',
        "The pool's client does not carry bytes and text unchanged: use pg.Pool.",
      )
    }
    if (isStandby === 't') {
      if (before) this.retire() // the server behind the pooler has changed, for the other clients too
      throw standbyError()
    }
    const known = before ?? {
      isDirect: Number(pid) === client.processID,
      losesNames: false,
      askedAt: 0,
      generation: this.#generation,
    }
    known.askedAt = performance.now()
    this.#known.set(client, known)
    return known
  }
}
