import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import { closeAll } from '../support/harness.ts'
import { testProgram } from './other_language.ts'

const source = fileURLToPath(new URL('../../examples/go', import.meta.url))
/** Where Debian puts Go packages; elsewhere `go` fetches the driver. */
const debian = '/usr/share/gocode'
const isInstalled =
  spawnSync('go', ['version']).status === 0 && fs.existsSync(path.join(debian, 'src/github.com/lib/pq'))
if (!isInstalled) console.log('Skipped: golang-go and golang-github-lib-pq-dev are not installed.')

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pgstore-go-'))
const program = path.join(folder, 'session')

test.before(() => {
  if (!isInstalled) return
  const env = { ...process.env, GO111MODULE: 'off', GOPATH: debian, GOFLAGS: '' }
  const built = spawnSync('go', ['build', '-o', program, '.'], { cwd: source, env, encoding: 'utf8', timeout: 200_000 })
  if (built.status !== 0) throw new Error(`go build: ${built.stderr}`)
})
test.after(async () => {
  fs.rmSync(folder, { recursive: true })
  await closeAll()
})

testProgram(
  'Go',
  () => ({
    decrypts: true,
    run: (args, env) => spawnSync(program, args, { env, encoding: 'utf8', timeout: 30_000 }),
  }),
  isInstalled,
)

test.run()
