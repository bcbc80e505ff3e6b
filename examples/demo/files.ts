// The page's own script and style, and uPlot, which draws the chart: read once.
import fs from 'node:fs'

export interface StaticFile {
  readonly type: string
  readonly content: Buffer
}

const types: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
}

function read(name: string, url: string): [string, StaticFile] {
  const type = types[name.split('.').at(-1) ?? ''] ?? 'application/octet-stream'
  return [`/${name}`, { type, content: fs.readFileSync(new URL(url)) }]
}

/** By path. */
export const files: ReadonlyMap<string, StaticFile> = new Map([
  ...['page.js', 'chart.js', 'style.css', 'icon.svg'].map((name) =>
    read(name, import.meta.resolve(`./browser/${name}`)),
  ),
  read('uPlot.esm.js', import.meta.resolve('uplot/dist/uPlot.esm.js')),
  read('uPlot.min.css', import.meta.resolve('uplot/dist/uPlot.min.css')),
])

/** Nothing but what this site serves, and no code or style within the page. */
export const contentSecurityPolicy: string = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')
