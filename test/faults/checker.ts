// The judge of a history: is there an order of its calls, each at one moment between its question and its answer, in which a
// session store gives these answers? It knows what docs/api.md promises and nothing of how a store works: a session is created,
// merged and read whole, moves to a new token and ends, and never comes back. The search is Wing and Gong's as Lowe and Porcupine
// do it (https://www.cs.cmu.edu/~wing/publications/WingGong93.pdf), for each session by itself.
import type { Call, Values } from './history.ts'

/**
 * What is wrong with a session's history. `lost`: a value whose save was acknowledged was never seen again; `stale`: an older one
 * was shown for a while; `revived`: it lived after its end, or under an old token; `missing`: it was gone, and nobody had asked for
 * that; `blend`: what one save wrote was shown in part; `foreign`: nobody had written it; `unexplained`: another contradiction.
 */
export type Wrong = 'lost' | 'stale' | 'revived' | 'missing' | 'blend' | 'foreign' | 'unexplained'

export interface Judgement {
  readonly calls: number
  readonly sessions: number
  /** Sessions whose history no order explains. */
  readonly wrong: Readonly<Record<Wrong, number>>
  /** Sessions for which the search was given up. */
  readonly undecided: number
  /** The first of what is wrong, in words. */
  readonly examples: readonly string[]
}

export interface JudgeOptions {
  /** A read may show what was so this many milliseconds before it was asked: the `maxStale` of a cache. Default: 0. */
  readonly maxStaleMs?: number
}

export function judge(history: readonly Call[], { maxStaleMs = 0 }: JudgeOptions = {}): Judgement {
  const sessions = new Map<string, Call[]>()
  for (const call of history) {
    const calls = sessions.get(call.session) ?? []
    if (call.answer !== 'refused') calls.push(call.kind === 'read' ? { ...call, began: call.began - maxStaleMs } : call)
    sessions.set(call.session, calls)
  }
  const wrong: Record<Wrong, number> = {
    lost: 0,
    stale: 0,
    revived: 0,
    missing: 0,
    blend: 0,
    foreign: 0,
    unexplained: 0,
  }
  let undecided = 0
  const examples: string[] = []
  for (const [session, calls] of sessions) {
    const isExplained = explain(calls)
    if (isExplained === true) continue
    if (isExplained === undefined) undecided++
    const [kind, why] = isExplained === undefined ? (['undecided', ''] as const) : whatIsWrong(calls)
    if (kind !== 'undecided') wrong[kind]++
    if (examples.length < 10) examples.push(`session ${session}: ${kind} ${why}`)
  }
  return { calls: history.length, sessions: sessions.size, wrong, undecided, examples }
}

// The search

interface State {
  /** '' when it has not begun or has ended. */
  readonly token: string
  /** JSON with its names in order. */
  readonly values: string
}

const nothing: State = { token: '', values: '{}' }

function inOrder(values: Values): string {
  return JSON.stringify(Object.fromEntries(Object.entries(values).sort(([one], [other]) => (one < other ? -1 : 1))))
}

/** The state after a call that was answered so; undefined if it cannot have been. */
function after(state: State, call: Call): State | undefined {
  const { kind, token, answer, values } = call
  const isThere = state.token !== '' && (token === undefined || token === state.token)
  if (answer === 'gone') return isThere ? undefined : state
  if (kind === 'create')
    return state.token === '' ? { token: call.newToken ?? '', values: written(state, call) } : undefined
  // Whoever ends a session by a former token ends it too.
  if (kind === 'end') return nothing
  if (!isThere) return undefined
  if (kind === 'save') return { token: state.token, values: written(state, call) }
  if (kind === 'regenerate') return { token: call.newToken ?? '', values: written(state, call) }
  return values === undefined || inOrder(values) === state.values ? state : undefined
}

function written({ values }: State, { set, unset = [] }: Call): string {
  if (set === undefined && unset.length === 0) return values
  const merged: Record<string, string | number> = JSON.parse(values)
  for (const name of unset) delete merged[name]
  return inOrder({ ...merged, ...set })
}

/** Steps after which the search is given up. */
const mostSteps = 500_000

interface Step {
  readonly state: State
  /** Calls that may come next. */
  readonly next: readonly number[]
  tried: number
  /** The call that led here. */
  readonly by: number
}

