// Part of `npm run build`: puts what the dashboard's page needs besides its scripts into dist: its HTML and style, and uPlot, which
// draws the charts, with its licence. So the package serves it itself, and installs nothing for it.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const source = path.join(root, 'src/cli/dashboard/page')
const target = path.join(root, 'dist/cli/dashboard/page')
const uplot = path.dirname(createRequire(import.meta.url).resolve('uplot/package.json'))

for (const name of fs.readdirSync(source)) {
  if (/\.(css|html|svg)$/.test(name)) fs.copyFileSync(path.join(source, name), path.join(target, name))
}
for (const name of ['uPlot.iife.min.js', 'uPlot.min.css']) {
  fs.copyFileSync(path.join(uplot, 'dist', name), path.join(target, name))
}
fs.copyFileSync(path.join(uplot, 'LICENSE'), path.join(target, 'uPlot.LICENSE.txt'))
