import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll, row, sql, testStore, Visitor } from './harness.ts'

const store = testStore()
test.after(closeAll)

test('what a visitor saves is there at the next visit', async () => {
  const visitor = new Visitor()
  await visitor.visit(store, (session) => {
    session.values['visits'] = 1
  })
  const { session } = await visitor.visit(store)
  assert.equal(session.values, { visits: 1 })
  assert.is(session.isNew, false)
})

test.run()
