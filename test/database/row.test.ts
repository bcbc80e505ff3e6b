// What is kept of a row.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ReadRow } from '../../src/database/row.ts'

const times = '00'.repeat(92)
const fields = (last: string | null) => ['1', 'ann', '{"a": 1}', '2', null, null, times, last]

function kept(row: ReadRow): readonly (string | null)[] {
  return (row.packed() as unknown as { fields: readonly (string | null)[] }).fields
}

test('of a row that was read with its key, by which answers are told apart, the key is not kept', () => {
  const row = new ReadRow(fields('a'.repeat(64)))
  assert.is(row.bound, null)
  assert.is(kept(row).length, 7)
  assert.is(row.packed().bound, null)
})

test('what a device has to send is kept', () => {
  const bound = 'b'.repeat(80)
  assert.is(new ReadRow(fields(bound)).packed().bound, bound)
  assert.is(new ReadRow(fields(bound)).packed().later(5).bound, bound)
})

test.run()
