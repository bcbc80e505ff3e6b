// The purge, as it is announced: how many expired sessions wait, and how many each run has purged.
import uPlot from '/uPlot.esm.js'

const seconds = 60
const height = 220

export class Chart {
  #element
  #plot
  #times = []
  #waiting = []
  #purged = []

  /** @param element where to draw; null on a page without a chart */
  constructor(element) {
    this.#element = element
    if (!element) return
    this.#draw()
    new ResizeObserver(() => this.#plot.setSize({ width: element.clientWidth, height })).observe(element)
    // The colours are the page's, which follow the system.
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw())
    setInterval(() => this.#update(), 500)
  }

  get isThere() {
    return this.#element !== null
  }

  waiting(count) {
    this.#add(count, null)
  }

  purged(count) {
    this.#add(null, count)
  }

  #add(waiting, purged) {
    this.#times.push(Date.now() / 1000)
    this.#waiting.push(waiting)
    this.#purged.push(purged)
    this.#update()
  }

  #update() {
    const now = Date.now() / 1000
    while (this.#times[0] < now - seconds) {
      for (const list of [this.#times, this.#waiting, this.#purged]) list.shift()
    }
    const ages = this.#times.map((time) => time - now)
    this.#plot.setData([ages, this.#waiting, this.#purged])
  }

  #draw() {
    this.#plot?.destroy()
    const style = getComputedStyle(document.documentElement)
    const colour = (name) => style.getPropertyValue(`--${name}`).trim()
    const grid = { stroke: colour('line'), width: 1 }
    const axis = { stroke: colour('quiet'), grid, ticks: grid }
    const short = new Intl.NumberFormat('en', { notation: 'compact' })
    const options = {
      width: this.#element.clientWidth,
      height,
      cursor: { show: false },
      legend: { live: false },
      scales: {
        x: { time: false, range: () => [-seconds, 0] },
        y: { range: (_plot, _least, most) => [0, Math.max(most ?? 0, 1000) * 1.1] },
      },
      axes: [
        { ...axis, values: (_plot, ages) => ages.map((age) => `${age} s`) },
        { ...axis, size: 56, values: (_plot, counts) => counts.map((count) => short.format(count)) },
      ],
      series: [
        {},
        {
          label: 'expired, waiting',
          stroke: colour('blue'),
          fill: colour('flash'),
          width: 2,
          spanGaps: true,
          points: { show: false },
        },
        {
          label: 'purged by a run (NOTIFY)',
          stroke: colour('good'),
          fill: colour('good'),
          paths: uPlot.paths.bars({ size: [1, 8, 4] }),
          points: { show: false },
        },
      ],
    }
    this.#plot = new uPlot(options, [[], [], []], this.#element)
    this.#update()
  }
}
