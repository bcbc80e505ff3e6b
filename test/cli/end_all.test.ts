// `pgstore end-all`.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { clientUrl, closeAll, row, sql } from '../support/harness.ts'
import { pgstore, pgstoreJson } from './pgstore.ts'

test.after(closeAll)

const create = async (user: string, tag: string) =>
  await sql(
    `select pgstore.session_save(sha256($1::text::bytea), '{}', p_version => 0, p_user_id => $1, p_tags => array[$2])`,
    user,
    tag,
  )
const live = async () => (await row<{ n: string }>('select pgstore.count_live() as n')).n

test('it ends a user’s, a tag’s, earlier ones and all, and says so', async () => {
  for (const [user, tag] of [
    ['ann', 'a'],
    ['bob', 'b'],
    ['cleo', 'c'],
  ] as const)
    await create(user, tag)
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await pgstore(['end-all', ...args])
    assert.equal([code, stderr], [0, ''])
    return stdout
  }
  assert.match(
    await said('--user', 'ann'),
    /^The sessions of user ann that began, or last signed in, before 20.*Z have ended\.\n$/,
  )
  assert.is(await live(), '2')
  assert.match(await said('--tag', 'b'), /^The sessions with the tag b that began/)
  assert.is(await live(), '1')
  const early = await pgstoreJson(['end-all', '--before', '2001-02-03T04:05:06+01:00'])
  assert.equal(early, { scope: 'all', not_before: '2001-02-03T03:05:06.000Z' })
  assert.is(await live(), '1')
  assert.match(await said(), /^All sessions that began/)
  assert.is(await live(), '0')
})

test('what is not understood is a usage error and ends nobody', async () => {
  await create('dan', 'd')
  const wrong = [
    ['--before', 'yesterday'],
    ['--before', '2030-01-31T12:00:00'],
    ['--before', '2030-13-31T12:00:00Z'],
    ['--before', '2026-02-31T00:00:00Z'],
    ['--tag', 'd', '--tag', 'e'],
    ['--user', 'dan', '--user=erin'],
    ['--tag', ''],
    ['--tag', 'd', '--user', 'dan'],
    ['dan'],
    ['--user', 'x'.repeat(1025)],
  ]
  for (const args of wrong) assert.is((await pgstore(['end-all', ...args])).code, 2, args.join(' '))
  assert.is(await live(), '1')
})

test('a role without admin is told what it lacks', async () => {
  const { code, stderr } = await pgstore(['end-all', '--database-url', clientUrl])
  assert.is(code, 1)
  assert.match(stderr, /grant ROLE --as admin/)
})

test.run()
