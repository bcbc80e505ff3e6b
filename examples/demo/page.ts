// What visitors see: one page of panels, each with the code that does it.
import type { Session } from 'pgstore'
import type { CookieFacts } from './cookie.ts'
import { excerpt } from './excerpts.ts'
import { cookieName, type Visit } from './exchange.ts'
import { type Html, html } from './html.ts'
import type { Parts } from './live.ts'
import { number, time } from './parts.ts'
import { expiredSessions } from './purge.ts'
import { slowSeconds } from './slow.ts'

interface Home {
  readonly session: Session<Visit>
  readonly cookie: CookieFacts | undefined
  readonly flashes: readonly string[]
  readonly parts: Parts
  readonly port: number | undefined
}

export function homePage({ session, cookie, flashes, parts, port }: Home): Html {
  return layout(
    'pgstore demo',
    html`
      ${flashes.map((flash) => html`<p class="flash" role="status" data-private>${flash}</p>`)}
      <h1>Hello, ${session.userId ?? 'visitor'}</h1>
      <p class="lead">This page is one session in Postgres. Everything below happens to it for real, and changes while you look.
        Open the page in a second window, too.</p>
      <div class="panels">
        ${sessionPanel(session, cookie, parts)} ${cartPanel(parts)} ${slowPanel()} ${devicesPanel(parts, port)} ${cleanupPanel(parts)} ${countsPanel(parts)}
      </div>`,
  )
}

export function errorPage(sentence: string): Html {
  return layout(sentence, html`<h1>${sentence}</h1><p><a href="/">To the start page</a></p>`)
}

function sessionPanel({ userId }: Session<Visit>, cookie: CookieFacts | undefined, parts: Parts): Html {
  const signIn = html`
    <form method="post" action="/sign-in" class="line">
      <label for="name">Your name</label>
      <input id="name" name="name" required maxlength="50" autocomplete="username" placeholder="Ada">
      <button class="main">Sign in</button>
    </form>
    <p class="note">Any name will do: the demo asks for no password. Watch the cookie and the key change, and the row stay.</p>`
  const signOut = html`
    <form method="post" action="/sign-out" class="line" data-private><span>Signed in as <strong>${userId}</strong></span><button>Sign out</button></form>
    <p class="note">Signing out deletes the row, and the cookie with it.</p>`
  return panel(
    'session',
    'The cookie and its row',
    html`
      ${userId === undefined ? signIn : signOut}
      <div class="pair">
        <div>
          <h3>In your browser</h3>
          <div data-private>${cookie && cookieTable(cookie)}</div>
        </div>
        <div>
          <h3>In Postgres, live</h3>
          ${part('row', parts, 'No row.')}
        </div>
      </div>
      ${code('sign-in')}`,
  )
}

function cookieTable({ value, signedAt, token }: CookieFacts): Html {
  return html`
    <table>
      <tr><th scope="row">name</th><td><code>${cookieName}</code></td></tr>
      <tr><th scope="row">value</th><td><code>${value}</code></td></tr>
      <tr><th scope="row">token in it</th><td><code>${token}</code> <span class="note">32 random bytes. Its SHA-256 is the key of the row: whoever reads
        the table cannot make the cookie.</span></td></tr>
      <tr><th scope="row">signed</th><td>${time(signedAt)} <span class="note">HMAC-SHA256: a forged cookie costs no query.</span></td></tr>
      <tr><th scope="row">HttpOnly</th><td class="note">No script can read it.</td></tr>
      <tr><th scope="row">SameSite=Lax</th><td class="note">Forms of other sites do not carry it.</td></tr>
      <tr><th scope="row">Secure</th><td class="note">Off, as this demo speaks plain http to your own machine; on by default.</td></tr>
    </table>`
}

function cartPanel(parts: Parts): Html {
  return panel(
    'cart',
    'One cart, two panes at once',
    html`
      <p>Two requests of one visitor read the session, work for a moment, and save. Press <em>both at once</em> on either side.</p>
      <div class="pair">
        ${cartSide('merge', 'pgstore merges', 'merged', parts)}
        ${cartSide('overwrite', 'Others read, then overwrite', 'overwritten', parts)}
      </div>`,
  )
}

