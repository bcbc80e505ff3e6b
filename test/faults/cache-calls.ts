// What the checker of the cache and its servers, which are processes, say to each other.

/** Milliseconds by a clock that all processes of one machine share and that nobody sets. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** What a visitor keeps: its name, and a counter for each of two tabs. */
export type Kept = { name?: string; one?: number; two?: number }

export type Call =
  /** Anew: what was, ends. */
  | { readonly op: 'open'; readonly settings: ServerSettings }
  | { readonly op: 'read'; readonly cookie: string }
  /** Without a cookie it creates a session. */
  | {
      readonly op: 'save'
      readonly cookie: string
      readonly set: Kept
      readonly userId?: string
      readonly tag?: string
    }
  | { readonly op: 'regenerate'; readonly cookie: string }
  | { readonly op: 'destroy'; readonly cookie: string }
  /** Of a user or of a tag; `cookie` is one that this ends. */
  | { readonly op: 'revoke'; readonly cookie: string; readonly userId?: string; readonly tag?: string }
  | { readonly op: 'report' }

/** Times are those of `now`, in the server. */
export interface Answer {
  readonly began: number
  /** When all was done that was asked for. */
  readonly done: number
  /** The code of an error, or its message. */
  readonly error?: string
  /** Whether the cookie led to a session. */
  readonly isLive?: boolean
  readonly kept?: Kept
  readonly userId?: string | undefined
  /** The Set-Cookie lines. */
  readonly cookies?: readonly string[]
  /** What this server shows of what it has just ended, in the same turn of its loop. */
  readonly isLiveAfterEnd?: boolean
  readonly report?: ServerReport
}

export interface ServerReport {
  readonly reads: number
  readonly hits: number
  readonly state: string
  readonly reason: string | undefined
  /** When a NOTIFY with this name was answered, which this server sent; and when those of all were heard. */
  readonly sent: readonly (readonly [name: string, at: number])[]
  readonly heard: readonly (readonly [name: string, at: number])[]
}

/**
 * A rule of the cache that a server does without, to see whether the checker notices. Without `announcements` or `fence`
 * it believes for a minute what it has read, too.
 */
export type Rule = 'announcements' | 'fence' | 'ownWrites' | 'hint'

export interface ServerSettings {
  readonly name: string
  /** Addresses of the database: for the sessions, for the cache to listen, and for a client that is not ours. */
  readonly pool: string
  readonly listen: string
  readonly bare: string
  /** Seconds. */
  readonly maxStale: number
  readonly without?: Rule | undefined
}

/** What the network between the servers and the database is asked: of its nth way. */
export type NetworkCall =
  | { readonly op: 'open'; readonly ways: number; readonly url: string }
  | { readonly op: 'sever' | 'silence' | 'speak' | 'hold' | 'release'; readonly way: number }
