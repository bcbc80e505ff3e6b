import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { migrate } from '../../src/index.ts'
import { admin, sql, until } from '../support/harness.ts'
import { call, closeClients, closeEverything, connect } from './calls.ts'
import { announced } from './schedule.ts'

test.after.each(closeClients)
test.after(closeEverything)

test('the details are beside the type', async () => {
  const messages = await announced(() => call('cleanup_announce', { type: 'started', details: '{"every_ms":1}' }))
  assert.equal(messages, [{ type: 'started', every_ms: 1 }])
})

test('each schema has its own channel', async () => {
  await migrate(admin, { schema: 'elsewhere' })
  const client = await connect()
  const channels: string[] = []
  client.on('notification', ({ channel }) => channels.push(channel))
  await client.query('listen pgstore_cleanup; listen elsewhere_cleanup')
  await sql('select elsewhere.cleanup_stop()')
  await until(() => channels.length > 0)
  assert.equal(channels, ['elsewhere_cleanup'])
})

test.run()
