// Go's encoding/gob, as far as a session's values need it. A stream defines its types before their values, so values of
// types that only the Go program knows can be read too. https://pkg.go.dev/encoding/gob
import type { Json } from '../../session/json.ts'
import { broken, GobStream, Unreadable } from './gob-stream.ts'

/** The values of a session, or why they cannot be read: a phrase that quotes none of them. */
export type GobResult = { readonly values: { readonly [key: string]: Json } } | { readonly problem: string }

/**
 * Reads one gob stream that contains a map, such as the `map[interface{}]interface{}` of gorilla/sessions. It never throws,
 * and its work is bounded, whatever the bytes are.
 *
 * Text, booleans, numbers, slices, arrays, maps and nil become their JSON equivalents; a struct becomes an object, in which
 * fields that Go left out because they are zero are filled in. Integers beyond 2^53 become decimal text, byte slices
 * base64, and a `time.Time` its ISO 8601 text in UTC, to the millisecond. Map keys become text.
 */
export function readGobMap(data: Buffer): GobResult {
  try {
    return { values: new Reader(data).map() }
  } catch (error) {
    if (error instanceof Unreadable) return { problem: error.message }
    throw error
  }
}

const mostLevels = 32
const mostValues = 100_000
const mostTypes = 1000
const firstUserType = 64

/** Ids of the predefined types. */
const ids = { bool: 1, int: 2, uint: 3, float: 4, bytes: 5, string: 6, complex: 7, interface: 8 } as const

type Definition =
  | { readonly kind: 'list'; readonly element: number; readonly length: number | undefined }
  | { readonly kind: 'struct'; readonly fields: readonly Field[] }
  | { readonly kind: 'map'; readonly key: number; readonly element: number }
  | { readonly kind: 'encoder'; readonly name: string }

interface Field {
  readonly name: string
  readonly type: number
}

class Reader {
  readonly #in: GobStream
  readonly #types = new Map<number, Definition>()
  #level = 0
  #values = 0

  constructor(data: Buffer) {
    this.#in = new GobStream(data)
  }

