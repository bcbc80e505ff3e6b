// A server process that is frozen, as platforms do with instances that have no request, while sessions in its cache end: with
// requests that waited meanwhile, and with a listener that survives it or does not.
import http from 'node:http'
import * as assert from 'uvu/assert'
import { counts } from '../support/counts.ts'
import { terminate } from '../support/crowd.ts'
import { clientUrl, closeAll, testStore, until, Visitor } from '../support/harness.ts'
import { endPrograms, program } from '../support/program.ts'
import { report, test } from './faults.ts'

test.after.each(endPrograms)
test.after(closeAll)

interface Shown {
  readonly userId: string | null
  readonly isNew: boolean
  readonly hits: number
  readonly state: string
  readonly lost: number
}

async function ask(port: number, visitor: Visitor, agent: http.Agent): Promise<Shown> {
  const { headers } = visitor.request()
  return await new Promise((resolve, reject) => {
    http
      .get({ host: '127.0.0.1', port, agent, headers }, (res) => {
        let text = ''
        res.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk
        })
        res.on('end', () => resolve(JSON.parse(text)))
      })
      .on('error', reject)
  })
}

const each = 20
const frozenSeconds = counts(2, 60)

for (const isLost of [false, true]) {
  const what = `process frozen for ${frozenSeconds} s, its listener ${isLost ? 'ended' : 'alive'}`
  const name = `F44: a frozen process shows none of the sessions that ended meanwhile, with its listener ${isLost ? 'ended' : 'alive'}`
  const body = async () => {
    const store = testStore()
    const child = program('faults/frozen.ts', clientUrl)
    const port = Number((await child.line(/^port/)).slice(5))
    const agent = new http.Agent({ keepAlive: true, maxSockets: 2 * each })
    const visitors = await Promise.all(
      Array.from({ length: 2 * each }, async (_, n) => {
        const visitor = new Visitor()
        await visitor.visit(store, (session) => {
          session.userId = `user ${n}`
          session.values['n'] = n
        })
        return visitor
      }),
    )
    const all = async () => await Promise.all(visitors.map((visitor) => ask(port, visitor, agent)))
    await until(async () => {
      const before = (await all()).at(-1)?.hits ?? 0
      const after = (await all()).at(-1)?.hits ?? 0
      return after - before >= each // they are in the cache, and over connections that stay
    }, 60)
    child.signal('SIGSTOP')
    try {
      for (let n = 0; n < each; n++) assert.is(await store.revoke(`user ${n}`), 1)
      if (isLost) await terminate('pgstore listen')
      await new Promise((resolve) => setTimeout(resolve, frozenSeconds * 1000))
    } catch (error) {
      child.signal('SIGCONT')
      throw error
    }
    const waiting = all() // in its sockets when it goes on
    await new Promise((resolve) => setTimeout(resolve, 100))
    child.signal('SIGCONT')
    const shown = await waiting
    assert.equal(
      shown.map(({ userId, isNew }) => [userId, isNew]),
      visitors.map((_, n) => (n < each ? [null, true] : [`user ${n}`, false])),
    )
    // It goes on as before.
    await until(async () => {
      const before = (await all()).at(-1)?.hits ?? 0
      const again = await all()
      for (const { isNew } of again.slice(0, each)) assert.ok(isNew)
      return (again.at(-1)?.hits ?? 0) - before >= each && (!isLost || (again.at(-1)?.lost ?? 0) > 0)
    }, 60)
    agent.destroy()
    report(
      'F44',
      what,
      `${each} ended sessions asked for at once, 0 shown; ${each} others live; the cache serves again`,
    )
  }
  test(name, body)
}

test.run()
