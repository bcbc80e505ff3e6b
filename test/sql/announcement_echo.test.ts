import pg from 'pg'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { clientUrl, closeAll, databaseUrl, row, sql } from '../support/harness.ts'

test.after(closeAll)

const echo = async (client: pg.Client, text: string | null) =>
  (await client.query('select pgstore.announcement_echo($1) as count', [text])).rows[0].count

test('an echo tells the number of the newest announcement, and which database sent it; it draws no number itself', async () => {
  const listener = new pg.Client(databaseUrl)
  const client = new pg.Client(clientUrl)
  await listener.connect()
  await client.connect()
  const heard: { type: string; echo: string | null; n: number; from: string }[] = []
  const all = new Promise<void>((resolve) => {
    listener.on('notification', ({ payload }) => {
      heard.push(JSON.parse(payload ?? ''))
      if (heard.length === 5) resolve()
    })
  })
  await listener.query('listen pgstore_sessions')
  assert.is(await echo(client, 'first'), '1')
  await sql('select pgstore.session_announce($1, $2)', 'revoked', [7])
  assert.is(await echo(client, 'second'), '1')
  assert.is(await echo(client, 'x'.repeat(9000)), '1')
  assert.is(await echo(client, null), '1')
  await all
  await listener.end()
  await client.end()
  const { number } = await row<{ number: string }>('select pgstore.announcement_number() as number')
  const n = Number(number)
  assert.equal(
    heard.map(({ type, n }) => [type, n]),
    [
      ['echo', n - 1],
      ['revoked', n],
      ['echo', n],
      ['echo', n],
      ['echo', n],
    ],
  )
  assert.equal(
    heard.map(({ echo }) => echo),
    ['first', undefined, 'second', 'x'.repeat(100), null],
  )
  assert.is(new Set(heard.map(({ from }) => from)).size, 5)
})

test.run()