  map(): { readonly [key: string]: Json } {
    this.#in.size() // of the first message
    const type = this.#typeOfValue()
    if (this.#types.get(type)?.kind !== 'map') throw new Unreadable('not a map at the top level')
    const values = this.#single(type)
    if (!this.#in.isAtEnd) throw broken()
    return values as { readonly [key: string]: Json }
  }

  /** What comes next: any number of definitions, and then the type of a value. */
  #typeOfValue(): number {
    for (;;) {
      const id = this.#in.smallInt()
      if (id >= 0) return id
      if (-id < firstUserType || this.#types.has(-id)) throw broken()
      if (this.#types.size === mostTypes) throw new Unreadable('too many types')
      this.#types.set(-id, this.#definition())
      // A definition ends its message, wherever it is: the length of the next one follows.
      this.#in.size()
    }
  }

  #definition(): Definition {
    let found: Definition | undefined
    this.#in.fields(7, (kind) => {
      let [name, first, second] = ['', 0, 0]
      let fields: Field[] = []
      this.#in.fields(kind > 4 ? 1 : kind === 2 || kind === 3 ? 2 : 3, (field) => {
        if (field === 1) name = this.#common()
        else if (kind === 3) fields = this.#in.list(() => this.#field())
        else if (field === 2) first = this.#in.smallInt()
        else second = this.#in.smallInt()
      })
      if (kind === 1) found = { kind: 'list', element: first, length: second }
      else if (kind === 2) found = { kind: 'list', element: first, length: undefined }
      else if (kind === 3) found = { kind: 'struct', fields }
      else if (kind === 4) found = { kind: 'map', key: first, element: second }
      else found = { kind: 'encoder', name }
    })
    if (!found) throw broken()
    return found
  }

  /** Name and id of a type; the id says nothing new. */
  #common(): string {
    let name = ''
    this.#in.fields(2, (field) => {
      if (field === 1) name = this.#in.text()
      else this.#in.smallInt()
    })
    return name
  }

  #field(): Field {
    let [name, type] = ['', 0]
    this.#in.fields(2, (field) => {
      if (field === 1) name = this.#in.text()
      else type = this.#in.smallInt()
    })
    return { name, type }
  }

  /** A top-level value: all but structs have a zero in front. */
  #single(type: number): Json {
    if (this.#types.get(type)?.kind !== 'struct' && this.#in.size() !== 0) throw broken()
    return this.#value(type)
  }

  #value(type: number): Json {
    if (++this.#values > mostValues) throw new Unreadable('too many values')
    switch (type) {
      case ids.bool:
        return this.#in.size() !== 0
      case ids.int:
        return integer(this.#in.int())
      case ids.uint:
        return integer(this.#in.uint())
      case ids.float:
        return this.#in.float()
      case ids.bytes:
        return this.#in.bytes().toString('base64')
      case ids.string:
        return this.#in.text()
      case ids.complex:
        throw new Unreadable('a complex number')
    }
    if (++this.#level > mostLevels) throw new Unreadable(`more than ${mostLevels} levels`)
    const value = type === ids.interface ? this.#interface() : this.#composite(this.#types.get(type))
    this.#level--
    return value
  }

  #composite(definition: Definition | undefined): Json {
    switch (definition?.kind) {
      case 'list': {
        const list = this.#in.list(() => this.#value(definition.element))
        if (definition.length !== undefined && definition.length !== list.length) throw broken()
        return list
      }
      case 'map':
        return this.#mapOf(definition.key, definition.element)
      case 'struct':
        return this.#struct(definition.fields)
      case 'encoder':
        if (definition.name === 'Time') return time(this.#in.bytes())
        throw new Unreadable('a type with a custom encoding')
      case undefined:
        throw broken()
    }
  }

  /** The name under which the concrete type is registered (none: nil), its type, the value's length, the value. */
  #interface(): Json {
    if (this.#in.bytes().length === 0) return null
    const type = this.#typeOfValue()
    this.#in.size()
    return this.#single(type)
  }

  #mapOf(keyType: number, elementType: number): Json {
    const map: Record<string, Json> = Object.create(null)
    for (let left = this.#in.size(); left > 0; left--) {
      const key = this.#value(keyType)
      if (typeof key === 'object') throw new Unreadable('a map key that is not text, a number or a boolean')
      const name = String(key)
      if (name in map) throw new Unreadable('two map keys with the same text')
      map[name] = this.#value(elementType)
    }
    return map
  }

  #struct(fields: readonly Field[]): Json {
    const struct: Record<string, Json> = Object.create(null)
    this.#values += fields.length
    if (this.#values > mostValues) throw new Unreadable('too many values')
    for (const { name, type } of fields) struct[name] = zero(type)
    this.#in.fields(fields.length, (number) => {
      const { name, type } = fields[number - 1] as Field
      struct[name] = this.#value(type)
    })
    return struct
  }
}

function integer(value: bigint): number | string {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : String(value)
}

function zero(type: number): Json {
  switch (type) {
    case ids.bool:
      return false
    case ids.int:
    case ids.uint:
    case ids.float:
      return 0
    case ids.bytes:
    case ids.string:
      return ''
    default:
      return null
  }
}

/** Version 1 or 2, seconds since the year 1, nanoseconds, minutes of offset, and seconds of it in version 2: big-endian. */
function time(bytes: Buffer): string {
  const [version] = bytes
  if (!((version === 1 && bytes.length === 15) || (version === 2 && bytes.length === 16))) {
    throw new Unreadable('a type with a custom encoding')
  }
  const seconds = Number(bytes.readBigInt64BE(1)) - 62_135_596_800
  const date = new Date(seconds * 1000 + Math.floor(bytes.readInt32BE(9) / 1e6))
  if (Number.isNaN(date.getTime())) throw new Unreadable('a time out of range')
  return date.toISOString()
}
