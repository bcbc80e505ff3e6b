// uvu in a folder where only this one is found: it leaves out the tests that left-out.ts names for the file, and says so.
import { test as realTest } from 'uvu'

/** @type {[string, string][]} Patterns of names, and reasons. */
const leftOut = JSON.parse(process.env['PGSTORE_TEST_LEFT_OUT'] ?? '[]')

/** @type {typeof realTest} */
export const test = Object.assign((/** @type {any[]} */ ...args) => {
  const name = typeof args[0] === 'string' ? args[0] : ''
  const [, reason] = leftOut.find(([pattern]) => new RegExp(pattern).test(name)) ?? []
  if (reason === undefined) return realTest(...args)
  console.log(`Left out: ${name}: ${reason}`)
}, realTest)
