// `npm run bench -- profile`: where this process' time goes while pgstore reads and saves.
import { Session as Inspector } from 'node:inspector/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Postgres } from '../systems/servers.ts'
import { cachedSystem, measureSystem, type Operation, pgstoreSystem, type System } from '../systems/systems.ts'

interface CallFrame {
  readonly functionName: string
  readonly url: string
}

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '../..')

export async function profileAll(postgres: Postgres, seconds: number): Promise<void> {
  const system = await pgstoreSystem(postgres.url)
  for (const operation of ['read', 'save'] as const) {
    for (const callers of [128, 1]) await profileOne(system, operation, callers, postgres, seconds)
  }
  await system.close()
  const cached = await cachedSystem(postgres.url)
  await profileOne(cached, 'read', 128, postgres, seconds)
  await cached.close()
}

async function profileOne(
  system: System,
  operation: Operation,
  callers: number,
  postgres: Postgres,
  seconds: number,
): Promise<void> {
  const load = async (duration: number) =>
    await measureSystem(system, operation, { callers, seconds: duration, cpu: postgres.cpu })
  await load(2)
  const { clientCpuUs, serverCpuUs } = await load(seconds)
  const client = clientCpuUs ?? 0
  console.log(
    `\n# ${system.name}, ${operation}, ${callers} callers: client ${client.toFixed(1)} µs, server ${serverCpuUs?.toFixed(1) ?? '?'} µs`,
  )
  const shares = await profile(async () => await load(seconds))
  for (const [where, share] of shares.slice(0, 25)) {
    console.log(`${(share * 100).toFixed(1).padStart(5)} %  ${(share * client).toFixed(2).padStart(7)} µs  ${where}`)
  }
}

/** Shares of the time that this process was busy, by the function that ran; largest first. */
async function profile(work: () => Promise<unknown>): Promise<[string, number][]> {
  const inspector = new Inspector()
  inspector.connect()
  await inspector.post('Profiler.enable')
  await inspector.post('Profiler.setSamplingInterval', { interval: 200 })
  await inspector.post('Profiler.start')
  await work()
  const { profile } = await inspector.post('Profiler.stop')
  inspector.disconnect()
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]))
  const times = new Map<string, number>()
  let busy = 0
  for (const [index, id] of (profile.samples ?? []).entries()) {
    const name = names.get(id) ?? ''
    const time = profile.timeDeltas?.[index] ?? 0
    if (name === '(idle)') continue
    busy += time
    times.set(name, (times.get(name) ?? 0) + time)
  }
  return [...times].map(([name, time]): [string, number] => [name, time / busy]).sort((a, b) => b[1] - a[1])
}

function nameOf({ functionName, url }: CallFrame): string {
  const name = functionName || '(anonymous)'
  if (!url.startsWith('file:')) return url === '' ? name : `${name} ${url}`
  const file = path.relative(root, fileURLToPath(url))
  const [, inPackage] = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file) ?? []
  return inPackage ?? `${name} ${file}` // for a package, one sum
}
