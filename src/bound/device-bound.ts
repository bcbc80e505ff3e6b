// Sessions bound to a device (DBSC): the path where a browser registers its key, and proves later on that it still has it.
// https://w3c.github.io/webappsec-dbsc/ and, for what Chromium does beyond it, docs/device-bound-sessions.md.

import type { Codec } from '../cookie/codec.ts'
import type { RequestLike } from '../cookie/cookie-header.ts'
import { type Cookie, defaultCookieOptions, type SessionOptions } from '../cookie/cookie-options.ts'
import type { Refusals } from '../cookie/refusals.ts'
import { readTokens } from '../cookie/token-cookie.ts'
import type { Binding, BoundDatabase } from '../database/bound-functions.ts'
import { sessionKey } from '../session/token.ts'
import { type DeviceBoundSettings, firstSeconds } from './bound-options.ts'
import { cookieDigest, cookieHash } from './bound-secrets.ts'
import { isProven, parseProof } from './proof.ts'

/** How long a registration may take, in seconds. */
const registrationSeconds = 300

const attributes: SessionOptions = { ...defaultCookieOptions, path: '/', httpOnly: true, secure: true, sameSite: 'lax' }

/** A request, as far as the handler reads it. */
export interface BoundRequest {
  readonly cookies: RequestLike
  /** '' if there is none. */
  readonly header: (name: string) => string
}

export interface BoundAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly cookie?: Cookie
}

export class DeviceBound {
  readonly settings: DeviceBoundSettings
  readonly #database: BoundDatabase
  readonly #codecs: readonly Codec[]
  readonly #refusals: Refusals
  readonly #lifetime: number | null

  /** @param lifetime seconds, of a session */
  constructor(
    settings: DeviceBoundSettings,
    database: BoundDatabase,
    store: { readonly codecs: readonly Codec[]; readonly refusals: Refusals; readonly lifetime: number | null },
  ) {
    this.settings = settings
    this.#database = database
    this.#codecs = store.codecs
    this.#refusals = store.refusals
    this.#lifetime = store.lifetime
  }

  /** The header that asks the browser to bind this session. */
  registration(id: string): string {
    return `(ES256);path="${this.settings.path}";challenge="${this.settings.secrets.challenge(id, '')}"`
  }

  /** What to answer a POST to our path; undefined to break the connection off, after which the browser comes again. */
  async answer(request: BoundRequest): Promise<BoundAnswer | undefined> {
    if (/^(cross-site|same-site)$/.test(request.header('sec-fetch-site'))) return refusal(400)
    const id = request.header('sec-secure-session-id').replace(/^"(.*)"$/, '$1')
    const proof = request.header('secure-session-response')
    if (id === '') return await this.#register(request, proof)
    return /^\d{1,19}$/.test(id) ? await this.#refresh(request, id, proof) : refusal(400)
  }

  async #register({ cookies }: BoundRequest, response: string): Promise<BoundAnswer> {
    const { secrets } = this.settings
    const proof = parseProof(response)
    const publicKey = proof?.publicKey
    if (!proof || !publicKey || !isProven(proof, publicKey)) return refusal(400)
    const id = secrets.challengedId(proof.challenge, '', registrationSeconds)
    if (id === undefined) return refusal(400)
    const cookie = secrets.firstCookie(id, `${publicKey.toString('hex')}|${proof.challenge}`)
    const hash = cookieHash(cookie)
    for (const { token } of readTokens(cookies, this.settings.name, this.#codecs, this.#refusals)) {
      const status = await this.#database.bind(sessionKey(token), id, publicKey, 'ES256', hash)
      if (status === 'bound') return this.#bound(id, cookie, hash.toString('hex'), firstSeconds)
      if (status === 'taken') return refusal(409)
    }
    return refusal(400)
  }

  async #refresh({ cookies }: BoundRequest, id: string, response: string): Promise<BoundAnswer | undefined> {
    for (const { token } of readTokens(cookies, this.settings.name, this.#codecs, this.#refusals)) {
      const key = sessionKey(token)
      const binding = await this.#database.binding(key)
      if (binding === 'moved') return undefined // the new token is on its way
      if (binding !== 'gone' && binding.id === id) return await this.#prove(key, binding, response)
    }
    return ended(id)
  }

  async #prove(key: Buffer, binding: Binding, response: string): Promise<BoundAnswer> {
    const { id, boundHash, previousHash } = binding
    const { secrets, maxAge, grace } = this.settings
    if (response === '') return this.#challenge(id, boundHash)
    const proof = parseProof(response)
    if (!proof) return refusal(400)
    if (!isProven(proof, Buffer.from(binding.publicKey, 'hex'))) {
      await this.#database.endStolen(key)
      return ended(id)
    }
    const isAt = (hash: string) => secrets.challengedId(proof.challenge, hash, 2 * (maxAge + grace)) === id
    if (isAt(boundHash)) {
      const cookie = secrets.cookieAfter(id, boundHash)
      const { status, ...held } = await this.#database.rebind(
        key,
        Buffer.from(boundHash, 'hex'),
        cookieHash(cookie),
        maxAge,
        this.#lifetime,
      )
      if (status === 'gone') return ended(id)
      if (status === 'rebound') return this.#bound(id, cookie, cookieDigest(cookie), maxAge)
      return this.#again(id, held.boundHash, held.previousHash)
    }
    // The answer to this proof was lost, or another of the same time was faster.
    if (previousHash !== null && isAt(previousHash)) return this.#again(id, boundHash, previousHash)
    return this.#challenge(id, boundHash) // one from before that: a race, as the signature is right
  }

  /** The cookie that holds, once more; where it cannot be made again, as the key was changed, another proof is asked for. */
  #again(id: string, boundHash: string | null, previousHash: string | null): BoundAnswer {
    if (boundHash === null) return ended(id)
    const cookie = previousHash === null ? undefined : this.settings.secrets.cookieWith(boundHash, id, previousHash)
    return cookie === undefined
      ? this.#challenge(id, boundHash)
      : this.#bound(id, cookie, boundHash, this.settings.maxAge)
  }

  #bound(id: string, value: string, hash: string, maxAge: number): BoundAnswer {
    const { path, cookie: name, secrets } = this.settings
    const instructions = {
      session_identifier: id,
      refresh_url: path,
      scope: { include_site: false, scope_specification: [] },
      credentials: [{ type: 'cookie', name, attributes: 'Path=/; HttpOnly; Secure; SameSite=Lax' }],
    }
    return {
      status: 200,
      headers: { ...json, 'Secure-Session-Challenge': challengeHeader(secrets.challenge(id, hash), id) },
      body: JSON.stringify(instructions),
      cookie: { name, value, options: attributes, maxAge },
    }
  }

  #challenge(id: string, boundHash: string): BoundAnswer {
    const challenge = challengeHeader(this.settings.secrets.challenge(id, boundHash), id)
    return { status: 403, headers: { ...plain, 'Secure-Session-Challenge': challenge }, body: '' }
  }
}

const plain = { 'Cache-Control': 'no-store' }
const json = { 'Content-Type': 'application/json', ...plain }

function challengeHeader(challenge: string, id: string): string {
  return `"${challenge}";id="${id}"`
}

/** The browser forgets its key. */
function ended(id: string): BoundAnswer {
  return { status: 200, headers: json, body: JSON.stringify({ session_identifier: id, continue: false }) }
}

function refusal(status: 400 | 409): BoundAnswer {
  return { status, headers: plain, body: '' }
}
