// Looks at the database again and again, and keeps what the page shows.
import type { CleanupEvent } from '../../cleanup/cleanup-events.ts'
import type { CleanupState, MaintenanceDatabase, SessionStats } from '../../database/cleanup-functions.ts'
import type { Finding } from '../doctor/diagnose.ts'
import { Runs, Samples } from './history.ts'
import type { Figures, Overview, Purging } from './overview.ts'
import { told } from './reason.ts'

/** Milliseconds between two samples. */
const every = 5000

/** Milliseconds between two samples where something happened. */
const atLeast = 1000

/** Of a slow database it asks less: the pause is this many times as long as the sample took. */
const pauses = 5

/** Milliseconds for which the doctor's findings are not looked for again by themselves. */
const findingsLast = 60_000

const needed = { to: 'look at the table of sessions and the purge', right: 'admin' } as const

export interface Watched {
  readonly database: MaintenanceDatabase
  readonly schema: string
  /** Database and server, without user or password. */
  readonly place: string
  readonly showsData: boolean
  /** The doctor. */
  readonly diagnose: () => Promise<readonly Finding[]>
}

interface Look {
  readonly stats: SessionStats
  readonly cleanup: CleanupState
}

export class Monitor {
  readonly #watched: Watched
  readonly #startedAt = Date.now()
  readonly #samples = new Samples()
  readonly #runs = new Runs()
  readonly #first: SessionStats
  #figures: Figures
  #purging: Purging
  #doctor: Overview['doctor'] = null
  #problem: string | null = null
  #revision = 0
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #isAskedAgain = false
  #notBefore = 0
  #diagnosing: Promise<void> | undefined
  #nextLook: Promise<void> | undefined
  #isClosed = false

  private constructor(watched: Watched, { stats, cleanup }: Look) {
    this.#watched = watched
    this.#first = stats
    this.#figures = figuresOf(stats, stats)
    this.#purging = purgingOf(cleanup)
    this.#take({ stats, cleanup })
    this.#schedule(every)
  }

  /**
   * Takes the first sample, and goes on.
   *
   * @throws {PGStoreError} if the database cannot be asked
   */
  static async start(watched: Watched): Promise<Monitor> {
    return new Monitor(watched, await look(watched.database))
  }

