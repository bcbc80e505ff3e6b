// Where the demo runs that uses this folder: a second start says so, in place of failing on its Postgres.
import fs from 'node:fs'
import path from 'node:path'

interface Running {
  readonly url: string
  readonly pid: number
}

function fileIn(home: string): string {
  return path.join(home, 'running.json')
}

/** The demo that runs there now; undefined if there is none, or it ended without a word. */
export async function findRunning(home: string): Promise<Running | undefined> {
  try {
    const running = JSON.parse(fs.readFileSync(fileIn(home), 'utf8')) as Running
    const { headers } = await fetch(`${running.url}/style.css`, { method: 'HEAD', signal: AbortSignal.timeout(2000) })
    return headers.get('server') === serverName(running.pid) ? running : undefined
  } catch {
    return undefined
  }
}

export function noteRunning(home: string, url: string): void {
  fs.writeFileSync(fileIn(home), JSON.stringify({ url, pid: process.pid } satisfies Running))
}

export function forgetRunning(home: string): void {
  fs.rmSync(fileIn(home), { force: true })
}

/** As the demo calls itself in its answers, so that no other server on that port is taken for it. */
export function serverName(pid: number): string {
  return `pgstore-demo/${pid}`
}
