// The sessions of a user who was asked for, and their end.
import type { Overview, Revoked, UserSession, UserSessionList } from '../overview.ts'
import { find, make, say } from './elements.ts'
import { ask, messageOf, post } from './requests.ts'
import { count, distance, stamp } from './text.ts'

/** The user whose sessions are listed. */
let listed: UserSessionList | undefined

export function showSessionsOf(form: HTMLFormElement, overview: () => Overview | undefined): void {
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void list(find<HTMLInputElement>('user').value, overview()?.showsData ?? false)
  })
  const endAll = find<HTMLButtonElement>('end-all')
  endAll.addEventListener('click', () => {
    if (!listed) return
    const { user, count: sessions } = listed
    const title = sessions === 1 ? 'End the one session?' : `End all ${count(sessions)} sessions?`
    confirm(title, `User ${user} is signed out everywhere, at once.`, () => end(user, null))
  })
}

async function list(user: string, showsData: boolean): Promise<void> {
  forget()
  say('user-state', 'Looking …')
  try {
    const found = await ask<UserSessionList>(`sessions?user=${encodeURIComponent(user)}`)
    if (found) show(found, showsData)
  } catch (error) {
    say('user-state', messageOf(error))
  }
}

function forget(): void {
  listed = undefined
  find('sessions').replaceChildren()
  find('end-all').hidden = true
}

function show(found: UserSessionList, showsData: boolean): void {
  listed = found
  const { user, count: number, sessions } = found
  const data =
    showsData || sessions.length === 0 ? '' : ' Their data is shown by a dashboard that was started with --show-data.'
  const part = sessions.length < number ? ` Here are the newest ${sessions.length}.` : ''
  const words = number === 0 ? 'no live session' : number === 1 ? '1 live session' : `${count(number)} live sessions`
  say('user-state', `User ${user} has ${words}.${part}${data}`)
  find('sessions').replaceChildren(...sessions.map((session) => item(user, session)))
  find('end-all').hidden = number === 0
}

function item(user: string, session: UserSession): HTMLElement {
  const { id, label, tags, createdAt, seenAt, signedInAt, expiresAt, data } = session
  const now = Date.now()
  const name = label === null ? `Session ${id}` : typeof label === 'string' ? label : JSON.stringify(label)
  const times = [
    `seen ${distance(seenAt, now)}`,
    signedInAt === null ? 'never signed in' : `signed in ${stamp(signedInAt)}`,
    `made ${stamp(createdAt)}`,
    `expires ${stamp(expiresAt)}`,
  ]
  const button = make('button', { type: 'button', className: 'danger' }, 'End')
  button.setAttribute('aria-label', `End session ${id}`)
  button.addEventListener('click', () => {
    const text = `${name}, of user ${user}, is signed out at once.`
    confirm(`End session ${id}?`, text, () => end(user, id))
  })
  const facts = `Number ${id}${tags.length > 0 ? `, tags ${tags.join(', ')}` : ''}; ${times.join('; ')}.`
  const about = make('div', {}, make('strong', {}, name), make('p', { className: 'note' }, facts))
  return make('li', {}, about, button, ...(data === null ? [] : [dataOf(id, data)]))
}

function dataOf(id: string, data: string): HTMLElement {
  // It scrolls, so the keyboard must reach it.
  const text = make('pre', { tabIndex: 0 }, JSON.stringify(JSON.parse(data), null, 2))
  text.setAttribute('role', 'region')
  text.setAttribute('aria-label', `Data of session ${id}`)
  return text
}

async function end(user: string, id: string | null): Promise<void> {
  try {
    const { ended } = (await post<Revoked>('revoke', { user, id })) ?? { ended: 0 }
    const showsData = listed?.sessions.some(({ data }) => data !== null) ?? false
    await list(user, showsData)
    const words =
      ended === 0
        ? 'Nothing was ended: it had ended before.'
        : `Ended ${ended === 1 ? '1 session' : `${count(ended)} sessions`}.`
    say('user-state', `${words} ${find('user-state').textContent}`)
  } catch (error) {
    say('user-state', messageOf(error))
  }
  find('user').focus()
}

/** Asks before it is done; the answer that changes nothing has the focus. */
function confirm(title: string, text: string, confirmed: () => Promise<void>): void {
  const dialog = find<HTMLDialogElement>('confirm')
  say('confirm-title', title)
  say('confirm-text', text)
  dialog.returnValue = 'cancel'
  dialog.onclose = () => {
    if (dialog.returnValue === 'end') void confirmed()
  }
  dialog.showModal()
}
