// A copy of a fetch response, for headers of one visitor: a handler may give the same response to all, or one of fetch(), whose
// headers cannot be changed.

import type { NodeResponseLike } from '../cookie/response.ts'

/** What a fetch() has decoded of the body that it gives on: all that Node, Deno and Bun know. */
const decoded = /^(gzip|x-gzip|deflate|br)(,\s*(gzip|x-gzip|deflate|br))*$/i

export function copyResponse(response: Response): Response {
  const copy = new Response(response.body, response)
  // Only what a fetch() answered has a url. Its body is no longer in the encoding that its headers name, nor of that length:
  // https://fetch.spec.whatwg.org/#concept-http-network-fetch
  if (response.url !== '' && decoded.test(copy.headers.get('content-encoding') ?? '')) {
    copy.headers.delete('content-encoding')
    copy.headers.delete('content-length')
  }
  return copy
}

/** Of what is saved or ended before the response, besides its cookies. */
export const earlyHeaders: readonly string[] = ['clear-site-data', 'secure-session-registration']

/**
 * Takes the headers of what a handler saves or ends itself, before its response; what a stream saves later is too late for a
 * cookie. Those against caches are written to every response.
 */
export class EarlyHeaders implements NodeResponseLike {
  headersSent = false
  #cookies: readonly string[] = []
  readonly #others = new Map<string, string>()

  getHeader(name: string): string | readonly string[] | undefined {
    const isCookie = name.toLowerCase() === 'set-cookie'
    return isCookie ? this.#cookies : this.#others.get(name.toLowerCase())
  }

  setHeader(name: string, value: string | readonly string[]): void {
    if (name.toLowerCase() === 'set-cookie') this.#cookies = [value].flat()
    if (earlyHeaders.includes(name.toLowerCase())) this.#others.set(name.toLowerCase(), String(value))
  }

  /** A copy of the response, with these headers. */
  addTo(response: Response): Response {
    const answer = copyResponse(response)
    for (const line of this.#cookies) answer.headers.append('set-cookie', line)
    for (const [name, value] of this.#others) answer.headers.set(name, value)
    return answer
  }
}
