// What visitors see.
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import type { ListedSession, Session } from 'pgstore'
import { Html, html } from './html.ts'
import type { Visit } from './site.ts'

/** A row of pgstore.sessions, as node-postgres reads it. */
export interface SessionRow {
  readonly id: string
  readonly user_id: string | null
  readonly data: object
  readonly version: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly expires_at: Date
  /** The first 16 hex digits. */
  readonly key: string
}

interface Home {
  readonly session: Session<Visit>
  readonly flashes: readonly string[]
  readonly devices: readonly ListedSession<Visit>[]
  readonly row: SessionRow | undefined
  readonly port: number | undefined
}

const css = fs.readFileSync(new URL('style.css', import.meta.url), 'utf8')

/** Nothing but the page's own style sheet, named by its digest, and forms to this site. */
export const contentSecurityPolicy: string = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(css).digest('base64')}'`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

export function homePage({ session, flashes, devices, row, port }: Home): Html {
  const { userId, values } = session
  const visits = values.visits ?? 0
  return layout(
    'pgstore demo',
    html`
      ${flashes.map((flash) => html`<p class="flash" role="status">${flash}</p>`)}
      <h1>Hello, ${userId ?? 'visitor'}</h1>
      <p>This is visit number <strong>${visits}</strong> of this session. Reload the page and it counts on; restart the demo and it is still known.</p>
      ${userId === undefined ? signInForm(port) : deviceList(session, devices)}
      ${row && rowTable(row)}
    `,
  )
}

export function errorPage(sentence: string): Html {
  return layout(sentence, html`<h1>${sentence}</h1><p><a href="/">To the start page</a></p>`)
}

function signInForm(port: number | undefined): Html {
  return html`
    <section aria-labelledby="sign-in">
      <h2 id="sign-in">Sign in</h2>
      <form method="post" action="/sign-in" class="line">
        <label for="name">Your name</label>
        <input id="name" name="name" required maxlength="50" autocomplete="username" placeholder="Ada">
        <button class="main">Sign in</button>
      </form>
      <p class="note">Any name will do: the demo asks for no password. Sign in with the same name in a second browser, or in a terminal, and you see both:</p>
      <pre><code>curl -c jar -b jar -d name=Ada http://127.0.0.1:${port}/sign-in</code></pre>
    </section>`
}

function deviceList(session: Session<Visit>, devices: readonly ListedSession<Visit>[]): Html {
  return html`
    <section aria-labelledby="devices">
      <h2 id="devices">Your devices</h2>
      <ul class="devices">
        ${devices.map((device) => deviceItem(device, device.id === session.id))}
      </ul>
      <div class="line">
        ${devices.length > 1 ? html`<form method="post" action="/devices/end-others"><button>Sign out all others</button></form>` : undefined}
        <form method="post" action="/sign-out"><button>Sign out here</button></form>
      </div>
    </section>`
}

function deviceItem({ id, values, updatedAt }: ListedSession<Visit>, isThisOne: boolean): Html {
  const name = deviceName(values.userAgent ?? '')
  const end = html`
    <form method="post" action="/devices/end">
      <input type="hidden" name="id" value="${id}">
      <button aria-label="Sign out ${name}, session ${id}">Sign out</button>
    </form>`
  return html`
    <li>
      <div>
        <strong>${name}</strong>
        <p class="note">Session ${id}${values.signedInAt && html`, signed in ${time(new Date(values.signedInAt))}`}</p>
        <p class="note">Last seen ${time(updatedAt)}</p>
      </div>
      ${isThisOne ? html`<span class="badge">this device</span>` : end}
    </li>`
}

/** "Firefox on Linux": what the browser claims to be. Most claim to be several: the first in this list counts. */
function deviceName(userAgent: string): string {
  const named = (names: readonly string[]) => names.find((name) => userAgent.includes(name))
  const browser = named(['Edg/', 'OPR/', 'Firefox/', 'Chrome/', 'Safari/', 'curl/'])?.slice(0, -1) ?? 'A browser'
  const system = named(['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'])
  return system ? `${browser} on ${system}` : browser
}

function rowTable(row: SessionRow): Html {
  return html`
    <section aria-labelledby="row">
      <h2 id="row">Your session in Postgres</h2>
      <pre><code>select * from pgstore.sessions where id = ${row.id}</code></pre>
      <table>
        <tr><th scope="row">key</th><td><code>\\x${row.key}…</code></td></tr>
        <tr><th scope="row">id</th><td>${row.id}</td></tr>
        <tr><th scope="row">user_id</th><td>${row.user_id ?? html`<i>null</i>`}</td></tr>
        <tr><th scope="row">data</th><td><pre>${JSON.stringify(row.data, null, 2)}</pre></td></tr>
        <tr><th scope="row">version</th><td>${row.version}</td></tr>
        <tr><th scope="row">created_at</th><td>${time(row.created_at)}</td></tr>
        <tr><th scope="row">updated_at</th><td>${time(row.updated_at)}</td></tr>
        <tr><th scope="row">expires_at</th><td>${time(row.expires_at)}</td></tr>
      </table>
      <p class="note">The key is the SHA-256 digest of the token in your cookie. The token itself is not stored: reading the table is not enough to open a session.</p>
    </section>`
}

function time(date: Date): Html {
  const iso = date.toISOString()
  return html`<time datetime="${iso}">${iso.slice(0, 19).replace('T', ' ')} UTC</time>`
}

function layout(title: string, content: Html): Html {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title}</title>
    <style>${new Html(css)}</style>
  </head>
  <body>
    <header>pgstore demo: HTTP sessions in Postgres</header>
    <main>${content}</main>
  </body>
</html>
`
}
