// A process that ends sessions: for each token sent to it, it ends the session and tells when that was acknowledged.
import { entryFile, importBuilt } from './build.ts'

const { PGStore } = await importBuilt<typeof import('../../src/index.ts')>(entryFile('.'))

const store = new PGStore({ connectionString: process.argv[2] as string, keyPairs: [Buffer.alloc(32)] })
process.on('message', (token: string) => {
  void store.byToken.destroy(token).then((wasLive) => {
    if (!wasLive) throw new Error('The session had ended.')
    process.send?.(performance.timeOrigin + performance.now())
  })
})
process.send?.('ready')