function cartSide(way: 'merge' | 'overwrite', title: string, partName: string, parts: Parts): Html {
  const pane = (index: number, fruit: string, label: string) => html`
    <form method="post" action="/cart/${way}" data-quiet data-group="${way}">
      <input type="hidden" name="fruit" value="${fruit}">
      <button><small>Pane ${index}</small> ${label}</button>
    </form>`
  return html`
    <div>
      <h3>${title}</h3>
      <div class="panes">${pane(1, 'apples', 'Add an apple')} ${pane(2, 'pears', 'Add a pear')}</div>
      <button type="button" class="main" data-submit="${way}" hidden>Both at once</button>
      ${part(partName, parts, '')}
      ${code(way)}
    </div>`
}

function slowPanel(): Html {
  return panel(
    'slow',
    'Signed out stays signed out',
    html`
      <div class="pair">
        <div>
          <p>Start a request that takes ${slowSeconds} seconds, and sign out while it runs. When it saves, does the session come back?</p>
          <div class="line">
            <form method="post" action="/slow" data-quiet><button class="main">Start a slow request</button></form>
            <form method="post" action="/sign-out" data-quiet><button>Sign out meanwhile</button></form>
          </div>
          <output aria-live="polite"></output>
        </div>
        ${code('slow')}
      </div>`,
  )
}

function devicesPanel(parts: Parts, port: number | undefined): Html {
  return panel(
    'devices',
    'Your devices',
    html`
      <div class="pair">
        <div>
          <p>Open this page in a private window, and sign in with the same name: the device appears here. End it, and its page
            says so at once.</p>
          ${part('devices', parts, '')}
          <output aria-live="polite"></output>
          <p class="note">A terminal is a device, too: <code>curl -c jar -b jar -d name=Ada 127.0.0.1:${port}/sign-in</code></p>
        </div>
        <div>${code('revoke')} ${code('events')}</div>
      </div>`,
  )
}

function cleanupPanel(parts: Parts): Html {
  return panel(
    'cleanup',
    'The cleanup',
    html`
      <p>An expired session is dead at once. Its row is purged later, in batches, by one worker of all servers, which announces each
        run with NOTIFY.</p>
      <div class="line">
        <form method="post" action="/cleanup/expired" data-quiet><button class="main">Make ${number(expiredSessions)} expired sessions</button></form>
        <form method="post" action="/cleanup/start" data-quiet><button>Start the cleanup</button></form>
        <form method="post" action="/cleanup/stop" data-quiet><button>Stop the cleanup</button></form>
      </div>
      <output aria-live="polite"></output>
      ${part('cleanup', parts)}
      <div id="chart" class="chart" role="img" aria-label="Expired sessions waiting to be purged, and those purged by each run, in the last minute"></div>
      <div class="pair">${code('purge')} ${code('watch')}</div>`,
  )
}

function countsPanel(parts: Parts): Html {
  return panel(
    'counts',
    'This process now',
    html`
      <p>Concurrent reads travel together, and with <code>cache: true</code> most need no query.</p>
      ${part('counts', parts)}
      <div class="line">
        <form method="post" action="/reads/batched" data-quiet><button>Read the session 200 times at once</button></form>
        <form method="post" action="/reads/cached" data-quiet><button>The same, by way of the cache</button></form>
      </div>
      <output aria-live="polite"></output>
      <div class="pair">${code('batch')} ${code('cache')}</div>`,
  )
}

function panel(id: string, title: string, content: Html): Html {
  return html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>${content}</section>`
}

/** @param gone what takes its place when the session has ended; undefined if it is not about the session */
function part(name: string, parts: Parts, gone?: string): Html {
  return html`<div data-part="${name}" ${gone === undefined ? undefined : html`data-private data-gone="${gone}"`}>${parts[name]}</div>`
}

function code(name: string): Html {
  const { file, code } = excerpt(name)
  return html`
    <figure>
      <figcaption>examples/demo/${file}</figcaption>
      <pre><code>${code}</code></pre>
    </figure>`
}

function layout(title: string, content: Html): Html {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title}</title>
    <link rel="icon" href="/icon.svg">
    <link rel="stylesheet" href="/uPlot.min.css">
    <link rel="stylesheet" href="/style.css">
    <script type="module" src="/page.js"></script>
  </head>
  <body>
    <header><span class="name">pgstore</span> HTTP sessions in Postgres <span id="live" class="badge" hidden>live</span></header>
    <main>
      <div id="ended" role="alert"></div>
      ${content}
    </main>
  </body>
</html>
`
}
