// The package as npm would publish it, installed in a project.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

const unreachable = /\b(ENOTCACHED|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH)\b/

/** Packs the build that the tests use and installs it; false, and a reported skip, if npm's registry is unreachable. */
export function isInstalled(project: string, manifest: object): boolean {
  const npm = (...args: string[]) => spawnSync('npm', args, { cwd: project, encoding: 'utf8', timeout: 120_000 })
  const packed = npm('pack', root, '--ignore-scripts', '--silent')
  if (packed.status !== 0) throw new Error(packed.stdout + packed.stderr)
  const tarball = packed.stdout.trim().split('\n').at(-1) ?? ''
  fs.writeFileSync(path.join(project, 'package.json'), JSON.stringify({ private: true, ...manifest }))
  const offline = ['--prefer-offline', '--no-audit', '--no-fund', '--fetch-retries=1', '--fetch-timeout=20000']
  const { status, stdout, stderr } = npm('install', ...offline, `./${tarball}`)
  if (status === 0) return true
  const [, code] = unreachable.exec(stdout + stderr) ?? []
  if (code === undefined) throw new Error(stdout + stderr)
  console.log(`Skipped: npm's registry cannot be reached (${code}).`)
  return false
}
