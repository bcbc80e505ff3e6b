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

/**
 * Takes the headers of what a handler saves or ends itself, before its response; what a stream saves later is too late for a
 * cookie. Those against caches are written to every response.
 */
export class EarlyHeaders implements NodeResponseLike {
  headersSent = false
  #cookies: readonly string[] = []
  #clearSiteData = ''

  getHeader(name: string): string | readonly string[] | undefined {
    const isCookie = name.toLowerCase() === 'set-cookie'
    return isCookie ? this.#cookies : name.toLowerCase() === 'clear-site-data' ? this.#clearSiteData : undefined
  }

  setHeader(name: string, value: string | readonly string[]): void {
    if (name.toLowerCase() === 'set-cookie') this.#cookies = [value].flat()
    if (name.toLowerCase() === 'clear-site-data') this.#clearSiteData = String(value)
  }

  /** A copy of the response, with these headers. */
  addTo(response: Response): Response {
    const answer = copyResponse(response)
    for (const line of this.#cookies) answer.headers.append('set-cookie', line)
    if (this.#clearSiteData) answer.headers.set('clear-site-data', this.#clearSiteData)
    return answer
  }
}
