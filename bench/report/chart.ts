// The README's picture: reads and saves a second, at 128 callers and for a lone one, a bar for each system. It has its own background, to
// be legible on light and dark pages.
import type { Row } from '../measure.ts'

const systems: Readonly<Record<string, string>> = {
  pgstore: 'pgstore',
  'connect-redis': 'connect-redis (not durable)',
  'connect-pg-simple': 'connect-pg-simple',
  'pg, prepared': 'pg, a prepared statement',
}

const width = 760
const barHeight = 22
const rowHeight = 30
const labelWidth = 230
const longestBar = width - labelWidth - 100

/** Undefined if the run has not measured both. */
export function chart(rows: readonly Row[]): string | undefined {
  const of = (operation: string, callers: number) =>
    Object.keys(systems).flatMap((name) =>
      rows.filter(
        ({ bench, system, concurrency }) => bench === operation && system === name && concurrency === callers,
      ),
    )
  const parts = {
    'Reads a second, 128 concurrent callers, one process': of('read', 128),
    'Reads a second, one caller': of('read', 1),
    'Saves a second, 128 concurrent callers, one process': of('save', 128),
    'Saves a second, one caller': of('save', 1),
  }
  if (Object.values(parts).some((part) => part.length === 0)) return undefined
  let y = 16
  const shapes = Object.entries(parts).flatMap(([title, part]) => {
    const heading = `<text class="title" x="20" y="${y + 16}">${title}</text>`
    const most = Math.max(...part.map(({ opsPerSecond }) => opsPerSecond)) // of its own part: a lone caller's would not be seen
    y += 30
    const bars = part.map((row) => {
      const length = Math.max(2, Math.round((row.opsPerSecond / most) * longestBar))
      const middle = y + barHeight / 2 + 4.5
      const bar = [
        `<text x="${labelWidth - 10}" y="${middle}" text-anchor="end">${systems[row.system]}</text>`,
        `<rect class="${row.system === 'pgstore' ? 'ours' : 'theirs'}" x="${labelWidth}" y="${y}" width="${length}" height="${barHeight}" rx="3"/>`,
        `<text x="${labelWidth + length + 8}" y="${middle}">${row.opsPerSecond.toLocaleString('en')}</text>`,
      ]
      y += rowHeight
      return bar.join('\n')
    })
    y += 12
    return [heading, ...bars]
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-label="Reads and saves a second, by system">
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.ours { fill: #1a7f5a }
.theirs { fill: #a8b3bd }
</style>
<rect x="0.5" y="0.5" width="${width - 1}" height="${y - 1}" rx="8" fill="#ffffff" stroke="#d0d7de"/>
${shapes.join('\n')}
</svg>
`
}
