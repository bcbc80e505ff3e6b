// The option `deviceBound`.
import { type CodecOptions, sealSecrets } from '../cookie/codec-options.ts'
import type { SessionOptions } from '../cookie/cookie-options.ts'
import { unknownNames } from '../errors.ts'
import { BoundSecrets } from './bound-secrets.ts'

/** Experimental, as the draft is: https://w3c.github.io/webappsec-dbsc/ */
export interface DeviceBoundOptions {
  /** Name of the cookie of the sessions that are bound, as it is given to `store.get`. Default: 'sid'. */
  readonly name?: string | undefined
  /** Where the browser registers its key and proves that it still has it: a path of the site. Default: '/device-bound'. */
  readonly path?: string | undefined
  /**
   * Seconds for which a proof holds, from 300 to 86,400: as long as the second cookie lives. Chromium signs six times in nine
   * minutes and no more, two of which a sign-in takes. Default: 300.
   */
  readonly maxAge?: number | undefined
  /**
   * Seconds after that in which requests without the second cookie are still served, from 60 to 3,600: a browser that could not
   * reach the server goes on meanwhile. Default: 300.
   */
  readonly grace?: number | undefined
}

/**
 * Seconds that the first cookie lives: with two minutes or less left, Chromium comes back at the next request. From then on the server
 * knows that its answer has arrived.
 */
export const firstSeconds = 120

const names = { name: true, path: true, maxAge: true, grace: true } satisfies Record<keyof DeviceBoundOptions, true>

/** The option, checked and complete. */
export interface DeviceBoundSettings {
  readonly name: string
  /** Name of the second cookie. */
  readonly cookie: string
  readonly path: string
  readonly maxAge: number
  readonly grace: number
  readonly secrets: BoundSecrets
}

/**
 * Adds to `problems` what is wrong with it; undefined if sessions are not to be bound.
 *
 * @param session the attributes of the sessions' cookie
 */
export function parseDeviceBound(
  given: unknown,
  keys: CodecOptions,
  session: Pick<SessionOptions, 'path' | 'secure'>,
  problems: string[],
): DeviceBoundSettings | undefined {
  if (given === undefined || given === false) return undefined
  if (given !== true && (typeof given !== 'object' || given === null)) {
    problems.push('deviceBound must be true, false or an object')
    return undefined
  }
  const options = given === true ? {} : given
  problems.push(...unknownNames(options, names).map((problem) => `deviceBound: ${problem}`))
  const own = <Name extends keyof DeviceBoundOptions>(name: Name) =>
    Object.hasOwn(options, name) ? (options as DeviceBoundOptions)[name] : undefined
  const {
    name = 'sid',
    path = '/device-bound',
    maxAge = 300,
    grace = 300,
  } = {
    name: own('name'),
    path: own('path'),
    maxAge: own('maxAge'),
    grace: own('grace'),
  }
  if (typeof name !== 'string' || !/^[!#$%&'*+.^_`|~\w-]+$/.test(name))
    problems.push('deviceBound.name must be a cookie name')
  if (typeof path !== 'string' || !/^\/[\w./~-]*$/.test(path)) {
    problems.push('deviceBound.path must be a path of letters, digits and / . _ ~ -, such as /device-bound')
  }
  problems.push(...rangeProblems('maxAge', maxAge, 300, 86400), ...rangeProblems('grace', grace, 60, 3600))
  if (session.secure === false) problems.push('deviceBound needs a session cookie with secure, and HTTPS')
  if (typeof path === 'string' && !isWithin(path, session.path)) {
    problems.push(`deviceBound.path must lie within the session cookie's path, ${session.path}`)
  }
  if (keys.codecs !== undefined) problems.push('deviceBound needs keys or keyPairs, from which it derives its own')
  if (problems.length > 0) return undefined
  const cookie = `__Host-${name.replace(/^__(host-http|host|http|secure)-/i, '')}-b`
  return { name, cookie, path, maxAge, grace, secrets: new BoundSecrets(sealSecrets(keys)) }
}

/** @param boundName name of the cookie of the sessions that are bound, undefined where none are */
export function boundProblems(bound: unknown, name: string, boundName: string | undefined): string[] {
  if (bound !== 'prefer' && bound !== 'require') return ["bound must be 'prefer' or 'require'"]
  if (bound === 'prefer' || name === boundName) return []
  return [
    boundName === undefined
      ? "bound: 'require' needs the option deviceBound"
      : `bound: 'require' is for the cookie that deviceBound names, "${boundName}"`,
  ]
}

/** RFC 6265 §5.1.4: whether a cookie of this path is sent to the other one. */
function isWithin(path: string, cookiePath: unknown): boolean {
  if (typeof cookiePath !== 'string' || cookiePath === path) return true // what is no path is named elsewhere
  return path.startsWith(cookiePath.endsWith('/') ? cookiePath : `${cookiePath}/`)
}

function rangeProblems(name: string, seconds: unknown, least: number, most: number): string[] {
  const isValid = typeof seconds === 'number' && Number.isInteger(seconds) && seconds >= least && seconds <= most
  return isValid ? [] : [`deviceBound.${name} must be a whole number of seconds from ${least} to ${most}`]
}
