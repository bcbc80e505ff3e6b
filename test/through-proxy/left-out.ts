// Which tests run through a proxy, and which cannot.

/** Of the whole suite, those that have a part in what a proxy changes: all that call a function of ours. */
const files =
  /^(adapters|cache|cleanup|cli|database|events|examples|history|schema|security|session|sql|store|telemetry)\//

/** In CI, where it may take four minutes: each function, and the store over them. */
const chosen = /^sql\/|^store\/(store|life|values|limits|model|sign-in|endings)\.|^through-proxy\//

/** Tests that cannot pass there, by file and a pattern of their names; `.` is the whole file. */
const reasons: readonly (readonly [file: RegExp, name: string, reason: string])[] = []

export function runsThroughProxy(file: string, isAll: boolean): boolean {
  return (isAll ? files : chosen).test(file) && !leftOut(file).some(([name]) => name === '.')
}

/** Patterns of names, and why they are left out. */
export function leftOut(file: string): [name: string, reason: string][] {
  return reasons.flatMap(([files, name, reason]) => (files.test(file) ? [[name, reason]] : []))
}
