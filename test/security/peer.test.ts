// bench/security.ts attacks connect-pg-simple in the same way: its packages are the bench's, `npm ci --prefix bench`.
import fs from 'node:fs'
import { tsImport } from 'tsx/esm/api'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, emptyDatabase } from '../support/harness.ts'

interface Comparison {
  readonly attack: string
  readonly pgstore: string
  readonly peer: string
}

/** Not imported by name: it needs the bench's packages, types included. */
interface Bench {
  readonly compare: (connectionString: string) => Promise<Comparison[]>
  readonly table: (comparisons: readonly Comparison[]) => string[]
}

test.after(closeAll)

const title = 'SECURITY.md shows what the same attacks do to pgstore and to connect-pg-simple'

if (fs.existsSync(new URL('../../bench/node_modules/connect-pg-simple', import.meta.url))) {
  test(title, async () => {
    const { compare, table } = (await tsImport(
      new URL('../../bench/security.ts', import.meta.url).href,
      import.meta.url,
    )) as Bench
    const comparisons = await compare(await emptyDatabase())
    const page = fs.readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8')
    const shown = page.split('\n').map((line) => line.trim())
    assert.equal(
      table(comparisons).filter((line) => !shown.includes(line)),
      [],
    )
  })
} else {
  test.skip(title)
  console.log('Skipped: the comparison with connect-pg-simple. It is not installed here: npm ci --prefix bench.')
}

test.run()
