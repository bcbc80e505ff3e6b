// What a session can hold. JSON.stringify drops, replaces or alters values that JSON cannot carry, and Postgres refuses some
// that it can: both are detected here, before any query, with the path to the value.
import { PGStoreError } from '../errors.ts'

/** A value as JSON carries it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Longest path in an error's message, in characters: a visitor may have chosen the names. */
const maxPathLength = 200

/**
 * Deepest nesting of arrays and objects in one value: JSON.parse, JSON.stringify and jsonb each fail at different depths.
 */
const maxDepth = 64

/**
 * The JSON text of a session's value. Objects with `toJSON` are replaced by its result, so a Date becomes its ISO string;
 * properties that are undefined are left out.
 *
 * @throws {PGStoreError} `invalid_value`, naming the path: undefined in an array, a function, symbol or BigInt, NaN and the
 * infinities, text that Postgres cannot store (NUL, lone surrogates), an object that is neither plain nor has `toJSON`, more
 * than 64 levels, a cycle
 */
export function encodeJson(value: unknown, path: string): string {
  check(value, path, '', [])
  return JSON.stringify(value)
}

/**
 * How many bytes a text of `encodeJson` takes as Postgres prints it from jsonb: a space follows each colon and comma outside
 * strings, and 1e+21 is printed digit by digit. Strings are printed as they are here. Never less than the bytes of the text itself.
 */
export function printedBytes(text: string): number {
  let bytes = Buffer.byteLength(text)
  const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|[:,]|(-?)\d(?:\.(\d+))?e([+-]\d+)/g
  for (const [token, sign = '', decimals = '', exponent] of text.matchAll(tokens)) {
    if (token === ':' || token === ',') bytes++
    if (exponent === undefined) continue
    // JSON.stringify writes an exponent from 21 up, more than a number has decimals, and from -7 down.
    const power = Number(exponent)
    bytes += sign.length + (power > 0 ? 1 + power : 2 - power + decimals.length) - token.length
  }
  return bytes
}

/** @param isReplaced the value is what a toJSON returned: JSON.stringify does not call a second one */
function check(value: unknown, path: string, key: string, ancestors: object[], isReplaced = false): void {
  switch (typeof value) {
    case 'boolean':
      return
    case 'string':
      checkText(value, path)
      return
    case 'number':
      if (!Number.isFinite(value)) throw refused(path, `is ${value}`)
      return
    case 'object':
      if (value !== null) checkObject(value, path, key, ancestors, isReplaced)
      return
    default:
      throw refused(path, `is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`)
  }
}

function checkObject(value: object, path: string, key: string, ancestors: object[], isReplaced: boolean): void {
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function' && !isReplaced) {
    if (value instanceof Date && Number.isNaN(value.getTime())) throw refused(path, 'is an invalid Date')
    check(toJSON.call(value, key), path, key, ancestors, true)
    return
  }
  if (ancestors.includes(value)) throw refused(path, 'contains itself')
  if (ancestors.length === maxDepth) throw refused(path, `is more than ${maxDepth} levels deep`)
  ancestors.push(value)
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) check(value[i], `${path}[${i}]`, String(i), ancestors)
  } else {
    checkPlain(value, path)
    for (const name of Object.keys(value)) {
      const inner = (value as Record<string, unknown>)[name]
      if (inner === undefined) continue
      const innerPath = memberPath(path, name)
      checkText(name, innerPath)
      check(inner, innerPath, name, ancestors)
    }
  }
  ancestors.pop()
}

/**
 * Plain: made by `{}` in this realm or another, or without a prototype. After `x.__proto__ = {…}` an object is no longer
 * plain.
 */
export function checkPlain(value: object, path: string): void {
  const prototype: object | null = Object.getPrototypeOf(value)
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return
  const made = (prototype as { constructor?: { name?: unknown } }).constructor?.name
  throw refused(path, typeof made === 'string' && made !== 'Object' ? `is a ${made}` : 'is not a plain object')
}

/** Refuses text with NUL, which jsonb and text cannot store, or with lone surrogates. */
export function checkText(text: string, path: string): void {
  if (typeof text !== 'string') throw refused(path, 'is not a string')
  if (text.includes('\0')) throw refused(path, 'contains a NUL character')
  if (!text.isWellFormed()) throw refused(path, 'contains a lone surrogate')
}

/** `path.name`, or `path["na me"]` if the name is not an identifier. */
export function memberPath(path: string, name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`
}

function refused(path: string, problem: string): PGStoreError {
  const shown = path.length > maxPathLength ? `${path.slice(0, maxPathLength)}…` : path
  return new PGStoreError('invalid_value', `${shown} ${problem}: a session cannot store that.`)
}

/**
 * Whether a value would be stored as `stored`; keys in any order, as jsonb has none. A loop, not a recursion: SQL may have
 * stored a value thousands of levels deep.
 */
export function sameJson(stored: Json, value: unknown, key = ''): boolean {
  if (stored === value) return true
  const pairs: [stored: Json, value: unknown, key: string][] = [[stored, value, key]]
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const [one, given, name] = pair
    const other = withToJson(given, name)
    if (one === other) continue
    if (typeof one !== 'object' || one === null || typeof other !== 'object' || other === null) return false
    if (Array.isArray(one) !== Array.isArray(other)) return false
    if (!pushMembers(one, other, pairs)) return false
  }
  return true
}

function withToJson(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return value
  const { toJSON } = value as { toJSON?: unknown }
  return typeof toJSON === 'function' ? toJSON.call(value, key) : value
}

/** Adds the pairs to compare next, except identical ones; false if the two have different members. */
function pushMembers(stored: object, value: object, pairs: [Json, unknown, string][]): boolean {
  if (Array.isArray(stored)) {
    const list = value as readonly unknown[]
    if (list.length !== stored.length) return false
    for (let i = 0; i < list.length; i++) {
      if (stored[i] !== list[i]) pairs.push([stored[i] as Json, list[i], String(i)])
    }
    return true
  }
  let kept = 0
  for (const name of Object.keys(value)) {
    const inner = (value as Record<string, unknown>)[name]
    if (inner === undefined) continue
    if (!Object.hasOwn(stored, name)) return false
    const one = (stored as { readonly [key: string]: Json })[name] as Json
    if (one !== inner) pairs.push([one, inner, name])
    kept++
  }
  return kept === Object.keys(stored).length
}
