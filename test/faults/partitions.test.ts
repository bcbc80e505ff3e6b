// A partition behind PL/Proxy that is away, briefly; `npm run cluster -- outage` is the long form, and judges times too.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Cluster, howToInstall, plproxyBin } from '../../scripts/cluster/cluster.ts'
import { measureOutage, outageProblems } from '../../scripts/cluster/outage.ts'
import { closeAll } from '../support/harness.ts'
import { report } from './faults.ts'

test.after(closeAll)

if (plproxyBin() === undefined) {
  console.log(`Skipped: a partition that is away. ${howToInstall()}`)
  test.skip('F34: a partition that is away fails its own sessions alone, and they are served when it is back', () => {})
} else {
  test('F34: a partition that is away fails its own sessions alone, and they are served when it is back', async () => {
    const cluster = await Cluster.start()
    try {
      const database = await cluster.createDatabase('outage')
      const rows = await measureOutage(cluster, database, { lanes: 4, visitors: 32, seconds: 3, restSeconds: 1 })
      assert.equal(outageProblems(rows), [])
      for (const { what, own, others } of rows) {
        assert.ok(others.served > 0)
        if (what === 'refuses connections') assert.ok(own.failures.has('unavailable'))
      }
      const text = rows.map(
        ({ what, others, own }) => `${what}: others ${others.served} served, 0 failed, own ${own.failed} failed`,
      )
      const times = rows.flatMap(({ what, returnMs }) =>
        returnMs === undefined
          ? []
          : [[`served after it ${what === 'frozen' ? 'thawed' : 'started'}`, returnMs] as const],
      )
      const figures = Object.fromEntries(times.map(([name, is]) => [name, { is, most: 2000 }]))
      report('F34', 'one partition of four refuses, then is frozen, for 3 s each; four lanes', text.join('; '), figures)
    } finally {
      await cluster.stop()
    }
  })
}

test.run()
