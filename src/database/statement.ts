// A statement for node-postgres: the rows as arrays of text, without their description, prepared if it has a name.
import { createHash } from 'node:crypto'
import type { Parameter } from './pool.ts'

/** What a custom query class can use of node-postgres' connection; pg-cursor relies on the same. */
interface Connection {
  /** A custom stream of the pool may not support cork. */
  readonly stream: { cork?(): void; uncork?(): void }
  readonly parsedStatements: Record<string, string | undefined>
  readonly submittedNamedStatements: Record<string, string | undefined>
  parse(statement: { text: string; name: string }): void
  bind(portal: { statement: string; values: unknown[] }): void
  execute(portal: object): void
  sync(): void
}

export class Statement {
  readonly text: string
  /** '' leaves it unprepared. node-postgres records the names that a connection knows. */
  readonly name: string
  readonly values: unknown[]
  callback: (error: Error | null, rows?: unknown[]) => void
  readonly #rows: unknown[] = []

  constructor(text: string, name: string, values: unknown[], callback: Statement['callback']) {
    this.text = text
    this.name = name
    this.values = values
    this.callback = callback
  }

  submit(connection: Connection): null {
    const { text, name } = this
    connection.stream.cork?.()
    try {
      const known = connection.parsedStatements[name] ?? connection.submittedNamedStatements[name]
      if (name === '' || known !== text) {
        connection.parse({ text, name })
        if (name !== '') connection.submittedNamedStatements[name] = text
      }
      connection.bind({ statement: name, values: this.values })
      connection.execute({})
      connection.sync()
    } finally {
      connection.stream.uncork?.()
    }
    return null
  }

  handleDataRow(message: { readonly fields: unknown }): void {
    this.#rows.push(message.fields)
  }

  handleError(error: Error): void {
    this.callback(error)
  }

  handleReadyForQuery(): void {
    this.callback(null, this.#rows)
  }

  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
}

export function parameter(value: Parameter): Exclude<Parameter, number> {
  return typeof value === 'number' ? String(value) : value
}

const names = new Map<string, string>()

/** The same text has the same name in every process; different texts have different names. */
export function nameOf(text: string): string {
  let name = names.get(text)
  if (name === undefined) {
    name = `pgstore_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
    names.set(text, name)
  }
  return name
}
