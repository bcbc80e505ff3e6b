// Holding back a Node response until its session is saved: nothing leaves before, so that the next request, to whichever
// process, finds what this one saved.
import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { NodeResponseLike } from '../cookie/response.ts'

const sending = ['writeHead', 'flushHeaders', 'write', 'end'] as const
const changing = ['setHeader', 'appendHeader', 'setHeaders', 'removeHeader'] as const

type Method = (...args: unknown[]) => unknown
type Methods = Record<(typeof sending)[number] | (typeof changing)[number], Method | undefined>
type HeadArguments = [status: number, message?: unknown, headers?: unknown]

export interface Saving {
  /** Asked when the response begins: only then is it held back. */
  readonly isNeeded: () => boolean
  /** Saves, and sets its headers through `res`; the response goes out once that is done. */
  readonly save: (res: NodeResponseLike, status: number) => Promise<void>
  /** After a save that failed, when nothing has been sent: the error is to be answered in place of the page. */
  readonly failed: (error: unknown) => void
}

/**
 * While it is held back, the response is to everyone else as one that has been sent: headers can no longer be changed, `headersSent`
 * is true, and so is `writableEnded` after its end. A stream that is piped to it waits for its `drain`.
 */
export function holdBack(res: ServerResponse, { isNeeded, save, failed }: Saving): void {
  const methods = res as unknown as Methods
  const original = Object.fromEntries(
    [...sending, ...changing].map((name) => [name, methods[name]?.bind(res)]),
  ) as Methods
  const calls: (() => unknown)[] = []
  let state: 'waiting' | 'held' | 'open' = 'waiting'
  let isEnded = false
  let isFull = false

  for (const name of sending) {
    methods[name] = (...args) => {
      const isFirst = state === 'waiting'
      if (isFirst) state = isNeeded() ? 'held' : 'open'
      if (state === 'open') return original[name]?.(...args)
      const given = isFirst && name === 'writeHead' ? [setHead(args as HeadArguments)] : args
      if (isFirst) begin()
      if (!isEnded && (isFirst || name !== 'writeHead')) calls.push(() => original[name]?.(...given))
      if (name === 'end') isEnded = true
      if (name !== 'write') return res
      isFull = true
      return false
    }
  }

  /** Sets what `writeHead` was given, to which the session's headers are then added. Returns the status. */
  function setHead([status, ...rest]: HeadArguments): number {
    const message = typeof rest[0] === 'string' ? rest[0] : undefined
    res.statusCode = status
    if (message !== undefined) res.statusMessage = message
    const headers = (message === undefined && rest[0]) || rest[1]
    if (Array.isArray(headers)) {
      const pairs = headers.some(Array.isArray) ? headers.flat(1) : headers
      for (let at = 0; at < pairs.length; at += 2) res.removeHeader(String(pairs[at]))
      for (let at = 0; at < pairs.length; at += 2) res.appendHeader(String(pairs[at]), pairs[at + 1])
    } else {
      for (const [name, value] of Object.entries((headers ?? {}) as OutgoingHttpHeaders)) {
        if (value !== undefined) res.setHeader(name, value as OutgoingHttpHeader)
      }
    }
    return status
  }

  function begin(): void {
    const { statusCode, statusMessage } = res
    const defined = new Map<string, PropertyDescriptor | undefined>()
    const define = (name: string, property: PropertyDescriptor) => {
      defined.set(name, Object.getOwnPropertyDescriptor(res, name))
      Object.defineProperty(res, name, { configurable: true, ...property })
    }
    for (const name of changing) if (original[name]) define(name, { value: refuseChange, writable: true })
    define('headersSent', { get: () => true })
    define('writableEnded', { get: () => isEnded })
    const release = () => {
      for (const [name, before] of defined) {
        Reflect.deleteProperty(res, name)
        if (before) Object.defineProperty(res, name, before)
      }
      Object.assign(res, { statusCode, statusMessage })
      state = 'open'
    }
    const target: NodeResponseLike = {
      headersSent: false,
      getHeader: (name) => res.getHeader(name),
      setHeader: (name, value) => original.setHeader?.(name, value),
    }
    save(target, statusCode).then(
      () => {
        release()
        for (const call of calls) call()
        if (isFull && !res.writableNeedDrain && !isEnded) res.emit('drain')
      },
      (error) => {
        release()
        for (const name of res.getHeaderNames()) if (describesBody.test(name)) res.removeHeader(name)
        failed(error)
      },
    )
  }
}

/** What the page said of its body, which an error is answered in place of. */
const describesBody = /^(content-|etag$|last-modified$|location$|transfer-encoding$)/

function refuseChange(): never {
  const error = new Error('Cannot set headers after they are sent to the client')
  throw Object.assign(error, { code: 'ERR_HTTP_HEADERS_SENT' })
}
