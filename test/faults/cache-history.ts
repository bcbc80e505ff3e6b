// What the checker of the cache saw, and its verdict, given when all is over: what counts as late depends on how late a bare client of
// the database heard in the same run.

/** A session under one cookie. */
export interface Passport {
  readonly number: number
  /** When somebody first asked for its end, whatever came of it. */
  askedToEndAt?: number
  /** The end, acknowledged. */
  end?: { readonly at: number; readonly server: number; readonly isAnnounced: boolean }
}

/** A session that a server showed to somebody. */
interface Shown {
  readonly server: number
  readonly began: number
  readonly passport: Passport
  readonly userId: string | undefined
}

/** A time in which a server, or each of them, cannot be expected to hear. */
export interface DeafTime {
  readonly server: number | 'all'
  readonly from: number
  readonly to: number
}

/** What must not happen, and how often it did. */
export interface Violations {
  /** A session, longer after its end than the bare client ever took and 50 ms, by a server whose listener was left alone. */
  dead: number
  /** The same for the user that a session had before. */
  user: number
  /** A session maxStale after its end, however it ended and whoever hears. */
  deadAfterMaxStale: number
  /** A session by the server that ended it, however soon. */
  deadHere: number
  /** To a browser that waits for its answers, less than it was told was saved, or no session while it had one. */
  readYourWrites: number
  /** A session that is not the cookie's. */
  foreign: number
}

export interface Verdict {
  readonly violations: Violations
  /** Milliseconds after its end, acknowledged, that a session was shown at the latest: while the server heard, and in any case. */
  readonly latestHearing: number
  readonly latest: number
  /** The times that sessions were shown after their end, to servers that heard. */
  readonly late: number
}

/** What an announcement may take beyond what it takes to a bare client. */
export const allowedMs = 50

export class History {
  readonly #shown: Shown[] = []
  readonly #userEnds = new Map<string, number>()
  readonly deafTimes: DeafTime[] = []
  readYourWrites = 0
  foreign = 0
  deadHere = 0
  ends = 0
  userChanges = 0

  show(shown: Shown): void {
    this.#shown.push(shown)
  }

  ended(passport: Passport, at: number, server: number, isAnnounced = true): void {
    passport.end = { at, server, isAnnounced }
    this.ends++
  }

  userEnded(userId: string, at: number): void {
    this.#userEnds.set(userId, at)
    this.userChanges++
  }

  /**
   * @param bareMs the longest that a bare client took to hear
   * @param maxStaleMs of each server
   */
  judge(bareMs: number, maxStaleMs: readonly number[]): Verdict {
    const { readYourWrites, foreign } = this
    const violations = { dead: 0, user: 0, deadAfterMaxStale: 0, deadHere: this.deadHere, readYourWrites, foreign }
    const bound = bareMs + allowedMs
    let [latest, latestHearing, late] = [0, 0, 0]
    for (const { server, began, passport, userId } of this.#shown) {
      const { end } = passport
      // A copy is as old as its query, which was sent before the end was acknowledged: maxStale needs no allowance.
      const maxStale = maxStaleMs[server] ?? 0
      const age = end ? began - end.at : 0
      if (end && age > 0) {
        latest = Math.max(latest, age)
        if (age > maxStale) violations.deadAfterMaxStale++
        if (end.server === server) violations.deadHere++
        if (end.isAnnounced && this.#hears(server, end.at, began)) {
          late++
          latestHearing = Math.max(latestHearing, age)
          if (age > bound) violations.dead++
        }
      }
      const userEnd = this.#userEnds.get(userId ?? '')
      if (userEnd === undefined || began <= userEnd) continue
      const isLate = began - userEnd > (this.#hears(server, userEnd, began) ? bound : maxStale)
      if (isLate) violations.user++
    }
    return { violations, latest, latestHearing, late }
  }

  #hears(server: number, from: number, to: number): boolean {
    return !this.deafTimes.some((deaf) => {
      const isItsOwn = deaf.server === 'all' || deaf.server === server
      return isItsOwn && deaf.from <= to && deaf.to >= from
    })
  }
}

export function isSound(violations: Violations): boolean {
  return Object.values(violations).every((many) => many === 0)
}
