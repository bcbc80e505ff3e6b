// The checker finds what is wrong in histories that somebody wrote, and nothing in those of a store that is right.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { type JudgeOptions, judge, type Wrong } from './checker.ts'
import type { Answer, Call, Values } from './history.ts'

/** A call between two moments. */
function call(began: number, ended: number | undefined, kind: Call['kind'], more: Partial<Call> = {}): Call {
  const answer: Answer = ended === undefined ? 'unknown' : 'ok'
  return { session: 's', kind, token: 't', began, answer, ...(ended !== undefined && { ended }), ...more }
}

const created = call(0, 1, 'create', { newToken: 't', set: { a: 0, b: 0 } })
const saved = (began: number, ended: number | undefined, set: Values) => call(began, ended, 'save', { set })
const read = (began: number, ended: number, values: Values) => call(began, ended, 'read', { values })
const gone = (began: number, ended: number) => call(began, ended, 'read', { answer: 'gone' })
const end = (began: number, ended: number | undefined) => call(began, ended, 'end')
const regenerated = (began: number, ended: number | undefined) => call(began, ended, 'regenerate', { newToken: 'u' })

function wrongOf(calls: readonly Call[], options?: JudgeOptions): Wrong[] {
  const { wrong, undecided } = judge([created, ...calls], options)
  assert.is(undecided, 0)
  return Object.entries(wrong).flatMap(([kind, many]) => (many > 0 ? [kind as Wrong] : []))
}

const histories: Record<string, { readonly wrong: Wrong[]; readonly calls: readonly Call[] }> = {
  'a save that was acknowledged and never seen': {
    wrong: ['lost'],
    calls: [saved(2, 3, { a: 1 }), read(4, 5, { a: 0, b: 0 })],
  },
  'a save that another one undid': {
    wrong: ['lost'],
    calls: [saved(2, 3, { a: 1 }), saved(4, 5, { b: 1 }), read(6, 7, { a: 0, b: 1 })],
  },
  'a read that shows what was before the last acknowledged save': {
    wrong: ['stale'],
    calls: [saved(2, 3, { a: 1 }), read(4, 5, { a: 0, b: 0 }), read(6, 7, { a: 1, b: 0 })],
  },
  'reads that go back': {
    wrong: ['unexplained'],
    calls: [saved(2, 9, { a: 1 }), read(3, 4, { a: 1, b: 0 }), read(5, 6, { a: 0, b: 0 })],
  },
  'a save of which one value is shown': {
    wrong: ['blend'],
    calls: [saved(2, 9, { a: 1, b: 1 }), read(3, 4, { a: 1, b: 0 })],
  },
  'a value of another session': { wrong: ['foreign'], calls: [read(2, 3, { a: 7, b: 0 })] },
  'a session that is read after its end': { wrong: ['revived'], calls: [end(2, 3), read(4, 5, { a: 0, b: 0 })] },
  'a session that a save brings back': { wrong: ['revived'], calls: [end(2, 3), saved(4, 5, { a: 1 })] },
  'an old token that still opens': {
    wrong: ['revived'],
    calls: [regenerated(2, 3), read(4, 5, { a: 0, b: 0 })],
  },
  'two sign-outs, of which one was not answered, and a session that came back between': {
    wrong: ['unexplained'],
    calls: [end(2, undefined), gone(3, 4), read(5, 6, { a: 0, b: 0 })],
  },
  'a visitor who is signed out by nobody': { wrong: ['missing'], calls: [gone(2, 3), read(4, 5, { a: 0, b: 0 })] },
  'two of two regenerates that won': {
    wrong: ['unexplained'],
    calls: [regenerated(2, 5), call(3, 4, 'regenerate', { newToken: 'v' })],
  },
  'a list without a session that lives': {
    wrong: ['missing'],
    calls: [{ session: 's', kind: 'read', began: 2, ended: 3, answer: 'gone' }],
  },
  'reads and saves in any order that their times allow': {
    wrong: [],
    calls: [saved(2, 9, { a: 1 }), saved(2, 9, { a: 2 }), read(3, 4, { a: 2, b: 0 }), read(5, 6, { a: 1, b: 0 })],
  },
  'a save without an answer that is seen later, or never': {
    wrong: [],
    calls: [
      saved(2, undefined, { a: 1 }),
      read(3, 4, { a: 0, b: 0 }),
      read(9, 10, { a: 1, b: 0 }),
      saved(11, undefined, { a: 2 }),
    ],
  },
  'a sign-out without an answer, after which the session may live or not': {
    wrong: [],
    calls: [end(2, undefined), read(3, 4, { a: 0, b: 0 }), gone(5, 6), gone(7, 8)],
  },
  'a save that came too late, and a sign-out by a former token': {
    wrong: [],
    calls: [regenerated(2, 3), { ...saved(4, 5, { a: 1 }), answer: 'gone' }, end(6, 7), { ...gone(8, 9), token: 'u' }],
  },
}

