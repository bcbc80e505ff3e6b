// The network between the servers and the database of the checker: ways that are cut, fall silent or are slow, as it is told. A
// process of its own, so that nothing else delays what passes.
import { type Proxy as DatabaseProxy, startProxy } from '../support/proxy.ts'
import type { NetworkCall } from './cache-calls.ts'

const ways: DatabaseProxy[] = []

async function answer(call: NetworkCall): Promise<readonly string[]> {
  if (call.op === 'open') {
    for (let n = 0; n < call.ways; n++) ways.push(await startProxy({ url: call.url }))
    return ways.map(({ url }) => url)
  }
  const way = ways[call.way]
  if (!way) throw new Error(`There is no way ${call.way}.`)
  if (call.op === 'sever') way.sever()
  else if (call.op === 'hold') way.hold()
  else if (call.op === 'release') way.release()
  else way.isSilent = call.op === 'silence'
  return []
}

process.on('message', ({ id, call }: { id: number; call: NetworkCall }) => {
  void answer(call).then((urls) => process.send?.({ id, answer: urls }))
})
process.once('disconnect', () => process.exit())
