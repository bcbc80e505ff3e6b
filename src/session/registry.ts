// Each session once per request: a second read gets the same object.
import { checkRequest } from '../cookie/cookie-header.ts'
import { attachment } from './attachment.ts'

/**
 * A list, one entry per name: there is hardly ever a second, and a Map costs as much as everything else kept while a read
 * waits.
 */
interface Registered<Session> {
  readonly name: string
  readonly session: Promise<Session>
  isLost: boolean
  readonly next: Registered<Session> | undefined
}

export class Registry<Session> {
  readonly #sessions = attachment<Registered<Session>>()

  /** What this request already has under the name, or what `store` reads. A read that failed is not remembered. */
  async get<Request extends object>(
    store: { new: (req: Request, name: string) => Promise<Session> },
    req: Request,
    name: string,
  ): Promise<Session> {
    checkRequest(req)
    const first = this.#sessions.get(req)
    let found = named(first, name)
    if (!found) {
      found = { name, session: store.new(req, name), isLost: false, next: first }
      this.#sessions.set(req, found)
    }
    try {
      return await found.session
    } catch (error) {
      found.isLost = true // the next get reads again
      throw error
    }
  }

  /** What this request already has under the name. */
  find(req: object, name: string): Promise<Session> | undefined {
    checkRequest(req)
    return named(this.#sessions.get(req), name)?.session
  }
}

function named<Session>(first: Registered<Session> | undefined, name: string): Registered<Session> | undefined {
  let found = first
  while (found && (found.name !== name || found.isLost)) found = found.next
  return found
}
