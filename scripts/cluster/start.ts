// `npm run cluster`: the proxy and its partitions, until Ctrl-C or the end of the standard input.
import { Cluster, schema } from './cluster.ts'

export async function start(): Promise<number> {
  const cluster = await Cluster.start()
  try {
    const { url, partitionUrls } = await cluster.createDatabase('sessions')
    console.log(`The proxy, with pgstore's functions in schema ${schema}:\n  ${url}\nIts partitions:`)
    for (const each of partitionUrls) console.log(`  ${each}`)
    console.log(
      'For a store: connectionString, directConnectionString, migrate: false, batch: { lanes: 4 }. Ctrl-C ends it all.',
    )
    await new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
      process.stdin.once('end', resolve).resume()
    })
    return 0
  } finally {
    await cluster.stop()
  }
}
