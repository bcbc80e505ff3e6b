// What the server tells its page, as JSON: the one thing that both know. Times are milliseconds since 1970 by the clock of the
// machine that the dashboard runs on; it imports nothing, so that the page's compiler sees nothing of the server.

/** How the table stood at one time. */
export interface Sample {
  readonly at: number
  readonly live: number
  /** Expired and not purged yet. */
  readonly expired: number
  readonly tableBytes: number
  readonly indexBytes: number
}

/** The newest sample, and what is only shown as it is now. */
export interface Figures extends Sample {
  readonly anonymous: number
  /** Whether the counts were estimated from a sample of pages. */
  readonly isEstimate: boolean
  readonly oldestExpiredAt: number | null
  readonly totalBytes: number
  /** Since the server's statistics were last reset. */
  readonly updates: number
  readonly heapOnlyUpdates: number
  /** Since the dashboard was started. */
  readonly recentUpdates: number
  readonly recentHeapOnlyUpdates: number
  readonly deadRows: number
  readonly vacuumedAt: number | null
  /** The newest migration; null if the application keeps its own history. */
  readonly migration: string | null
}

/** The recurring purge. */
export interface Purging {
  readonly enabled: boolean
  /** As Postgres writes it: '00:05:00'. */
  readonly every: string
  readonly workerSeenAt: number | null
  readonly nextRunAt: number | null
  readonly totalPurged: number
}

/** One run of the purge. */
export interface Run {
  readonly at: number
  readonly purged: number
  readonly ms: number
  /** Expired sessions that were left; null if the run was not heard but found in the schedule's row. */
  readonly remaining: number | null
  /** The code that it failed with; null if it did not. */
  readonly code: string | null
}

/** A finding of `pgstore doctor`. */
export interface Diagnosed {
  readonly id: string
  readonly level: 'wrong' | 'warning'
  readonly says: string
  readonly mend: string | null
}

export interface Overview {
  /** Grows with every change of the rest. */
  readonly revision: number
  readonly now: number
  readonly startedAt: number
  readonly schema: string
  /** Database and server, without user or password. */
  readonly place: string
  /** Whether sessions are listed with their data. */
  readonly showsData: boolean
  /** Why the newest sample could not be taken; null if it could. */
  readonly problem: string | null
  readonly figures: Figures
  readonly purging: Purging
  /** The oldest first. */
  readonly samples: readonly Sample[]
  /** The oldest first. */
  readonly runs: readonly Run[]
  /** null until the first look has ended. */
  readonly doctor: {
    readonly at: number
    readonly findings: readonly Diagnosed[]
    /** Why it could not look; null if it could. */
    readonly problem: string | null
  } | null
}

/** A session of a user, as the page lists it. */
export interface UserSession {
  readonly id: string
  readonly createdAt: number
  readonly seenAt: number
  readonly signedInAt: number | null
  readonly expiresAt: number
  readonly label: unknown
  readonly tags: readonly string[]
  /** JSON text; null unless the dashboard was started to show data. */
  readonly data: string | null
}

export interface UserSessionList {
  readonly user: string
  /** How many live sessions the user has. */
  readonly count: number
  /** The newest of them. */
  readonly sessions: readonly UserSession[]
}

export interface Revoked {
  /** How many sessions ended. */
  readonly ended: number
}

export interface Failure {
  readonly error: string
  readonly message: string
}
