// What the actions of the site are handed, and how they answer.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { PGStore, Session } from 'pgstore'
import type { Html } from './html.ts'
import type { Live } from './live.ts'
import type { OverwritingStore } from './overwriting.ts'
import type { Rows } from './rows.ts'

/** What this site keeps in a session. Whose session it is, `session.userId`, is stored separately. */
export interface Visit {
  startedAt?: string
  /** In the cart. Separate keys, so that requests that change one each both keep their change. */
  apples?: number
  pears?: number
  report?: string
}

export interface Demo {
  readonly store: PGStore<Visit>
  readonly others: OverwritingStore
  readonly rows: Rows
  readonly live: Live
}

export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly session: Session<Visit>
  readonly form: URLSearchParams
}

export type Action = (exchange: Exchange) => Promise<void>

/** Actions by method, by path. */
export type Routes = Readonly<Record<string, Readonly<Record<string, Action>>>>

export const cookieName = 'pgstore-demo'

/** Ends a request with this status and sentence. */
export class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function sendPage(res: ServerResponse, status: number, page: Html): void {
  // The rest of a refused body is not read: the connection ends with the response.
  if (status === 413) res.setHeader('Connection', 'close')
  res.writeHead(status, { 'Content-Type': 'text/html; charset=utf-8' }).end(page.text)
}

/** After a form, so that reloading the page does not send it again. */
export function goHome(res: ServerResponse): void {
  res.writeHead(303, { Location: '/' }).end()
}

/** The page's script shows the message where the form is; without the script the visitor goes back to the page. */
export function tell({ req, res }: Exchange, message: string): void {
  if (req.headers.accept !== 'application/json') goHome(res)
  else sendMessage(res, 200, message)
}

export function sendMessage(res: ServerResponse, status: number, message: string): void {
  if (status === 413) res.setHeader('Connection', 'close')
  res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ message }))
}

/** What a request does besides: calls of other services, a report, an upload. */
export async function work(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms))
}
