// Nothing acknowledged is lost, nothing revived and nothing wrong shown, whenever the server or a client is killed.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { PGStore } from '../../src/index.ts'
import { counts } from '../support/counts.ts'
import { closeAll, databaseUrl, hashKey, row, sql, testStore, until } from '../support/harness.ts'
import { endPrograms, Program } from '../support/program.ts'
import { judge } from './checker.ts'
import { report, test } from './faults.ts'
import { type Place, readHistory } from './history.ts'
import { Load, soundness } from './load.ts'
import { canStartServers, OwnServer } from './own-server.ts'

const server = new OwnServer()
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-histories-'))

if (canStartServers) test.before(() => server.install())
else console.log('Skipped: the tests run on a server that is not ours to stop.')
test.after.each(endPrograms)
test.after(async () => {
  await server.remove()
  await closeAll()
  fs.rmSync(folder, { recursive: true })
})

const serverTest = (name: string, body: () => Promise<void>) => (canStartServers ? test(name, body) : test.skip(name))

const crashes = counts(3, 50)

serverTest(
  `F3: a server that crashes ${crashes} times under load has lost nothing acknowledged, and revived nobody`,
  async () => {
    const store = new PGStore({ connectionString: server.clientUrl, keyPairs: [hashKey] })
    const load = new Load(store)
    await load.start()
    const successes: number[] = []
    for (let crash = 0; crash < crashes; crash++) {
      await load.more(20 + Math.floor(Math.random() * 180))
      await server.crash(crash % 2 === 0 ? 'SIGQUIT' : 'SIGKILL')
      await server.startAgain()
      successes.push(await load.success())
    }
    const { text } = await load.judged()
    await store.close()
    report('F3', `server crashed ${crashes} times under load, by SIGQUIT and SIGKILL`, text, {
      'first success after "ready"': { is: Math.max(...successes), most: 2000 },
      'a call settles': { is: Math.max(...load.durations), most: 5500 },
    })
  },
)

serverTest('F31: one backend killed, whereupon the server ends all others and recovers', async () => {
  const kills = counts(2, 20)
  const store = new PGStore({ connectionString: server.clientUrl, keyPairs: [hashKey] })
  const load = new Load(store)
  await load.start()
  const successes: number[] = []
  for (let kill = 0; kill < kills; kill++) {
    await load.more(40 + Math.floor(Math.random() * 100))
    const backends = await server.ask<{ pid: number }>(
      `select pid from pg_stat_activity where application_name = 'pgstore' order by random() limit 1`,
    )
    for (const { pid } of backends) process.kill(pid, 'SIGKILL')
    await load.more(20)
    successes.push(await load.success())
  }
  const { text } = await load.judged()
  await store.close()
  report('F31', `a backend killed ${kills} times under load`, text, {
    'first success after it': { is: Math.max(...successes), most: 2000 },
  })
})

const kills = counts(3, 50)

test(`F3: a client that is killed ${kills} times under load has lost nothing acknowledged, and leaves no connection`, async () => {
  const files: string[] = []
  for (let kill = 0; kill < kills; kill++) {
    files.push(path.join(folder, `client-${kill}`))
    const client = new Program(
      ['--import', 'tsx', 'test/faults/loading.ts', databaseUrl, `c${kill}-`, ...files.slice(-3)],
      process.env,
    )
    await client.line(/loading/)
    const file = files.at(-1) as string
    const bytes = fs.statSync(file).size + Math.random() * 60_000
    await until(() => fs.statSync(file).size > bytes, 60)
    await client.end('SIGKILL')
  }
  await until(async () => {
    const { n } = await row(
      `select count(*) as n from pg_stat_activity where datname = current_database() and application_name = 'pgstore'`,
    )
    return Number(n) === 0
  })
  const histories = files.map(readHistory)
  const places = new Map<string, Place>()
  for (const place of histories.flatMap((history) => history.places)) places.set(place.session, place)
  const sweep = new Load(testStore(), { places: [...places.values()] })
  await sweep.sweep()
  const calls = [...histories.flatMap((history) => history.calls), ...sweep.history.calls]
  const unanswered = calls.filter(({ ended }) => ended === undefined).length
  const text = `${calls.length} calls, ${unanswered} of them unanswered; ${soundness(judge(calls))}; no connection left`
  report('F3', `client process killed ${kills} times under load`, text)
  await sql('truncate pgstore.sessions')
})

test.run()