for (const [name, { wrong, calls }] of Object.entries(histories)) {
  test(`${wrong.length > 0 ? 'found' : 'allowed'}: ${name}`, () => assert.equal(wrongOf(calls), wrong))
}

test('a cache may show what was so a moment ago, and no longer', () => {
  const calls = [saved(20, 30, { a: 1 }), read(100, 101, { a: 0, b: 0 }), read(120, 121, { a: 1, b: 0 })]
  assert.equal(wrongOf(calls, { maxStaleMs: 75 }), [])
  assert.equal(wrongOf(calls, { maxStaleMs: 65 }), ['stale'])
})

/** Numbers that are the same in each run. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** What a right store answers to calls that overlap, some of which are never answered. */
function rightHistory(seed: number, many: number): Call[] {
  const next = random(seed)
  const calls: Call[] = []
  let [values, token, isLive]: [Values, string, boolean] = [{ a: 0, b: 0 }, 't', true]
  for (let n = 1; n <= many; n++) {
    // It takes effect at n, somewhere between its question and its answer.
    const isAnswered = next() > 0.05
    const times = { began: n - 4 * next(), ended: isAnswered ? n + 4 * next() : undefined }
    const make = (kind: Call['kind'], more: Partial<Call>) => call(Math.max(1, times.began), times.ended, kind, more)
    const what = next()
    const answer = { token, ...(isAnswered && !isLive && { answer: 'gone' as const }) }
    if (what < 0.5) calls.push(make('read', { ...answer, ...(isLive && isAnswered && { values }) }))
    else if (what < 0.95) {
      const set: Values = what < 0.7 ? { a: n } : { a: n, b: n }
      calls.push(make('save', { ...answer, set }))
      if (isLive) values = { ...values, ...set }
    } else if (what < 0.98) {
      calls.push(make('regenerate', { ...answer, newToken: `t${n}` }))
      if (isLive) token = `t${n}`
    } else if (n > many - 20) {
      calls.push(make('end', { token }))
      isLive = false
    }
  }
  return calls
}

test('of 100 histories of a right store each is explained, and each is not when an acknowledged save is taken out of its reads', () => {
  let [broken, found] = [0, 0]
  for (let seed = 1; seed <= 100; seed++) {
    const calls = rightHistory(seed, 150)
    const { wrong, examples } = judge([created, ...calls])
    assert.ok(
      Object.values(wrong).every((many) => many === 0),
      `${seed}: ${examples.join()}`,
    )
    // The last read that shows something shows what had been there at first instead.
    const at = calls.findLastIndex(({ kind, values }) => kind === 'read' && Number(values?.['a']) > 100)
    const late = calls[at]
    if (!late) continue
    broken++
    const lying = calls.with(at, { ...late, values: { a: 0, b: 0 } })
    if (Object.values(judge([created, ...lying]).wrong).some((many) => many > 0)) found++
  }
  assert.ok(broken > 50)
  assert.is(found, broken)
})

test('ten thousand calls of one session are judged', () => {
  const { wrong, undecided } = judge([created, ...rightHistory(7, 10_000)])
  assert.equal([Object.values(wrong).filter(Boolean), undecided], [[], 0])
})

test.run()
