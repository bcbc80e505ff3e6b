// A client with the load, which goes on with the sessions that those before it left: it is killed, or told to end.
import { PGStore } from '../../src/index.ts'
import { hashKey } from '../support/harness.ts'
import { History, readHistory } from './history.ts'
import { Load } from './load.ts'

const [, , connectionString, name = '', ...files] = process.argv
const own = files.pop() as string
const places = new Map(files.flatMap((file) => readHistory(file).places).map((place) => [place.session, place]))
const store = new PGStore({ connectionString, keyPairs: [hashKey] })
// Sessions that ended meanwhile are among them: their clients begin anew.
const load = new Load(store, { name, history: new History(own), places: [...places.values()].slice(-32) })
const end = async () => {
  await load.stop()
  await store.close()
  console.log(JSON.stringify({ done: load.calls, failed: load.failed, strange: load.strange.map(String) }))
  load.history.close()
}
process.once('SIGTERM', () => void end())
await load.start()
console.log('loading')
