// The database, with its calls for a session told to whoever subscribes; else each goes straight through.
import { isTraced, type Mutable, type TracedCall, traceCall, tracedOperations } from '../tracing.ts'
import type {
  IncrementArguments,
  IncrementResult,
  PutArguments,
  SaveArguments,
  SaveResult,
  SessionDatabase,
  SessionRow,
} from './row.ts'
import type { Database } from './session-functions.ts'

const { get: gets, save: saves, regenerate: regenerates, destroy: destroys } = tracedOperations
const { put: puts, take: takes, increment: increments } = tracedOperations

/** No layer of promises unless someone listens: one costs a tenth of a read. */
export class TracedSessions implements SessionDatabase {
  readonly #database: Database
  readonly #schema: string

  constructor(database: Database) {
    this.#database = database
    this.#schema = database.schema
  }

  get(key: Buffer, sent?: () => void): Promise<SessionRow | undefined> {
    if (!isTraced(gets)) return this.#database.get(key, sent)
    return traceCall('get', this.#schema, () => this.#database.get(key, sent), describeRow)
  }

  /** One call for one request, which asks about several cookies. */
  getMany(keys: readonly Buffer[]): Promise<(SessionRow | undefined)[]> {
    if (!isTraced(gets)) return this.#database.getMany(keys)
    return traceCall(
      'get',
      this.#schema,
      () => this.#database.getMany(keys),
      (call, rows) => describeRow(call, rows.find(Boolean)),
    )
  }

  save(save: SaveArguments): Promise<SaveResult> {
    if (!isTraced(saves)) return this.#database.save(save)
    return traceCall('save', this.#schema, () => this.#database.save(save), describeResult)
  }

  regenerate(save: SaveArguments, newKey: Buffer): Promise<SaveResult> {
    if (!isTraced(regenerates)) return this.#database.regenerate(save, newKey)
    return traceCall('regenerate', this.#schema, () => this.#database.regenerate(save, newKey), describeResult)
  }

  destroy(key: Buffer, id?: string): Promise<number> {
    if (!isTraced(destroys)) return this.#database.destroy(key)
    return traceCall(
      'destroy',
      this.#schema,
      () => this.#database.destroy(key),
      (call, ended) => {
        call.status = ended > 0 ? 'destroyed' : 'none'
        call.id = id
      },
    )
  }

  limit(userId: string, max: number, except: Buffer): Promise<number> {
    return this.#database.limit(userId, max, except)
  }

  put(put: PutArguments): Promise<SaveResult> {
    if (!isTraced(puts)) return this.#database.put(put)
    return traceCall('put', this.#schema, () => this.#database.put(put), describeResult)
  }

  take(key: Buffer, name: string | null): Promise<string | undefined> {
    if (!isTraced(takes)) return this.#database.take(key, name)
    return traceCall(
      'take',
      this.#schema,
      () => this.#database.take(key, name),
      (call, value) => {
        call.status = value === undefined ? 'none' : 'taken'
      },
    )
  }

  increment(increment: IncrementArguments): Promise<IncrementResult> {
    if (!isTraced(increments)) return this.#database.increment(increment)
    return traceCall(
      'increment',
      this.#schema,
      () => this.#database.increment(increment),
      (call, { status }) => {
        call.status = status
      },
    )
  }
}

function describeRow(call: Mutable<TracedCall>, row: SessionRow | undefined): void {
  call.status = row ? 'found' : 'none'
  call.id = row?.id
}

function describeResult(call: Mutable<TracedCall>, { status, id }: SaveResult): void {
  call.status = status
  call.id = id ?? undefined
}
