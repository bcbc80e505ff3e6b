// Three servers with caches over one database, as processes, and the network between them.
import { type ChildProcess, fork } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '../support/harness.ts'
import type { Answer, Call, NetworkCall, Rule, ServerReport, ServerSettings } from './cache-calls.ts'

const here = path.dirname(fileURLToPath(import.meta.url))

/** A process of this folder that answers. */
class Child<Asked, Told> {
  readonly process: ChildProcess
  readonly #waiting = new Map<number, (answer: Told) => void>()
  readonly #file: string
  #calls = 0

  constructor(file: string, ...args: readonly string[]) {
    this.#file = file
    this.process = fork(path.join(here, file), args, { execArgv: ['--import', 'tsx'] })
    this.process.on('message', ({ id, answer }: { id: number; answer: Told }) => {
      this.#waiting.get(id)?.(answer)
      this.#waiting.delete(id)
    })
  }

  async ask(call: Asked): Promise<Told> {
    if (!this.process.connected) throw new Error(`${this.#file} has ended.`)
    const id = ++this.#calls
    return await new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.process.send({ id, call })
    })
  }

  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill('SIGKILL')
    await ended
  }
}

export type FleetServer = Child<Call, Answer>

/** Ways through the network: of the first server's sessions, for all bare clients, and of each listener. */
const ways = { sessionsOf: 0, bare: 1, listenerOf: (server: number) => 2 + server }

export class Fleet {
  readonly servers: readonly FleetServer[]
  readonly #network: Child<NetworkCall, readonly string[]> = new Child('cache-network.ts')
  readonly #url: string
  #urls: readonly string[] = []

  constructor(url: string, many: number) {
    this.#url = url
    this.servers = Array.from({ length: many }, () => new Child<Call, Answer>('cache-server.ts'))
  }

  /**
   * Stores with empty caches that listen, in place of those before.
   *
   * @param maxStale seconds, of each server
   */
  async open(maxStale: readonly number[], without?: Rule): Promise<void> {
    const many = 2 + this.servers.length
    if (this.#urls.length === 0) this.#urls = await this.#network.ask({ op: 'open', ways: many, url: this.#url })
    const way = (number: number) => this.#urls[number] as string
    const opened = this.servers.map(async (server, number) => {
      const settings: ServerSettings = {
        name: String(number),
        pool: number === 0 ? way(ways.sessionsOf) : this.#url,
        listen: way(ways.listenerOf(number)),
        bare: way(ways.bare),
        maxStale: maxStale[number] ?? 1,
        without,
      }
      await server.ask({ op: 'open', settings })
    })
    await Promise.all(opened)
    await until(async () => {
      for (const server of this.servers) await server.ask({ op: 'read', cookie: 'sid=none' })
      return (await this.reports()).every(({ state, sent }) => state === 'listening' && sent.length > 0)
    })
  }

  async reports(): Promise<ServerReport[]> {
    const answers = await Promise.all(this.servers.map((server) => server.ask({ op: 'report' })))
    return answers.map(({ report }) => report as ServerReport)
  }

  /** What happens to a server's listener. */
  async listener(server: number, op: 'sever' | 'silence' | 'speak' | 'hold' | 'release'): Promise<void> {
    await this.#network.ask({ op, way: ways.listenerOf(server) })
  }

  /** Answers to the first server's queries are held back, or no longer. */
  async answers(op: 'hold' | 'release'): Promise<void> {
    await this.#network.ask({ op, way: ways.sessionsOf })
  }

  async end(): Promise<void> {
    await Promise.all([...this.servers, this.#network].map((child) => child.end()))
  }
}
