// What a session can hold. JSON.stringify drops, replaces or alters what JSON cannot carry, and Postgres refuses some of what
// it can: both are found out here, before any query, with the path that leads to the value.
import { PGStoreError } from './errors.ts'

/** A value as JSON carries it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Deepest nesting of arrays and objects in one value: JSON.parse, JSON.stringify and jsonb each fail at other depths. */
const maxDepth = 64

/**
 * The JSON text of a session's value. Objects with `toJSON` go as what it returns, so a Date becomes its ISO string; an
 * object's properties that are undefined are left out.
 *
 * @throws {PGStoreError} `invalid_value`, naming the path: undefined in an array, a function, symbol or BigInt, NaN and the
 *   infinities, text that Postgres cannot store (NUL, lone surrogates), an object that is neither plain nor has `toJSON`, more
 *   than 64 levels, a cycle
 */
export function encodeJson(value: unknown, path: string): string {
  check(value, path, '', [])
  return JSON.stringify(value)
}

function check(value: unknown, path: string, key: string, ancestors: object[]): void {
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
      if (value !== null) checkObject(value, path, key, ancestors)
      return
    default:
      throw refused(path, `is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`)
  }
}

function checkObject(value: object, path: string, key: string, ancestors: object[]): void {
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    if (value instanceof Date && Number.isNaN(value.getTime())) throw refused(path, 'is an invalid Date')
    const replaced: unknown = toJSON.call(value, key)
    if (replaced !== value) {
      check(replaced, path, key, ancestors)
      return
    }
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

/** Plain: made by `{}` in this realm or another, or without a prototype. `x.__proto__ = {…}` leaves a plain object no more. */
export function checkPlain(value: object, path: string): void {
  const prototype: object | null = Object.getPrototypeOf(value)
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return
  const made = (prototype as { constructor?: { name?: unknown } }).constructor?.name
  throw refused(path, typeof made === 'string' && made !== 'Object' ? `is a ${made}` : 'is no plain object')
}

/** What is refused as text: NUL, which jsonb and text cannot store, and surrogates without their half. */
export function checkText(text: string, path: string): void {
  if (text.includes('\0')) throw refused(path, 'holds a NUL character')
  if (!text.isWellFormed()) throw refused(path, 'holds half a surrogate pair')
}

/** `path.name`, or `path["na me"]` where the name is no identifier. */
export function memberPath(path: string, name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`
}

function refused(path: string, problem: string): PGStoreError {
  return new PGStoreError('invalid_value', `${path} ${problem}: a session cannot hold that.`)
}

/** Whether a value would be stored as `stored` is; keys in any order, as jsonb keeps none. */
export function sameJson(stored: Json, value: unknown, key = ''): boolean {
  if (stored === value) return true
  if (typeof value !== 'object' || value === null) return false
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') {
    const replaced: unknown = toJSON.call(value, key)
    if (replaced !== value) return sameJson(stored, replaced, key)
  }
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored) !== Array.isArray(value)) return false
  if (Array.isArray(value)) {
    const list = stored as readonly Json[]
    return list.length === value.length && list.every((item, i) => sameJson(item, value[i], String(i)))
  }
  const object = stored as { readonly [key: string]: Json }
  let kept = 0
  for (const name of Object.keys(value)) {
    const inner = (value as Record<string, unknown>)[name]
    if (inner === undefined) continue
    if (!Object.hasOwn(object, name) || !sameJson(object[name] as Json, inner, name)) return false
    kept++
  }
  return kept === Object.keys(object).length
}
