// The parts of the page that change by themselves: rendered with the page, and again whenever something has changed.
import type { CleanupStatus, ListedSession } from 'pgstore'
import { type Cart, cartIn, readCarts } from './cart.ts'
import type { Counts } from './counts.ts'
import type { Demo } from './exchange.ts'
import { type Html, html } from './html.ts'
import type { Parts } from './live.ts'
import type { SessionRow } from './rows.ts'

type Sources = Pick<Demo, 'store' | 'others' | 'rows'>

export async function renderParts(sources: Sources, counts: () => Counts, row: SessionRow): Promise<Parts> {
  const { store, rows } = sources
  const [devices, carts, cleanup, expired] = await Promise.all([
    row.user_id === null ? undefined : store.list(row.user_id),
    readCarts(sources, row.id),
    store.cleanupStatus(),
    rows.countExpired(),
  ])
  return {
    row: rowTable(row),
    merged: cartLine(carts.added.merge, cartIn(row.data)),
    overwritten: cartLine(carts.added.overwrite, carts.overwritten),
    devices: deviceList(row.id, devices),
    cleanup: cleanupLine(cleanup, expired),
    counts: countList(counts()),
  }
}

function rowTable(row: SessionRow): Html {
  const until = row.expires_at.toISOString()
  return html`
    <table>
      <tr><th scope="row">key</th><td><code>\\x${row.key}…</code></td></tr>
      <tr><th scope="row">id</th><td><code>${row.id}</code></td></tr>
      <tr><th scope="row">user_id</th><td>${row.user_id ?? html`<i>null</i>`}</td></tr>
      <tr><th scope="row">data</th><td><code>${JSON.stringify(row.data, null, 1)}</code></td></tr>
      <tr><th scope="row">version</th><td>${row.version}</td></tr>
      <tr><th scope="row">updated_at</th><td>${time(row.updated_at)}</td></tr>
      <tr><th scope="row">expires_at</th><td>${time(row.expires_at)}<span class="left" data-until="${until}"></span></td></tr>
    </table>`
}

function cartLine(added: number, { apples, pears }: Cart): Html {
  const lost = Math.max(added - apples - pears, 0)
  return html`
    <p class="cart"><span>Added <strong>${added}</strong></span> <span>In the cart <strong>${apples + pears}</strong>
      <small>apples ${apples}, pears ${pears}</small></span></p>
    ${added === 0 ? undefined : lost > 0 ? html`<p class="bad">${lost} lost</p>` : html`<p class="good">None lost</p>`}`
}

function deviceList(own: string, devices: readonly ListedSession<object>[] | undefined): Html {
  if (!devices) return html`<p class="note">Sign in at the top: then your devices are listed here.</p>`
  return html`
    <ul class="devices">${devices.map((device) => deviceItem(device, device.id === own))}</ul>
    ${
      devices.length > 1
        ? html`<form method="post" action="/devices/end-others" data-quiet><button id="end-others">Sign out all others</button></form>`
        : undefined
    }`
}

function deviceItem({ id, label, signedInAt }: ListedSession<object>, isOwn: boolean): Html {
  const name = typeof label === 'string' ? label : 'A device'
  return html`
    <li>
      <div>
        <strong>${name}</strong>
        <p class="note">Session ${id}${signedInAt && html`, signed in at ${time(signedInAt)}`}</p>
      </div>
      ${
        isOwn
          ? html`<span class="badge">this one</span>`
          : html`<form method="post" action="/devices/end" data-quiet>
              <input type="hidden" name="id" value="${id}">
              <button id="end-${id}" aria-label="End ${name}, session ${id}">End</button>
            </form>`
      }
    </li>`
}

function cleanupLine({ enabled, every, lastPurged, lastMs, totalPurged }: CleanupStatus, expired: number): Html {
  return html`
    <dl class="numbers">
      <div><dt>Cleanup</dt><dd>${enabled ? `on, every ${every.replace(/^00:00:0?(\d+)$/, '$1 s')}` : 'off'}</dd></div>
      <div><dt>Expired, waiting</dt><dd id="expired">${number(expired)}</dd></div>
      <div><dt>Last run</dt><dd>${lastPurged === undefined ? 'none' : `${number(lastPurged)} in ${number(lastMs ?? 0)} ms`}</dd></div>
      <div><dt>Purged in all</dt><dd>${number(totalPurged)}</dd></div>
    </dl>`
}

function countList({ reads, spared, roundTrips }: Counts): Html {
  return html`
    <dl class="numbers">
      <div><dt>Reads of sessions</dt><dd>${number(reads)}</dd></div>
      <div><dt>Without a query</dt><dd>${number(spared)}</dd></div>
      <div><dt>Round trips to Postgres</dt><dd>${number(roundTrips)}</dd></div>
    </dl>`
}

export function number(count: number): string {
  return count.toLocaleString('en')
}

/** The page's script shows it in the visitor's own time zone. */
export function time(date: Date): Html {
  const iso = date.toISOString()
  return html`<time datetime="${iso}">${iso.slice(11, 19)} UTC</time>`
}
