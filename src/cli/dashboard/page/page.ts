// Asks the server again and again, and shows what is new.
import type { Overview } from '../overview.ts'
import { drawCharts, redrawCharts, resizeCharts } from './charts.ts'
import { describe, find, make, say } from './elements.ts'
import { showFindings } from './findings.ts'
import { ask, messageOf, post } from './requests.ts'
import { showSessionsOf } from './sessions.ts'
import { about, count, distance, duration, percent, size, stamp } from './text.ts'

/** Milliseconds between two questions; longer while the server does not answer. */
const every = 1000
const longest = 15_000

let overview: Overview | undefined

async function refresh(): Promise<void> {
  for (let wait = every; ; ) {
    if (document.visibilityState === 'visible') {
      try {
        const news = await ask<Overview>(`overview?seen=${overview?.revision ?? ''}`)
        if (news) show(news)
        say('state', overview?.problem ? `The database did not answer: ${overview.problem}` : '')
        wait = every
      } catch (error) {
        say('state', `The dashboard does not answer; is it still running? (${messageOf(error)})`)
        wait = Math.min(wait * 2, longest)
      }
      find('state').classList.toggle('problem', find('state').textContent !== '')
    }
    await new Promise((resolve) => setTimeout(resolve, wait))
  }
}

function show(news: Overview): void {
  overview = news
  say('place', `${news.place}, schema ${news.schema}`)
  say('time-note', `Since ${stamp(news.startedAt)}, when this dashboard was started.`)
  showFigures(news)
  showCleanup(news)
  showFindings(news)
  drawCharts(news)
}

function showFigures({ figures, now }: Overview): void {
  const { updates, heapOnlyUpdates, recentUpdates, recentHeapOnlyUpdates, isEstimate } = figures
  const recent =
    recentUpdates > 0
      ? `${percent(recentHeapOnlyUpdates, recentUpdates)} of ${count(recentUpdates)} since the start`
      : ''
  const vacuumed = figures.vacuumedAt === null ? 'never vacuumed' : `vacuumed ${distance(figures.vacuumedAt, now)}`
  const oldest = figures.oldestExpiredAt
  describe('figures', [
    ['Live', about(figures.live, isEstimate), isEstimate ? 'estimated from 1,000 pages of the table' : 'counted'],
    ['Anonymous', about(figures.anonymous, isEstimate), 'live, without a user'],
    [
      'Expired',
      about(figures.expired, isEstimate && figures.expired > 10_000),
      oldest === null ? 'none waits for the purge' : `the oldest ${distance(oldest, now)}`,
    ],
    ['Table', size(figures.tableBytes), `${count(figures.deadRows)} dead rows, ${vacuumed}`],
    ['Indexes', size(figures.indexBytes), `${size(figures.totalBytes)} with the table`],
    [
      'Heap-only updates',
      updates > 0 ? percent(heapOnlyUpdates, updates) : 'none yet',
      [updates > 0 ? `of ${count(updates)}` : 'no update counted', recent].filter(Boolean).join('; '),
    ],
  ])
}

function showCleanup({ purging, runs, now }: Overview): void {
  const { enabled, every: interval, workerSeenAt, nextRunAt, totalPurged } = purging
  describe('cleanup', [
    ['Recurring purge', enabled ? 'on' : 'off', enabled ? `every ${interval}` : 'expired sessions are not deleted'],
    ['Worker', workerSeenAt === null ? 'never seen' : `seen ${distance(workerSeenAt, now)}`],
    ['Next run', nextRunAt === null ? 'none' : distance(nextRunAt, now)],
    ['Purged in all', count(totalPurged)],
  ])
  const last = runs.slice(-10).reverse()
  const rows = last.map(({ at, purged, remaining, ms, code }) =>
    make(
      'tr',
      {},
      make('td', {}, stamp(at)),
      make('td', {}, count(purged)),
      make('td', {}, remaining === null ? '–' : count(remaining)),
      make('td', {}, duration(ms)),
      make('td', {}, code === null ? 'done' : `failed with ${code}`),
    ),
  )
  if (rows.length === 0) rows.push(make('tr', {}, make('td', { colSpan: 5 }, 'None yet.')))
  find('runs').replaceChildren(...rows)
}

find('diagnose').addEventListener('click', () => {
  const button = find<HTMLButtonElement>('diagnose')
  button.disabled = true
  say('doctor-state', 'Looking …')
  void post<Overview>('diagnose')
    .then((news) => news && show(news))
    .catch((error: unknown) => say('doctor-state', messageOf(error)))
    .finally(() => {
      button.disabled = false
      button.focus()
    })
})
showSessionsOf(find<HTMLFormElement>('lookup'), () => overview)
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawCharts)
new ResizeObserver(resizeCharts).observe(find('live-chart'))
void refresh()
