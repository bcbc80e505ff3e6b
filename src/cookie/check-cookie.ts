import { refuse } from '../errors.ts'
import { cookieNameProblems, cookieOptionProblems, type SessionOptions } from './cookie-options.ts'
import { hintNameProblems } from './hint.ts'

/**
 * @throws {PGStoreError} `invalid_option` for a name that is not a valid cookie name, or options that browsers would refuse
 * for it
 */
export function checkCookie(
  { name, options }: { readonly name: string; readonly options: SessionOptions },
  hasHint: boolean,
): void {
  const problems = [...cookieNameProblems(name, options), ...cookieOptionProblems(options)]
  refuse(hasHint && problems.length === 0 ? hintNameProblems(name) : problems)
}
