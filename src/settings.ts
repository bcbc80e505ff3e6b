// The options of a store, all checked at once: one error names every problem.

import { type DeviceBoundSettings, parseDeviceBound } from './bound/bound-options.ts'
import { type CacheLimits, parseCache } from './cache/cache-options.ts'
import type { Codec } from './cookie/codec.ts'
import { parseCodecs, sealSecrets } from './cookie/codec-options.ts'
import {
  cookieOptionProblems,
  defaultCookieOptions,
  longestLife,
  type SessionOptions,
} from './cookie/cookie-options.ts'
import { type ClearSiteDataDirective, parseClearSiteData } from './cookie/response.ts'
import { type BatchLimits, batchProblems, defaultBatchLimits } from './database/batch-limits.ts'
import { defaultFailFast } from './database/circuit.ts'
import { connectionStringProblems, type Pool, poolProblems, poolSize } from './database/pool.ts'
import { PGStoreError, refuse, unknownNames } from './errors.ts'
import { listenConnections } from './events/listen.ts'
import { sleepProblems } from './events/sleep.ts'
import type { PGStoreOptions } from './options.ts'
import { schemaProblems } from './schema/schema-name.ts'
import { type Durability, durabilityProblems } from './session/durability.ts'
import { ValuesSchema, valuesProblems } from './session/values-schema.ts'

/** The options, checked and complete. */
export interface Settings {
  readonly batch: BatchLimits | false
  readonly cache: CacheLimits | undefined
  readonly prepare: boolean | undefined
  /** Infinity for never. */
  readonly failFast: number
  readonly connectionString: string | undefined
  readonly pool: Pool | undefined
  readonly directConnectionString: string | readonly string[] | undefined
  readonly codecs: readonly Codec[]
  readonly options: SessionOptions
  readonly maxLength: number
  readonly lifetime: number | null
  readonly anonymousMaxAge: number | null
  readonly touchAfter: number | null
  readonly sessionsPerUser: number | null
  /** What the sealing keys are derived from; undefined if nothing is sealed. */
  readonly sealing: { readonly secrets: readonly Uint8Array[]; readonly acceptsPlain: boolean } | undefined
  readonly cacheHeaders: boolean
  readonly clearSiteData: readonly ClearSiteDataDirective[]
  readonly schema: string
  /** undefined over one client: the transaction, and its setting, are the caller's. */
  readonly durability: Durability | undefined
  readonly values: ValuesSchema | undefined
  readonly sleepAfter: number | undefined
  /** undefined where sessions are not bound to devices. */
  readonly deviceBound: DeviceBoundSettings | undefined
}

const names = {
  connectionString: true,
  pool: true,
  directConnectionString: true,
  keys: true,
  keyPairs: true,
  codecs: true,
  options: true,
  maxLength: true,
  lifetime: true,
  anonymousMaxAge: true,
  touchAfter: true,
  sessionsPerUser: true,
  seal: true,
  cacheHeaders: true,
  clearSiteData: true,
  schema: true,
  prepare: true,
  failFast: true,
  batch: true,
  cache: true,
  durability: true,
  values: true,
  invalidValues: true,
  sleepAfter: true,
  deviceBound: true,
} satisfies Record<keyof PGStoreOptions, true>

