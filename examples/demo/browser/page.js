// The page by itself: forms that do not leave it, and what the server tells while it is open.
import { Chart } from '/chart.js'

const chart = new Chart(document.querySelector('#chart'))

for (const form of document.querySelectorAll('form[data-quiet]')) stayHere(form)
for (const button of document.querySelectorAll('[data-submit]')) {
  button.hidden = false
  button.addEventListener('click', () => {
    for (const form of document.querySelectorAll(`[data-group="${button.dataset.submit}"]`)) form.requestSubmit()
  })
}

/** Sends this form without leaving the page, and shows the answer below it. */
function stayHere(form) {
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    const buttons = form.querySelectorAll('button')
    const output = form.closest('section').querySelector('output')
    for (const button of buttons) button.setAttribute('aria-disabled', 'true') // it keeps the keyboard's focus
    if (form.ariaBusy === 'true') return
    form.ariaBusy = 'true'
    try {
      const body = new URLSearchParams(new FormData(form))
      const response = await fetch(form.action, { method: 'POST', body, headers: { accept: 'application/json' } })
      const { message } = await response.json()
      if (output) output.textContent = message
    } catch {
      if (output) output.textContent = 'The demo does not answer.'
    }
    form.ariaBusy = null
    for (const button of buttons) button.removeAttribute('aria-disabled')
  })
}

/** Replaces a part of the page; what has changed in it stands out for a moment. */
function show({ name, text }) {
  const part = document.querySelector(`[data-part="${name}"]`)
  if (!part) return
  const cells = () => [...part.querySelectorAll('td, strong, dd')]
  const before = cells().map(({ textContent }) => textContent)
  const focused = part.contains(document.activeElement) ? document.activeElement.id : ''
  part.innerHTML = text
  prepare(part)
  cells().forEach((cell, index) => {
    if (before[index] !== undefined && before[index] !== cell.textContent) cell.classList.add('changed')
  })
  if (focused) document.getElementById(focused)?.focus()
  for (const form of part.querySelectorAll('form[data-quiet]')) stayHere(form)
}

/** Times as the visitor's clock shows them, and how long there is left. */
function prepare(root) {
  for (const time of root.querySelectorAll('time')) time.textContent = new Date(time.dateTime).toLocaleTimeString()
  for (const left of root.querySelectorAll('[data-until]')) countDown(left)
}

function countDown(left) {
  const seconds = Math.max(Math.round((Date.parse(left.dataset.until) - Date.now()) / 1000), 0)
  left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')} left`
}

const reasons = {
  revoked: 'It was ended on another device.',
  signed_out: 'You signed out.',
}

/** Nothing of a session that has ended stays on the screen. */
function end(reason) {
  source?.close()
  document.querySelector('#live').hidden = true
  document.querySelector('h1').textContent = 'Hello, visitor'
  for (const part of document.querySelectorAll('[data-private]')) part.replaceChildren(part.dataset.gone ?? '')
  for (const button of document.querySelectorAll('button')) button.disabled = true
  const again = Object.assign(document.createElement('a'), { href: '/', textContent: 'Begin a new one' })
  document.querySelector('#ended').replaceChildren(`This session has ended. ${reasons[reason] ?? ''} `, again)
}

function countExpired({ expired }) {
  chart.waiting(expired)
  document.querySelector('#expired').textContent = expired.toLocaleString('en')
}

let source

function listen() {
  const parsed = (use) => (event) => use(JSON.parse(event.data))
  source = new EventSource('/live')
  source.addEventListener('open', () => {
    document.querySelector('#live').hidden = false
  })
  source.addEventListener('error', () => {
    document.querySelector('#live').hidden = true
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000) // else it connects again by itself
  })
  source.addEventListener('part', parsed(show))
  source.addEventListener(
    'ended',
    parsed(({ reason }) => end(reason)),
  )
  source.addEventListener('expired', parsed(countExpired))
  source.addEventListener(
    'purged',
    parsed(({ purged }) => chart.purged(purged)),
  )
}

// A page that the browser kept for the back button may be another session's by now.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload()
})
window.addEventListener('pagehide', () => source?.close())

if (chart.isThere) {
  prepare(document)
  setInterval(() => {
    for (const left of document.querySelectorAll('[data-until]')) countDown(left)
  }, 1000)
  listen()
}
