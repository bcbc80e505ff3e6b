// A copy of a fetch response, for headers of one visitor: a handler may give the same response to all, or one of fetch(), whose
// headers cannot be changed.

/** What a fetch() has decoded of the body that it gives on: all that Node, Deno and Bun know. */
const decoded = /^(gzip|x-gzip|deflate|br)(,\s*(gzip|x-gzip|deflate|br))*$/i

export function copyResponse(response: Response): Response {
  const copy = new Response(response.body, response)
  // The body of a fetch() is no longer in the encoding that its headers name, and is of another length. https://fetch.spec.whatwg.org/#concept-http-network-fetch
  if (decoded.test(copy.headers.get('content-encoding') ?? '') && isImmutable(response)) {
    copy.headers.delete('content-encoding')
    copy.headers.delete('content-length')
  }
  return copy
}

function isImmutable({ headers }: Response): boolean {
  try {
    headers.delete('x-pgstore-probe')
    return false
  } catch {
    return true
  }
}