/** @throws {PGStoreError} `invalid_option`, with a sentence for each problem */
export function parseOptions(given: PGStoreOptions): Settings {
  if (typeof given !== 'object' || given === null) {
    throw new PGStoreError('invalid_option', 'The options must be an object.')
  }
  const problems = unknownNames(given, names)
  const { connectionString, pool, directConnectionString, maxLength = 4096, lifetime = 90 * 86400 } = given
  if (connectionString === undefined && pool === undefined)
    problems.push('connectionString is not set, nor is pool: is DATABASE_URL there?')
  if (connectionString !== undefined && pool !== undefined) problems.push('give connectionString or pool, not both')
  problems.push(...connectionStringProblems(connectionString).map((problem) => `connectionString ${problem}`))
  problems.push(...directProblems(directConnectionString))
  if (pool !== undefined) problems.push(...poolProblems(pool))
  problems.push(...maxLengthProblems(maxLength))
  if (lifetime !== null && !(typeof lifetime === 'number' && lifetime >= 0.001 && lifetime <= longestLife)) {
    problems.push('lifetime must be a number of seconds, at most a hundred years, or null')
  }
  const { touchAfter = null } = given
  if (touchAfter !== null && !(typeof touchAfter === 'number' && touchAfter >= 0 && touchAfter <= longestLife / 100)) {
    problems.push('touchAfter must be a number of seconds from 0 to a year')
  }
  const { anonymousMaxAge = null, sessionsPerUser = null, seal = false, cacheHeaders = true } = given
  if (anonymousMaxAge !== null && !(typeof anonymousMaxAge === 'number' && anonymousMaxAge >= 0.001)) {
    problems.push('anonymousMaxAge must be a positive number of seconds, or null')
  }
  if (
    sessionsPerUser !== null &&
    !(Number.isInteger(sessionsPerUser) && sessionsPerUser > 0 && sessionsPerUser < 1e9)
  ) {
    problems.push('sessionsPerUser must be a positive whole number, or null')
  }
  if (![true, false, 'gradual'].includes(seal)) problems.push("seal must be true, false or 'gradual'")
  else if (seal && given.codecs !== undefined)
    problems.push('seal needs keys or keyPairs, from which it derives its keys')
  if (typeof cacheHeaders !== 'boolean') problems.push('cacheHeaders must be true or false')
  const clearSiteData = parseClearSiteData(given.clearSiteData ?? false, problems)
  const schema = given.schema ?? 'pgstore'
  problems.push(...schemaProblems(schema))
  const options = { ...defaultCookieOptions, ...definedOnly(given.options) }
  problems.push(...unknownNames(given.options ?? {}, defaultCookieOptions).map((problem) => `options: ${problem}`))
  problems.push(...cookieOptionProblems(options).map((problem) => `options.${problem}`))
  const { prepare } = given
  if (prepare !== undefined && typeof prepare !== 'boolean') problems.push('prepare must be true or false')
  const { failFast = defaultFailFast } = given
  if (failFast !== false && !(Number.isInteger(failFast) && failFast > 0))
    problems.push('failFast must be a positive whole number, or false')
  const batch = given.batch !== false && ({ ...defaultBatchLimits, ...definedOnly(given.batch) } as BatchLimits)
  if (batch) {
    problems.push(...unknownNames(batch, defaultBatchLimits).map((problem) => `batch: ${problem}`))
    problems.push(...batchProblems(batch, pool && poolSize(pool)))
  }
  const cache = parseCache(Object.hasOwn(given, 'cache') ? given.cache : undefined, problems)
  if (
    cache &&
    cache.sessions > 0 &&
    listenConnections({ connectionString, directConnectionString, pool }).length === 0
  ) {
    problems.push('cache needs a connection of its own: give connectionString, directConnectionString or a pg.Pool')
  }
  const { durability = 'durable' } = given
  problems.push(...durabilityProblems(durability))
  const { values, invalidValues = 'error' } = given
  problems.push(...valuesProblems(values, invalidValues))
  const { sleepAfter } = given
  problems.push(...sleepProblems(sleepAfter))
  const codecs = parseCodecs(given, problems)
  const deviceBound = parseDeviceBound(
    Object.hasOwn(given, 'deviceBound') ? given.deviceBound : undefined,
    given,
    options,
    problems,
  )
  refuse(problems)
  return {
    connectionString,
    pool,
    directConnectionString,
    codecs,
    options,
    maxLength,
    lifetime,
    anonymousMaxAge,
    touchAfter,
    sessionsPerUser,
    sealing: seal ? { secrets: sealSecrets(given), acceptsPlain: seal === 'gradual' } : undefined,
    cacheHeaders,
    clearSiteData,
    schema,
    prepare,
    failFast: failFast === false ? Number.POSITIVE_INFINITY : failFast,
    batch,
    cache,
    durability,
    sleepAfter,
    deviceBound,
    values: values && new ValuesSchema(values, invalidValues),
  }
}

/** What is wrong with this limit on a session's size; empty if it is valid. */
export function maxLengthProblems(maxLength: unknown): string[] {
  const isLimit = Number.isInteger(maxLength) && Number(maxLength) >= 0 && Number(maxLength) < 2 ** 31
  return isLimit ? [] : ['maxLength must be a whole number of bytes, or 0 for no limit']
}

/** A list names one connection for each partition. */
function directProblems(direct: unknown): string[] {
  if (!Array.isArray(direct))
    return connectionStringProblems(direct).map((problem) => `directConnectionString ${problem}`)
  const problems = direct.flatMap((url, place) =>
    connectionStringProblems(url ?? null).map((problem) => `directConnectionString[${place}] ${problem}`),
  )
  if (direct.length === 0) problems.push('directConnectionString must name at least one connection')
  if (new Set(direct).size < direct.length) problems.push('directConnectionString names a connection twice')
  return problems
}

/** `{ path: undefined }` means the default, as everywhere. */
function definedOnly<T extends object>(given: T | undefined): Partial<T> {
  return Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined)) as Partial<T>
}
