// Requests to the dashboard's server. Paths are relative to the page's own, which holds the token.
import type { Failure } from '../overview.ts'

/** Milliseconds: the server itself waits for the database for up to a minute. */
const patience = 65_000

/** Its JSON; undefined if there is nothing new. Fails with the server's own words. */
export async function ask<Answer>(path: string, init: RequestInit = {}): Promise<Answer | undefined> {
  const response = await fetch(path, { ...init, signal: AbortSignal.timeout(patience) })
  if (response.status === 204) return undefined
  if (response.ok) return (await response.json()) as Answer
  const text = await response.text()
  const isJson = response.headers.get('content-type') === 'application/json'
  throw new Error(isJson ? (JSON.parse(text) as Failure).message : text)
}

export async function post<Answer>(path: string, body: object = {}): Promise<Answer | undefined> {
  return await ask<Answer>(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
