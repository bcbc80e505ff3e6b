// Many sessions at once, by SQL. Session n has a token that both sides can compute: 43 characters of base64url, like a real
// one.
import { createHash } from 'node:crypto'
import type pg from 'pg'
import type { PGStore } from '../../src/index.ts'

export interface Range {
  readonly from: number
  readonly to: number
  /** A Postgres interval; negative for sessions that have expired. Spread over a tenth of itself. */
  readonly expiresIn: string
}

export function tokenOf(number: number): string {
  return createHash('sha256').update(String(number)).digest('base64url')
}

const token = `translate(rtrim(encode(sha256(convert_to(n::text, 'UTF8')), 'base64'), '='), '+/', '-_')`

/** As `exampleValues`, about 350 bytes. */
const data = `jsonb_build_object(
  'user', jsonb_build_object('id', n, 'name', 'user ' || n, 'roles', jsonb_build_array('customer')),
  'csrf', encode(sha256(convert_to('csrf' || n, 'UTF8')), 'hex'),
  'cart', '[{"sku":"tea-0042","count":2},{"sku":"cup-0007","count":1}]'::jsonb,
  'preferences', '{"theme":"dark","language":"en","zone":"Europe/Berlin"}'::jsonb,
  'agent', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  'visits', 0
)`

const expiry = `date_trunc('minute', now() + $3::interval * (0.9 + 0.1 * random()))`

export async function fillSessions(pool: pg.Pool, schema: string, { from, to, expiresIn }: Range): Promise<void> {
  await pool.query(
    `insert into ${schema}.sessions (id, created_at, purge_at, key, data, updated_at, version, expires_at, seen_at)
     select n, now() - interval '1 day', f.expiry, sha256(convert_to(${token}, 'UTF8')), ${data}, now() - interval '1 day', 1, f.expiry, now()
     from generate_series($1::bigint, $2::bigint - 1) as n cross join lateral (select ${expiry} + n * interval '0' as expiry) as f`,
    [from, to, expiresIn],
  )
}

export async function fillPgSimple(pool: pg.Pool, table: string, { from, to, expiresIn }: Range): Promise<void> {
  await pool.query(
    `insert into ${table} (sid, sess, expire)
     select ${token}, (${data} || '{"cookie":{"originalMaxAge":2592000000,"httpOnly":true,"path":"/"}}')::json, ${expiry}
     from generate_series($1::bigint, $2::bigint - 1) as n`,
    [from, to, expiresIn],
  )
}

/** Reads a session of `fillSessions` as a server does: by its cookie, up to its values. */
export async function readFilled(store: PGStore, number: number): Promise<void> {
  const cookie = `sid=${store.codecs[0]?.encode('sid', tokenOf(number))}`
  const found = await store.get({ headers: { cookie } }, 'sid')
  if (!found.values['user']) throw new Error(`session ${number} is empty`)
}
