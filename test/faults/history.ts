// What was asked of stores and what they answered, for the checker. Written to a file it survives the process that asks.
import fs from 'node:fs'
import { Visitor } from '../support/harness.ts'

/** Milliseconds by a clock that all processes of one machine share and that nobody sets. */
export function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** The checker tells writes apart by what they write: no two write the same under one name. */
export type Values = Readonly<Record<string, string | number>>

/** 'refused': it certainly did nothing. 'unknown': it failed, or was never answered; it may have run, and may run yet. */
export type Answer = 'ok' | 'gone' | 'refused' | 'unknown'

export interface Call {
  /** The session, from its creation to its end, whatever its tokens are. */
  readonly session: string
  /** 'end' is destroy and revoke, 'read' also a list, which says that a session lives and not with what. */
  readonly kind: 'create' | 'read' | 'save' | 'regenerate' | 'end'
  /** The token it was asked with, under a name; undefined where a session was found by its user or number. */
  readonly token?: string
  /** The token that a create or a regenerate gives it. */
  readonly newToken?: string
  readonly set?: Values
  readonly unset?: readonly string[]
  readonly began: number
  ended?: number
  answer: Answer
  /** What a read showed; undefined if it says only that the session lives. */
  values?: Values
}

export type Asked = Omit<Call, 'began' | 'ended' | 'answer' | 'values'>

/** A session, and the browser that has its cookie. */
export interface Place {
  readonly session: string
  readonly visitor: Visitor
  /** The name of its token in the history. */
  token: string
}

export class History {
  readonly calls: Call[] = []
  readonly #file: number | undefined
  readonly #numbers = new Map<Call, number>()

  /** @param file gets a line when a call begins and one when it ends, each at once */
  constructor(file?: string) {
    if (file !== undefined) this.#file = fs.openSync(file, 'a')
  }

  begin(asked: Asked): Call {
    const call: Call = { ...asked, began: now(), answer: 'unknown' }
    this.calls.push(call)
    this.#write(call)
    return call
  }

  end(call: Call, answer: Answer, values?: Values): void {
    call.ended = now()
    call.answer = answer
    if (values !== undefined) call.values = values
    this.#write(call)
  }

  /** Notes the cookie that opens a session, for another process to go on with. */
  keep({ session, token, visitor }: Place): void {
    if (this.#file === undefined) return
    fs.writeSync(this.#file, `${JSON.stringify({ session, token, cookies: [...visitor.jar] })}\n`)
  }

  #write(call: Call): void {
    if (this.#file === undefined) return
    const number = this.#numbers.get(call) ?? this.#numbers.size
    this.#numbers.set(call, number)
    fs.writeSync(this.#file, `${JSON.stringify({ number, call })}\n`)
  }

  close(): void {
    if (this.#file !== undefined) fs.closeSync(this.#file)
  }
}

/** What one process wrote to its file; a call of which it did not see the end is unknown. */
export function readHistory(file: string): { readonly calls: Call[]; readonly places: Place[] } {
  const calls: Call[] = []
  const places = new Map<string, Place>()
  for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
    // A process that is killed may leave half a line.
    if (!line.endsWith('}')) continue
    const { number, call, session, token, cookies } = JSON.parse(line)
    if (call) calls[number] = call
    else {
      const visitor = new Visitor()
      for (const [name, value] of cookies) visitor.jar.set(name, value)
      places.set(session, { session, token, visitor })
    }
  }
  return { calls, places: [...places.values()] }
}
