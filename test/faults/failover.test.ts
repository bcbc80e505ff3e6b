// A failover: the primary dies under load, its standby is promoted, and the old primary comes back as a standby.
import * as assert from 'uvu/assert'
import { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, hashKey, rejection, until } from '../support/harness.ts'
import { startProxy } from '../support/proxy.ts'
import { report, test } from './faults.ts'
import { Load } from './load.ts'
import { canStartServers, OwnServer } from './own-server.ts'

test.after(closeAll)

if (!canStartServers) console.log('Skipped: the tests run on a server that is not ours to stop.')
const serverTest = (name: string, body: () => Promise<void>) => (canStartServers ? test(name, body) : test.skip(name))

serverTest(
  'F9: after a failover the store writes to the new primary, has lost nothing that its standby had confirmed, and never reads the old one',
  async () => {
    // The copy of the settings must not have it: it waits for nobody when it is promoted.
    const primary = new OwnServer({ synchronous_standby_names: '*', synchronous_commit: 'local' })
    await primary.install()
    const standby = await primary.standby({ fsync: 'off' })
    await primary.ask(`alter role fault_client set synchronous_commit = 'on'`)
    const proxy = await startProxy({ url: primary.clientUrl })
    const store = new PGStore({ connectionString: proxy.url, keyPairs: [hashKey] })
    const load = new Load(store)
    await load.start()
    await load.more(counts(200, 2000), 120)

    await primary.crash('SIGKILL')
    await standby.promote()
    proxy.lead(standby.clientUrl)
    const success = await load.success()
    const { calls } = load.counts.save
    await until(() => load.counts.save.calls > calls)

    // Alone, not as the new one's standby: it may have what it told nobody and the new one has not.
    await primary.demote()
    await load.more(counts(100, 1000), 120)
    const old = new PGStore({ connectionString: primary.clientUrl, keyPairs: [hashKey] })
    const place = load.places[0]
    assert.ok(place)
    const { code, message } = await rejection(old.get(place.visitor.request(), 'sid'))
    assert.is(code, 'unavailable')
    assert.match(message, /standby/)
    await old.close()

    // Led to the old one by mistake, each connection finds out at most once: it is not used again.
    proxy.lead(primary.clientUrl)
    proxy.sever()
    const before = load.failed
    await until(() => load.failed > before + 10)
    const refused = (primary.log.match(/cannot execute .* in a read-only transaction/g) ?? []).length
    assert.is(refused, 0, 'a standby was asked to write')
    proxy.lead(standby.clientUrl)
    proxy.sever()
    await load.success()
    const { text } = await load.judged()
    await store.close()
    await proxy.close()
    await primary.remove()
    await standby.remove()
    report(
      'F9',
      'primary killed under load, standby promoted, old primary back as a standby',
      `${text}; stale reads 0`,
      {
        'first success after the promotion': { is: success, most: 5000 },
      },
    )
  },
)

test.run()
