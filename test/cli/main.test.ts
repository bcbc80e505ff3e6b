import fs from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { closeAll } from '../support/harness.ts'
import { pgstore } from './pgstore.ts'

test.after(closeAll)

test('help says what --help says, of all commands, of some and of one', async () => {
  for (const words of [[], ['cleanup'], ['import', 'pgstore-go']]) {
    const [help, option] = [await pgstore(['help', ...words]), await pgstore([...words, '--help'])]
    assert.is(help.code, 0)
    assert.is(help.stdout, option.stdout)
    assert.match(help.stdout, `pgstore ${words.join(' ')}`)
  }
})

test("--version prints the package's version", async () => {
  const { version } = JSON.parse(fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  assert.equal(await pgstore(['--version']), { code: 0, stdout: `${version}\n`, stderr: '' })
})

test('what needs no database does not load pg', async () => {
  const count = `import { Module } from 'node:module'
    process.on('exit', () => console.log(Object.keys(Module._cache).filter((file) => /node_modules.pg/.test(file)).length))`
  const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(count)}`
  const loaded = async (...args: string[]) =>
    Number((await pgstore(args, { NODE_OPTIONS })).stdout.trim().split('\n').at(-1))
  assert.ok((await loaded('migrate')) > 0)
  for (const args of [['help'], ['--help'], ['--version'], ['key'], ['nonsense'], ['migrate', '--help']])
    assert.is(await loaded(...args), 0, args.join(' '))
})

test.run()
