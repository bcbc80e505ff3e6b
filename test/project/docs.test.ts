// The code in docs/ compiles against the built package, and code quoted from an example matches the example.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const root = fileURLToPath(new URL('../..', import.meta.url))
const pages = ['fastify', 'koa', 'hono', 'react-router', 'node-http', 'frameworks', 'recipes']
const page = (name: string) => fs.readFileSync(path.join(root, 'docs', `${name}.md`), 'utf8')
const blocks = (text: string) => [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, block]) => block ?? '')

test('the TypeScript on the pages compiles, each page as one module', () => {
  const folder = fs.mkdtempSync(path.join(root, 'examples/.docs-'))
  try {
    fs.writeFileSync(path.join(folder, 'tsconfig.json'), '{ "extends": "../tsconfig.json", "include": ["*.ts"] }')
    for (const name of pages) {
      const text = blocks(page(name)).join('\n')
      const store = "declare const store: import('pgstore').PGStore<{ visits?: number }>\n"
      fs.writeFileSync(path.join(folder, `${name}.ts`), (text.includes('const store =') ? '' : store) + text)
    }
    const tsc = [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', folder, '--isolatedDeclarations', 'false']
    const { status, stdout } = spawnSync(process.execPath, [...tsc, '--declaration', 'false'], { encoding: 'utf8' })
    assert.is(status, 0, stdout)
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})

test('code that a page quotes from an example is in that example, line by line and in order', () => {
  let checked = 0
  for (const name of pages) {
    for (const [, file = '', block = ''] of page(name).matchAll(
      /From \[.*?\]\(\.\.\/(.*?)\):\n\n```ts\n([\s\S]*?)^```$/gm,
    )) {
      const lines = fs.readFileSync(path.join(root, file), 'utf8').split('\n')
      let at = 0
      for (const line of block.trimEnd().split('\n')) {
        at = lines.indexOf(line, at) + 1
        assert.ok(at > 0, `${file} has no such line here: ${line}`)
      }
      checked++
    }
  }
  assert.is(checked, 1)
})

test.run()
