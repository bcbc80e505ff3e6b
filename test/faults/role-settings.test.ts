// Every setting that a role can have, changed while visitors are served: connections that have it and connections that do not, side by
// side. Lone calls and arrays, by settings, without load: test/database/settings.test.ts.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import * as assert from 'uvu/assert'
import { PGStore, type PGStoreError } from '../../src/index.ts'
import { grantStatements } from '../../src/schema/grants.ts'
import { admin, closeAll, databaseUrl, hashKey, sql, until, Visitor } from '../support/harness.ts'
import { mayFail, roleSettings, settingValues } from '../support/role-settings.ts'
import { report, test } from './faults.ts'

test.after(closeAll)

test('F37: whatever is set for the role while visitors are served, none sees another’s values or is signed out', async () => {
  const role = `pgstore_test_${randomBytes(6).toString('hex')}`
  const password = randomBytes(12).toString('hex')
  await sql(`create role ${role} login password '${password}'`)
  await sql(`grant connect on database ${new URL(databaseUrl).pathname.slice(1)} to ${role}`)
  for (const statement of grantStatements(role, ['client', 'account'], 'pgstore')) await sql(statement)
  const connectionString = Object.assign(new URL(databaseUrl), { username: role, password }).href
  // Connections are soon replaced, so that some have the setting and others not yet, or no longer.
  const pool = new pg.Pool({ connectionString, max: 4, maxUses: 10, connectionTimeoutMillis: 10_000 }).on(
    'error',
    () => {},
  )
  const store = new PGStore({ pool, keys: [hashKey] })
  const codes: Record<string, number> = {}
  const wrong: string[] = []
  let [setting, visits, failed, isOver] = ['', 0, 0, false]
  const serve = async (own: number) => {
    const visitor = new Visitor()
    let [n, isSure] = [0, true]
    while (!isOver) {
      const tried = setting
      try {
        await visitor.visit(store, (session) => {
          const { values, userId } = session
          const isFirst = n === 0 && session.isNew
          const isRight = values['own'] === own && userId === `user ${own}`
          if (!isFirst && !(isRight && (values['n'] === n || (!isSure && values['n'] === n + 1))))
            wrong.push(`${tried}: visitor ${own} at ${n} saw ${JSON.stringify([session.isNew, values, userId])}`)
          if (!isSure && values['n'] === n + 1) n++
          session.userId = `user ${own}`
          Object.assign(values, { own, n: n + 1, text: 'Zoë ✓ \\x41 {1,NULL}' })
        })
        n++
        isSure = true
        visits++
      } catch (error) {
        const { code, message, sqlState } = error as PGStoreError
        failed++
        codes[code] = (codes[code] ?? 0) + 1
        isSure = false
        // Without an SQLSTATE it is a limit of the client's, which a busy machine may reach.
        if (sqlState !== undefined && !mayFail.test(tried) && !mayFail.test(setting))
          wrong.push(`${tried}, then ${setting}: ${code} ${message}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
  }
  const visitors = Array.from({ length: 8 }, (_, own) => serve(own))
  const more = async (many: number) => {
    const [before, failures] = [visits, failed]
    await until(() => visits + failed >= before + failures + many, 120)
  }
  let tried = 0
  for (const one of await roleSettings()) {
    for (const value of settingValues(one)) {
      const quoted = one.name === 'search_path' && value.includes(',') ? value : `'${value.replaceAll("'", "''")}'`
      // Statements that the planner considers expensive are compiled, up to two seconds each.
      if (/^enable_|(?<!^jit.*)_cost$/.test(one.name)) await sql(`alter role ${role} set jit = off`)
      setting = one.name
      const isSet = await admin.query(`alter role ${role} set ${one.name} = ${quoted}`).then(
        () => true,
        () => false,
      )
      if (!isSet) continue
      tried++
      await more(24)
      await sql(`alter role ${role} reset all`)
      // Until no connection has it: an error of the next setting is not to be this one's.
      if (mayFail.test(one.name)) await more(80)
      else await more(8)
    }
  }
  setting = 'none'
  await more(100)
  isOver = true
  await Promise.all(visitors)
  await store.close()
  await pool.end()
  await sql(`drop owned by ${role}`)
  await sql(`drop role ${role}`)
  assert.equal(wrong.slice(0, 20), [])
  assert.ok(tried > 60 && visits > 20 * tried, `${tried} settings, ${visits} visits`)
  report(
    'F37',
    'every role setting changed under load',
    `${tried} values, ${visits} visits, ${failed} failed and said so (${JSON.stringify(codes)}); wrong 0, signed out 0`,
  )
})

test.run()
