// The end of a response under express-session. It saves from within `res.end`, and while it waits for the store it sends the
// headers and all of the body but the last byte: a browser that follows a redirect at its headers can then be faster than the
// save.
import { type IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { attachment } from '../session/attachment.ts'

type Request = IncomingMessage & { res?: ServerResponse | undefined }
type Generate = (req: Request) => void
type Done = (error?: unknown, ...values: never[]) => void

/** Express keeps the response with the request. Under connect and node:http it is the one that the connection is working on. */
function responseOf(req: Request): ServerResponse | undefined {
  if (req.res) return req.res
  const current = (req.socket as { _httpMessage?: ServerResponse } | undefined)?._httpMessage
  return current?.req === req ? current : undefined
}

/** Knows which calls of the store come from within `res.end`: express-session makes them just as an application does. */
export class ResponseEnds {
  readonly #watched = attachment<boolean>()
  /** It is set while `end` runs, which is synchronous. */
  #ending: ServerResponse | undefined

  /** @param store gets a `generate` from express-session, which creates new sessions */
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

  /** For a request that gets its session, once express-session's `end` is in place. */
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

  /** Holds back the response that is ending until this callback is called. Under HTTP/2 it is not held back. */
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
          callback(error, ...values) // ends the response, which is sent in one piece
        } finally {
          release()
        }
      }
    }
    return held as Callback
  }
}

/**
 * Holds back what is sent from now on, until the returned function is called or the response has ended.
 *
 * It corks the connection, not the response: when a response is corked, Node 22 and 24 send the end of a chunked body before its
 * last chunk. A response that is waiting for its turn on the connection gets it with the event.
 */
function cork(res: ServerResponse): () => void {
  const { socket } = res
  const later = (given: Socket) => given.cork()
  if (socket) socket.cork()
  else res.once('socket', later)
  return () => {
    res.off('socket', later)
    // The end has uncorked the connection, which may belong to another response by now.
    if (!res.writableEnded) res.socket?.uncork()
  }
}

/** Express closes the connection of a response that fails after it has begun: not before everything is sent to the client. */
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
