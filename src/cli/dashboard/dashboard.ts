// `pgstore dashboard`: a page for whoever operates the database.
import type pg from 'pg'
import { cleanupEvents } from '../../cleanup/cleanup-events.ts'
import { Database } from '../../database/session-functions.ts'
import { databaseError } from '../../errors.ts'
import { checkUsable, inspect } from '../../schema/inspection.ts'
import { databaseUrl, type Flags, onSignal, print, UsageError, withPool } from '../command.ts'
import { diagnose } from '../doctor/diagnose.ts'
import { Monitor } from './monitor.ts'
import { serve } from './server.ts'

export async function dashboard(flags: Flags): Promise<void> {
  const { schema, showData: showsData } = flags
  const port = parsePort(flags.port)
  await withPool(flags, async (pool) => {
    const place = await whereTo(pool, schema)
    const database = new Database(pool, schema)
    const monitor = await Monitor.start({ database, schema, place, showsData, diagnose: () => diagnose(pool, schema) })
    const channel = cleanupEvents(database, { connectionString: databaseUrl(flags) }, schema)
    try {
      const serving = await serve({ monitor, database, showsData, port })
      try {
        const events = channel.subscribe()
        onSignal(() => void events.return?.())
        const note = `pgstore dashboard of ${place}, until Ctrl-C. Whoever has this address can end sessions:`
        print(flags.json ? JSON.stringify({ url: serving.url }) : `${note}\n${serving.url}`)
        for await (const event of events) monitor.heard(event)
      } finally {
        await serving.close()
      }
    } finally {
      await channel.close()
      await monitor.close()
    }
  })
}

function parsePort(given: string | undefined): number {
  if (given === undefined) return 0
  if (!/^\d{1,5}$/.test(given) || Number(given) > 65_535)
    throw new UsageError(`--port must be a number up to 65535, not "${given}".`)
  return Number(given)
}

/** Which database on which server this is, once it is known that pgstore is there. */
async function whereTo(pool: pg.Pool, schema: string): Promise<string> {
  try {
    checkUsable(await inspect(pool, schema), schema)
    const client = await pool.connect()
    const { database, host, port } = client as unknown as pg.Client
    client.release()
    return host.startsWith('/') ? `${database} (${host})` : `${database} on ${host}:${port}`
  } catch (error) {
    throw databaseError('Inspecting the schema', error)
  }
}