  /** What the page shows now. */
  overview(): Overview {
    const isOld = this.#doctor === null || Date.now() - this.#doctor.at > findingsLast
    if (isOld && !this.#diagnosing && !this.#isClosed) void this.diagnose()
    const { schema, place, showsData } = this.#watched
    return {
      revision: this.#revision,
      now: Date.now(),
      startedAt: this.#startedAt,
      schema,
      place,
      showsData,
      problem: this.#problem,
      figures: this.#figures,
      purging: this.#purging,
      samples: this.#samples.all,
      runs: this.#runs.all,
      doctor: this.#doctor,
    }
  }

  /** Asks the doctor again. Resolves when findings are there that were looked for since: those of a look under way may be older. */
  async diagnose(): Promise<void> {
    this.#nextLook ??= (this.#diagnosing ?? Promise.resolve()).then(async () => {
      this.#nextLook = undefined
      this.#diagnosing = this.#diagnose()
      await this.#diagnosing
      this.#diagnosing = undefined
    })
    await this.#nextLook
  }

  /** What the cleanup's channel announced; the state that an event leaves behind is read at once. */
  heard(event: CleanupEvent): void {
    if (event.type === 'purged' || event.type === 'failed') {
      const { purged, ms, remaining } = event
      const code = event.type === 'failed' ? event.code : null
      this.#runs.heard({ at: Date.now(), purged, ms, remaining, code })
      this.#revision++
    }
    this.sampleSoon()
  }

  /** Takes a sample before it is due, if the last is not too recent. */
  sampleSoon(): void {
    if (this.#looking) this.#isAskedAgain = true
    else this.#schedule(0)
  }

  /** Ends after the query that it waits for. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await Promise.all([this.#looking, this.#nextLook, this.#diagnosing])
  }

  #schedule(wait: number): void {
    clearTimeout(this.#timer)
    if (this.#isClosed) return
    const pause = Math.max(wait, this.#notBefore - performance.now())
    this.#timer = setTimeout(() => {
      this.#looking = this.#sample()
    }, pause)
  }

  async #sample(): Promise<void> {
    const started = performance.now()
    try {
      this.#take(await look(this.#watched.database))
      this.#problem = null
    } catch (error) {
      this.#problem = told(error, needed).message
    }
    this.#revision++
    const ended = performance.now()
    this.#notBefore = ended + Math.max(atLeast, pauses * (ended - started))
    this.#looking = undefined
    this.#schedule(this.#isAskedAgain ? 0 : every)
    this.#isAskedAgain = false
  }

  #take({ stats, cleanup }: Look): void {
    this.#figures = settled(this.#figures, figuresOf(stats, this.#first))
    this.#purging = purgingOf(cleanup)
    const { at, live, expired, tableBytes, indexBytes } = this.#figures
    this.#samples.add({ at, live, expired, tableBytes, indexBytes })
    const { lastRunAt, lastPurged = 0, lastMs = 0, lastError = null, now } = cleanup
    if (lastRunAt === undefined) return
    const run = { at: here(lastRunAt, now), purged: lastPurged, ms: lastMs, remaining: null, code: lastError }
    this.#runs.read(run, lastRunAt.getTime())
  }

  async #diagnose(): Promise<void> {
    let [findings, problem]: [readonly Finding[], string | null] = [this.#doctor?.findings ?? [], null]
    try {
      findings = await this.#watched.diagnose()
    } catch (error) {
      problem = told(error, needed).message
    }
    this.#doctor = { at: Date.now(), findings, problem }
    this.#revision++
  }
}

async function look(database: MaintenanceDatabase): Promise<Look> {
  const stats = await database.sessionStats()
  return { stats, cleanup: await database.cleanupStatus() }
}

/** A time of the database by the clock of this machine, if it answered just now. */
function here(time: Date, now: Date): number {
  return Math.round(Date.now() - (now.getTime() - time.getTime()))
}

/**
 * Estimates of one number vary by a few percent: a step is shown in part, unless it is larger than chance makes it. Not what expired:
 * a purge changes it at once.
 */
function settled(last: Figures, next: Figures): Figures {
  if (!next.isEstimate) return next
  const settle = (from: number, to: number) =>
    Math.abs(to - from) > from / 10 ? to : Math.round(from + (to - from) / 5)
  return { ...next, live: settle(last.live, next.live), anonymous: settle(last.anonymous, next.anonymous) }
}

function figuresOf(stats: SessionStats, first: SessionStats): Figures {
  const at = (time: Date | undefined) => (time ? here(time, stats.now) : null)
  // The statistics may have been reset meanwhile.
  const base = stats.updates >= first.updates ? first : { updates: 0, heapOnlyUpdates: 0 }
  return {
    at: Date.now(),
    live: stats.live,
    expired: stats.expired,
    tableBytes: stats.tableBytes,
    indexBytes: stats.indexBytes,
    anonymous: stats.anonymous,
    isEstimate: stats.isEstimate,
    oldestExpiredAt: at(stats.oldestExpiredAt),
    totalBytes: stats.totalBytes,
    updates: stats.updates,
    heapOnlyUpdates: stats.heapOnlyUpdates,
    recentUpdates: stats.updates - base.updates,
    recentHeapOnlyUpdates: stats.heapOnlyUpdates - base.heapOnlyUpdates,
    deadRows: stats.deadRows,
    vacuumedAt: at(stats.vacuumedAt),
    migration: stats.migration ?? null,
  }
}

function purgingOf(cleanup: CleanupState): Purging {
  const at = (time: Date | undefined) => (time ? here(time, cleanup.now) : null)
  return {
    enabled: cleanup.enabled,
    every: cleanup.every,
    workerSeenAt: at(cleanup.workerSeenAt),
    nextRunAt: at(cleanup.nextRunAt),
    totalPurged: cleanup.totalPurged,
  }
}
