/**
 * How often a test repeats its steps: with `npm test` seldom, to save time; CI, and `npm run faults` for faults/, as often as the
 * test is meant to, by PGSTORE_COUNTS=full.
 */
export function counts(quick: number, full: number): number {
  return process.env['PGSTORE_COUNTS'] === 'full' ? full : quick
}
