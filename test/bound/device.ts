// A browser with a key in software: what Chromium does for a bound session, as far as a server sees it, and what a thief may try.
import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { PGStore, Session } from '../../src/index.ts'
import { row, TestResponse, Visitor } from '../support/harness.ts'

export const cookieName = '__Host-sid-b'
const url = 'https://example.org/device-bound'

/** What the server answered, and what of it counts. */
export interface Answer {
  readonly status: number
  readonly body: { readonly session_identifier?: string; readonly continue?: boolean }
  readonly challenge: string
  readonly cookies: readonly string[]
}

export class Device extends Visitor {
  readonly store: PGStore
  #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  id = ''
  challenge = ''

  constructor(store: PGStore) {
    super()
    this.store = store
  }

  get key(): KeyObject {
    return this.#keys.privateKey
  }

  get jwk(): object {
    const { kty, crv, x, y } = this.#keys.publicKey.export({ format: 'jwk' })
    return { kty, crv, x, y }
  }

  /** A browser of the same cookies, and of another key. */
  thief(): Device {
    const thief = new Device(this.store)
    for (const [name, value] of this.jar) thief.jar.set(name, value)
    thief.id = this.id
    thief.challenge = this.challenge
    return thief
  }

  /** Returns the challenge of the registration that the answer asks for. */
  async signIn(userId = 'ann'): Promise<string> {
    const { res } = await this.visit(this.store, async (session, req, res) => {
      session.userId = userId
      await this.store.regenerate(req, res, session, { signIn: true })
    })
    const header = String(res.getHeader('secure-session-registration') ?? '')
    return /^\(ES256\);path="\/device-bound";challenge="([^"]+)"$/.exec(header)?.[1] ?? ''
  }

  async session(): Promise<Session> {
    return await this.store.get(this.request(), 'sid')
  }

  async post(headers: Readonly<Record<string, string>>, keep = true): Promise<Answer> {
    const { cookie = '' } = this.request().headers
    const request = new Request(url, { method: 'POST', headers: { ...headers, cookie } })
    const response = await this.store.deviceBound(request)
    if (!response) throw new Error('Not answered.')
    const text = await response.text()
    const cookies = response.headers.getSetCookie()
    const challenge = /^"([^"]+)";id="\d+"$/.exec(response.headers.get('secure-session-challenge') ?? '')?.[1] ?? ''
    const answer = { status: response.status, body: text === '' ? {} : JSON.parse(text), challenge, cookies }
    if (keep) this.take(answer)
    return answer
  }

  /** What a browser keeps of an answer that arrives. */
  take({ body, challenge, cookies }: Answer): void {
    if (body.session_identifier !== undefined) this.id = body.continue === false ? '' : body.session_identifier
    if (challenge !== '') this.challenge = challenge
    const res = new TestResponse()
    res.setHeader('set-cookie', cookies)
    this.receive(res)
  }

  async register(challenge: string, keep = true): Promise<Answer> {
    return await this.post({ 'secure-session-response': proofOf(this.key, challenge, { jwk: this.jwk }) }, keep)
  }

  /** Without a challenge at hand it asks for one first. */
  async refresh({
    keep = true,
    challenge = this.challenge,
  }: {
    keep?: boolean
    challenge?: string
  } = {}): Promise<Answer> {
    const id = { 'sec-secure-session-id': this.id }
    let asked = challenge
    if (asked === '') asked = (await this.post(id, keep)).challenge
    const answer = await this.post({ ...id, 'secure-session-response': proofOf(this.key, asked) }, keep)
    if (answer.status !== 403 || answer.challenge === '') return answer
    return await this.post({ ...id, 'secure-session-response': proofOf(this.key, answer.challenge) }, keep)
  }

  get boundCookie(): string | undefined {
    return this.jar.get(cookieName)
  }
}

/** As if so many seconds had passed since anything was done with this session's binding. */
export async function later(id: string, seconds: number): Promise<void> {
  await row(
    `with moved as (
       update pgstore.bindings set
         created_at = created_at - $2 * interval '1 second',
         refreshed_at = refreshed_at - $2 * interval '1 second',
         previous_until = previous_until - $2 * interval '1 second',
         noted_at = noted_at - $2 * interval '1 second'
       where session_id = $1
     )
     update pgstore.sessions set bound_until = bound_until - $2 * interval '1 second' where id = $1 returning id`,
    id,
    seconds,
  )
}

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** @param head over alg and typ */
export function proofOf(key: KeyObject, challenge: unknown, head: object = {}): string {
  const signed = `${part({ alg: 'ES256', typ: 'dbsc+jwt', ...head })}.${part({ jti: challenge })}`
  const signature = createSign('sha256').update(signed).sign({ key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}
