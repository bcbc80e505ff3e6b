// What the checker of the cache saw, and its verdict, given when all is over: what counts as late depends on how late a bare client of
// the database heard in the same run.

/** Deleted by hand is announced to nobody. */
export type End = 'destroyed' | 'regenerated' | 'revoked' | 'limited' | 'deleted by hand'

/** A session under one cookie. */
export interface Passport {
  /** When somebody first asked for its end, whatever came of it. */
  askedToEndAt?: number
  /** The end, acknowledged. */
  end?: { readonly at: number; readonly server: number; readonly how: End }
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
  /** The first of what must not have been shown, in words. */
  readonly examples: readonly string[]
}

/** What an announcement may take beyond what it takes to a bare client. */
export const allowedMs = 50

export class History {
  readonly #shown: Shown[] = []
  readonly #userEnds = new Map<string, number>()
  readonly deafTimes: DeafTime[] = []
  /** What was wrong when it was seen, in words. */
  readonly #readYourWrites: string[] = []
  readonly #foreign: string[] = []
  readonly #deadHere: string[] = []
  ends = 0
  userChanges = 0

  show(shown: Shown): void {
    this.#shown.push(shown)
  }

  /** @param isStillShown by the server that ended it, when that was asked in the same tick */
  ended(passport: Passport, how: End, at: number, server: number, isStillShown = false): void {
    passport.end = { at, server, how }
    this.ends++
    if (isStillShown) this.#deadHere.push(`still shown by server ${server} when it had ${how} it`)
  }

  notWhatWasSaved(what: string): void {
    this.#readYourWrites.push(what)
  }

  notItsSession(what: string): void {
    this.#foreign.push(what)
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
    const found: Record<keyof Violations, string[]> = {
      dead: [],
      user: [],
      deadAfterMaxStale: [],
      deadHere: [...this.#deadHere],
      readYourWrites: this.#readYourWrites,
      foreign: this.#foreign,
    }
    const bound = bareMs + allowedMs
    let [latest, latestHearing, late] = [0, 0, 0]
    for (const { server, began, passport, userId } of this.#shown) {
      // A copy is as old as its query, which was sent before the end was acknowledged: maxStale needs no allowance.
      const maxStale = maxStaleMs[server] ?? 0
      const { end } = passport
      const age = end ? began - end.at : 0
      if (end && age > 0) {
        latest = Math.max(latest, age)
        const isHearing = end.how !== 'deleted by hand' && this.#hears(server, end.at, began)
        const whose = `${userId}'s${this.#userEnds.has(userId ?? '') ? ', which it no longer was,' : ''}`
        const what = `${end.how} by server ${end.server}, shown by ${server} as ${whose} ${age.toFixed(1)} ms later`
        if (age > maxStale) found.deadAfterMaxStale.push(what)
        if (end.server === server) found.deadHere.push(what)
        if (isHearing) {
          late++
          latestHearing = Math.max(latestHearing, age)
          if (age > bound) found.dead.push(what)
        }
      }
      const userEnd = this.#userEnds.get(userId ?? '')
      const userAge = userEnd === undefined ? 0 : began - userEnd
      if (userEnd === undefined || userAge <= 0) continue
      const isLate = userAge > (this.#hears(server, userEnd, began) ? bound : maxStale)
      if (isLate) found.user.push(`${userId}'s no longer, shown as that by ${server} ${userAge.toFixed(1)} ms later`)
    }
    const violations = Object.fromEntries(Object.entries(found).map(([name, { length }]) => [name, length]))
    const examples = Object.entries(found).flatMap(([name, some]) => some.slice(0, 3).map((what) => `${name}: ${what}`))
    return { violations: violations as unknown as Violations, examples, latest, latestHearing, late }
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
