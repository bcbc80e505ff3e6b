// The client of release 0.1.0, as far as its calls go: its statements word for word, prepared on connections that stay. They are kept
// here since a checkout need not have the history. A newer release's schema must go on answering them.
import { createHash, randomBytes } from 'node:crypto'
import pg from 'pg'
import type { Codec } from '../../src/index.ts'
import type { Answer, Asked, History, Place, Values } from './history.ts'

const session =
  "id, user_id, data, version, label, to_json(tags), encode(array_send(array[created_at, updated_at, expires_at, seen_at, statement_timestamp(), signed_in_at]), 'hex')"
const result = "status, id, version, data, encode(array_send(array[statement_timestamp(), expires_at]), 'hex')"

type Name =
  | 'get'
  | 'getMany'
  | 'save'
  | 'saveMany'
  | 'regenerate'
  | 'put'
  | 'destroy'
  | 'destroyMany'
  | 'list'
  | 'revoke'
  | 'revokeTag'
  | 'limit'
  | 'announcementNumber'

/** By the name under which each is prepared. */
const statements: Readonly<Record<Name, string>> = {
  get: `select ${session} from pgstore.session_get($1::bytea)`,
  getMany: `select ${session}, encode(key, 'hex') from pgstore.session_get($1::bytea[])`,
  save: `select ${result} from pgstore.session_save($1::bytea, $2::jsonb, $3::text[], $4::interval, $5::integer, $6::text, $7::integer, $8::interval, $9::jsonb, $10::text[], $11::boolean, $12::boolean)`,
  saveMany: `select ${result}, encode(key, 'hex') from pgstore.session_save($1::bytea[], $2::jsonb[], $3::jsonb[], $4::interval[], $5::integer[], $6::text[], $7::integer, $8::interval, $9::boolean)`,
  regenerate: `select ${result} from pgstore.session_regenerate($1::bytea, $2::bytea, $3::interval, $4::text, $5::interval, $6::jsonb, $7::text[], $8::integer, $9::integer, $10::jsonb, $11::text[])`,
  put: `select ${result} from pgstore.session_put($1::bytea, $2::jsonb, $3::interval, $4::text, $5::integer, $6::interval)`,
  destroy: 'select session_destroy from pgstore.session_destroy($1::bytea)',
  destroyMany: "select encode(key, 'hex'), status from pgstore.session_try_destroy($1::bytea[])",
  list: `select ${session} from pgstore.session_list($1::text, $2::boolean)`,
  revoke: 'select session_revoke from pgstore.session_revoke($1::text, $2::bigint, $3::bytea, $4::text)',
  revokeTag: 'select session_revoke_tag from pgstore.session_revoke_tag($1::text, $2::bytea, $3::text)',
  limit: 'select session_limit from pgstore.session_limit($1::text, $2::integer, $3::bytea)',
  announcementNumber: 'select announcement_number from pgstore.announcement_number()',
}

const month = '2592000 seconds'
const lifetime = '7776000 seconds'

export class FormerClient {
  readonly #pool: pg.Pool
  /** Calls of visits that were running while the function that they called was replaced: this release's client sends those again. */
  interrupted = 0

  constructor(connectionString: string) {
    this.#pool = new pg.Pool({ connectionString, max: 4 })
    this.#pool.on('error', () => {})
  }

  async run(name: Name, values: unknown[]): Promise<(string | null)[][]> {
    const query = { name: `former_${name}`, text: statements[name], values, rowMode: 'array' as const }
    return (await this.#pool.query(query)).rows
  }

  async save(key: Buffer, set: object, version: number | null): Promise<string | null | undefined> {
    const values = [key, JSON.stringify(set), [], month, version, null, 4096, lifetime, null, null, false, false]
    return (await this.run('save', values))[0]?.[0]
  }

  /** Each statement once, with new sessions; fails where an answer is not what 0.1.0's client expects. */
  async everything(): Promise<readonly string[]> {
    const wrong: string[] = []
    const expect = (what: string, is: unknown, wanted: unknown) => {
      if (String(is) !== String(wanted)) wrong.push(`${what}: ${String(is)}, not ${String(wanted)}`)
    }
    const key = () => randomBytes(32)
    const [one, two, three, moved] = [key(), key(), key(), key()]
    const user = `former ${one.toString('hex')}`
    expect('save', await this.save(one, { a: 1 }, 0), 'saved')
    const many = await this.run('saveMany', [
      [two, three],
      ['{"b": 2}', '{"c": 3}'],
      [null, null],
      [month, month],
      [0, 0],
      [user, user],
      4096,
      lifetime,
      false,
    ])
    expect(
      'saveMany',
      many.map(([status]) => status),
      'saved,saved',
    )
    const [row = []] = await this.run('get', [one])
    expect('get', [row.length, JSON.stringify(row[2]), row[3]], '7,{"a":1},1')
    expect('getMany', (await this.run('getMany', [[one, two, key()]])).length, 2)
    const regenerated = await this.run('regenerate', [
      one,
      moved,
      month,
      user,
      lifetime,
      '{"d": 4}',
      [],
      4096,
      null,
      null,
      null,
    ])
    expect('regenerate', regenerated[0]?.[0], 'saved')
    expect('put', (await this.run('put', [key(), '{"e": 5}', month, user, 4096, lifetime]))[0]?.[0], 'saved')
    expect('list', (await this.run('list', [user, true])).length, 4)
    expect('limit', (await this.run('limit', [user, 3, moved]))[0]?.[0], 1)
    expect(
      'destroyMany',
      (await this.run('destroyMany', [[moved, key()]])).filter(([, status]) => status === 'destroyed').length,
      1,
    )
    expect('destroy', (await this.run('destroy', [key()]))[0]?.[0], 0)
    expect('revoke', Number((await this.run('revoke', [user, null, null, null]))[0]?.[0]) > 0, true)
    expect('revokeTag', (await this.run('revokeTag', ['none', null, null]))[0]?.[0], 0)
    expect('announcementNumber', Number((await this.run('announcementNumber', []))[0]?.[0]) > 0, true)
    return wrong
  }

  /** One visit to a session that clients of the newer release visit too. */
  async visit({ session: name, token, visitor }: Place, codec: Codec, history: History, set: Values): Promise<void> {
    const text = codec.decode('sid', visitor.jar.get('sid') ?? '') ?? ''
    const key = createHash('sha256').update(text).digest()
    const ask = async (asked: Asked, work: () => Promise<Answer | Values>): Promise<void> => {
      const call = history.begin(asked)
      const answer = await work().catch((error) => {
        if (!(error as Error).message.startsWith('cache lookup failed for function')) throw error
        this.interrupted++ // rolled back
        return 'refused' as const
      })
      if (typeof answer === 'string') history.end(call, answer)
      else history.end(call, 'ok', answer)
    }
    await ask({ session: name, kind: 'read', token }, async () => {
      const [row] = await this.run('get', [key])
      return row ? (row[2] as unknown as Values) : 'gone'
    })
    await ask({ session: name, kind: 'save', token, set }, async () => {
      const status = await this.save(key, set, null)
      if (status !== 'saved' && status !== 'gone') throw new Error(`The save was ${status}.`)
      return status === 'saved' ? 'ok' : 'gone'
    })
  }

  async end(): Promise<void> {
    await this.#pool.end()
  }
}
