// The end of a response under express-session. It saves from within `res.end`, and while it waits for the store it sends the
// headers and all of the body but the last byte: a browser that follows a redirect at its headers is then faster than the save.
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { attachment } from '../session/attachment.ts'

type Request = IncomingMessage & { res?: ServerResponse | undefined }
type Generate = (req: Request) => void
type Done = (error?: unknown, ...values: never[]) => void

/** Express keeps the response with the request. Under connect and node:http it is the one that its connection works on. */
function responseOf(req: Request): ServerResponse | undefined {
  if (req.res) return req.res
  const current = (req.socket as { _httpMessage?: ServerResponse } | undefined)?._httpMessage
  return current?.req === req ? current : undefined
}

/** Knows which calls of the store come from within `res.end`: express-session makes them as an application does. */
export class ResponseEnds {
  readonly #watched = attachment<boolean>()
  /** It is set while `end` runs, which is synchronous. */
  #ending: ServerResponse | undefined

  /** @param store gets a `generate` from express-session, which makes the sessions that are new */
  constructor(store: object) {
    let generate: Generate | undefined
    Object.defineProperty(store, 'generate', {
      configurable: true,
      enumerable: true,
      get: () => generate,
      set: (given: Generate) => {
        generate = (req) => {
          given(req)
          this.watch(req)
        }
      },
    })
  }

  /** For a request that gets its session, when express-session's `end` is in place. */
  watch(req: Request): void {
    const res = responseOf(req)
    if (!res || this.#watched.get(res)) return
    this.#watched.set(res, true)
    const { end } = res as unknown as { end: (this: ServerResponse, ...args: unknown[]) => ServerResponse }
    res.end = (...args: unknown[]) => {
      const outer = this.#ending
      this.#ending = res
      try {
        return end.apply(res, args)
      } finally {
        this.#ending = outer
      }
    }
  }

  get isEnding(): boolean {
    return this.#ending !== undefined
  }

  /** Keeps the response that is ending from leaving before this callback is called. Under HTTP/2 it leaves. */
  hold<Callback extends Done>(callback: Callback | undefined): Callback | undefined {
    const res = this.#ending
    if (!callback || !(res instanceof ServerResponse)) return callback
    const release = cork(res)
    const held: Done = (error, ...values) => {
      if (error) {
        release()
        whenSent(res, () => callback(error))
      } else {
        try {
          callback(error, ...values) // ends the response, which leaves in one piece
        } finally {
          release()
        }
      }
    }
    return held as Callback
  }
}

/**
 * Holds back what is sent from now on, until the function that it returns is called or the response has ended.
 *
 * The connection is corked and not the response: of one that is corked, Node 22 and 24 send the end of a chunked body before its
 * last chunk. A response that waits for its turn on the connection gets it by the event.
 */
function cork(res: ServerResponse): () => void {
  const { socket } = res
  const later = (given: Socket) => given.cork()
  if (socket) socket.cork()
  else res.once('socket', later)
  return () => {
    res.off('socket', later)
    // The end has uncorked the connection, which may be another response's by now.
    if (!res.writableEnded) res.socket?.uncork()
  }
}

/** Express closes the connection of a response that fails once it has begun: not before the client has been sent it all. */
function whenSent(res: ServerResponse, then: () => void): void {
  if (!res.writableNeedDrain) {
    then()
    return
  }
  const proceed = () => {
    res.off('drain', proceed).off('close', proceed)
    then()
  }
  res.on('drain', proceed).on('close', proceed)
}