/** Whether some order explains the answers; undefined if that was not found out. */
function explain(all: readonly Call[]): boolean | undefined {
  // A write that nobody saw, and that may not have been, need not have been: where it was, what overwrote it was seen.
  const seen = new Set(all.flatMap(({ values = {} }) => Object.entries(values).map(String)))
  const isSeen = ({ set = {}, unset }: Call) =>
    unset !== undefined || Object.entries(set).some((entry) => seen.has(String(entry)))
  const calls = all
    .filter((call) => call.answer !== 'unknown' || (call.kind === 'save' ? isSeen(call) : call.kind !== 'read'))
    .sort((one, other) => one.began - other.began)
  const isDone = new Uint8Array(calls.length)
  let firstLeft = 0
  const isUnanswered = (at: number) => calls[at]?.answer === 'unknown'
  const visited = new Set<string>()

  /** The first that must still come, and all that may come before another has to have. */
  const candidates = (state: State): { next: number[]; key: string } | undefined => {
    let earliest = Number.POSITIVE_INFINITY
    let first = -1
    const next: number[] = []
    while (isDone[firstLeft]) firstLeft++
    for (let at = firstLeft; at < calls.length; at++) {
      const call = calls[at] as Call
      if (call.began > earliest) break
      if (isDone[at]) continue
      next.push(at)
      if (isUnanswered(at)) continue
      if (first < 0) first = at
      earliest = Math.min(earliest, call.ended ?? earliest)
    }
    if (first < 0) return undefined
    const possible = next.filter((at) => (calls[at]?.began ?? 0) <= earliest)
    // What changes nothing and fits now may as well be now.
    const idle = possible.find((at) => !isUnanswered(at) && after(state, calls[at] as Call) === state)
    possible.sort((one, other) => Number(isUnanswered(one)) - Number(isUnanswered(other)))
    return { next: idle === undefined ? possible : [idle], key: `${state.token} ${state.values} ${possible.join()}` }
  }

  const undo = (at: number) => {
    if (at < 0) return
    isDone[at] = 0
    firstLeft = Math.min(firstLeft, at)
  }
  const steps: Step[] = []
  const enter = (state: State, by: number): boolean => {
    const found = candidates(state)
    if (!found) return true
    if (visited.has(found.key)) {
      undo(by)
      return false
    }
    visited.add(found.key)
    steps.push({ state, next: found.next, tried: 0, by })
    return false
  }
  if (enter(nothing, -1)) return true
  for (let taken = 0; steps.length > 0; taken++) {
    if (taken > mostSteps) return undefined
    const step = steps.at(-1) as Step
    const at = step.next[step.tried++]
    if (at === undefined) {
      steps.pop()
      undo(step.by)
      continue
    }
    const state = after(step.state, { ...(calls[at] as Call), ...(isUnanswered(at) && { answer: 'ok' as const }) })
    if (state === undefined) continue
    isDone[at] = 1
    if (enter(state, at)) return true
  }
  return false
}

// The reason, for people

function whatIsWrong(calls: readonly Call[]): readonly [Wrong, string] {
  const end = (call: Call) => call.ended ?? Number.POSITIVE_INFINITY
  const writers = calls.filter(({ set, unset }) => set !== undefined || unset !== undefined)
  const writerOf = (name: string, value: unknown) => writers.find(({ set }) => set?.[name] === value)
  const done = (call: Call) => call.answer === 'ok'
  const told = (call: Call) =>
    `${call.kind} ${JSON.stringify(call.values ?? call.set ?? {})} at ${Math.round(call.began)}`
  const findings: (readonly [Wrong, string])[] = []
  for (const read of calls) {
    for (const other of calls) {
      const isPast = done(other) && end(other) < read.began
      const isOld = other.kind === 'end' || (other.kind === 'regenerate' && other.token === read.token)
      if (isPast && isOld && read.kind !== 'end' && done(read))
        findings.push(['revived', `${told(read)}, after an acknowledged ${other.kind} at ${Math.round(other.began)}`])
    }
    if (read.answer === 'gone') {
      const mayEnd = calls.some((call) => (call.kind === 'end' || call.kind === 'regenerate') && call.began < end(read))
      if (!mayEnd) findings.push(['missing', `${told(read)}, and nobody had ended it`])
    }
    if (read.kind !== 'read' || read.values === undefined) continue
    for (const [name, value] of Object.entries(read.values)) {
      const writer = writerOf(name, value)
      if (!writer) {
        findings.push(['foreign', `${told(read)}: nobody wrote ${name}`])
        continue
      }
      for (const [beside, own] of Object.entries(writer.set ?? {})) {
        const shown = read.values[beside]
        const older = shown === own ? undefined : writerOf(beside, shown)
        if (shown !== own && (older === undefined || end(older) < writer.began))
          findings.push(['blend', `${told(read)}: of ${told(writer)} only ${name}`])
      }
    }
    for (const newer of writers) {
      if (!done(newer) || end(newer) >= read.began) continue
      for (const name of [...Object.keys(newer.set ?? {}), ...(newer.unset ?? [])]) {
        const value = newer.set?.[name]
        if (read.values[name] === value) continue
        const writer = writerOf(name, read.values[name])
        const isOlder = writer === undefined ? read.values[name] === undefined : end(writer) < newer.began
        const isUnset = writers.some(({ unset }) => unset?.includes(name))
        if (!isOlder || (isUnset && value !== undefined && read.values[name] === undefined)) continue
        const isSeen = calls.some(({ values }) => values?.[name] === value && value !== undefined)
        findings.push([isSeen ? 'stale' : 'lost', `${told(read)}, after ${told(newer)} was acknowledged`])
      }
    }
  }
  const order: Wrong[] = ['revived', 'foreign', 'lost', 'blend', 'stale', 'missing']
  for (const kind of order) {
    const found = findings.find(([what]) => what === kind)
    if (found) return found
  }
  return ['unexplained', `no order of its ${calls.length} calls gives these answers`]
}
