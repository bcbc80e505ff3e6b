// The charts, drawn by uPlot: lines over time, and a bar for each run of the purge.
import type { Overview } from '../overview.ts'
import { find } from './elements.ts'
import { clock, count, size, stamp } from './text.ts'

interface Line {
  readonly label: string
  /** Name of the CSS variable with its colour. */
  readonly colour: string
}

interface Chart {
  readonly id: string
  readonly lines: readonly Line[]
  readonly text: (value: number) => string
  /** Distances that lines across may have: round ones as `text` writes them. */
  readonly steps: number[]
  readonly isBars: boolean
  /** Times in seconds, then a column for each line. */
  readonly data: (overview: Overview) => uPlot.AlignedData
}

const seconds = (points: readonly { readonly at: number }[]) => points.map(({ at }) => at / 1000)

const digits = [1, 2, 5]
const whole = Array.from({ length: 30 }, (_, place) => (digits[place % 3] ?? 1) * 10 ** Math.floor(place / 3))
/** As many bytes as 1, 2, 5, …, 500 kB, MB and GB are. */
const bytes = [1, 2, 3].flatMap((power) => whole.slice(0, 9).map((number) => number * 1024 ** power))

const charts: readonly Chart[] = [
  {
    id: 'live-chart',
    lines: [{ label: 'Live', colour: '--live' }],
    text: count,
    steps: whole,
    isBars: false,
    data: ({ samples }) => [seconds(samples), samples.map(({ live }) => live)],
  },
  {
    id: 'expired-chart',
    lines: [{ label: 'Expired', colour: '--expired' }],
    text: count,
    steps: whole,
    isBars: false,
    data: ({ samples }) => [seconds(samples), samples.map(({ expired }) => expired)],
  },
  {
    id: 'size-chart',
    lines: [
      { label: 'Table', colour: '--live' },
      { label: 'Indexes', colour: '--expired' },
    ],
    text: size,
    steps: bytes,
    isBars: false,
    data: ({ samples }) => [
      seconds(samples),
      samples.map(({ tableBytes }) => tableBytes),
      samples.map(({ indexBytes }) => indexBytes),
    ],
  },
  {
    id: 'purge-chart',
    lines: [{ label: 'Purged', colour: '--purged' }],
    text: count,
    steps: whole,
    isBars: true,
    data: ({ runs }) => [seconds(runs), runs.map(({ purged }) => purged)],
  },
]

const drawn = new Map<string, uPlot>()
let newest: Overview | undefined

const height = 190

export function drawCharts(overview: Overview): void {
  newest = overview
  for (const chart of charts) {
    const data = chart.data(overview)
    const plot = drawn.get(chart.id)
    if (plot) plot.setData(data)
    else drawn.set(chart.id, draw(chart, data))
    showNewest(drawn.get(chart.id))
    describeChart(chart, data)
  }
}

/** Anew, in the colours of now. */
export function redrawCharts(): void {
  for (const plot of drawn.values()) plot.destroy()
  drawn.clear()
  if (newest) drawCharts(newest)
}

/** Fits them to the page. */
export function resizeCharts(): void {
  for (const [id, plot] of drawn) plot.setSize({ width: find(id).clientWidth, height })
}

function draw(chart: Chart, data: uPlot.AlignedData): uPlot {
  const place = find(chart.id)
  const style = getComputedStyle(document.documentElement)
  const colour = (name: string) => style.getPropertyValue(name).trim()
  const axis = {
    stroke: colour('--quiet'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { stroke: colour('--line'), width: 1 },
    font: '12px system-ui, sans-serif',
  }
  const bars = uPlot.paths.bars?.({ size: [0.6, 24, 3] })
  const options: uPlot.Options = {
    width: place.clientWidth,
    height,
    padding: [null, 28, null, null],
    cursor: { drag: { x: false, y: false } },
    scales: {
      // One axis of time for all of them.
      x: { range: () => timeRange() },
      y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] },
    },
    axes: [
      { ...axis, space: 80, values: (_plot, splits) => splits.map(timeText) },
      { ...axis, size: 82, incrs: chart.steps, values: (_plot, splits) => splits.map(chart.text) },
    ],
    series: [
      { label: 'Time', value: (_plot, time) => (time === null ? '–' : stamp(time * 1000)) },
      ...chart.lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        fill: `${colour(line.colour)}${chart.isBars ? '' : '22'}`,
        width: 2,
        points: { show: !chart.isBars && (data[0]?.length ?? 0) < 2 },
        value: (_plot: uPlot, value: number | null) => (value === null ? '–' : chart.text(value)),
        ...(chart.isBars && bars && { paths: bars }),
      })),
    ],
  }
  return new uPlot(options, data, place)
}

/** With the day where the axis has several. */
function timeText(split: number): string {
  const [first, last] = timeRange()
  return last - first > 86_400 ? stamp(split * 1000).slice(5, -3) : clock(split * 1000)
}

/** In the legend, unless the pointer chooses another. */
function showNewest(plot: uPlot | undefined): void {
  const last = (plot?.data[0].length ?? 0) - 1
  if (last >= 0 && plot?.cursor.idx == null) plot?.setLegend({ idx: last })
}

/** Seconds, from the first sample to the last, or to a run that was heard since: a minute at least. */
function timeRange(): [number, number] {
  const { samples = [], runs = [] } = newest ?? {}
  const last = Math.max(samples.at(-1)?.at ?? 0, runs.at(-1)?.at ?? 0) / 1000
  return [Math.min((samples[0]?.at ?? 0) / 1000, last - 60), last]
}

/** A canvas says nothing to those who do not see it. */
function describeChart({ id, lines, text }: Chart, data: uPlot.AlignedData): void {
  const last = lines.map(({ label }, place) => {
    const value = data[place + 1]?.at(-1)
    return `${label}: ${typeof value === 'number' ? text(value) : 'nothing yet'}`
  })
  const place = find(id)
  place.setAttribute('role', 'img')
  place.setAttribute('aria-label', `Chart, at its end ${last.join(', ')}`)
}
