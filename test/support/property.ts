// fast-check, with one sequence of examples in every run of the suite: a red CI is then a change's fault, and repeats. New examples
// come with PGSTORE_SEED=random, as in `npm run faults`, and a failure prints the seed to go back to.
import fc from 'fast-check'

const asked = process.env['PGSTORE_SEED'] ?? '20261128'
fc.configureGlobal({ includeErrorInReport: true, ...(asked !== 'random' && { seed: Number(asked) }) })

export { fc }
