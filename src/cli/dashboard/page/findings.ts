// What the doctor found, each with the command that mends it.
import type { Diagnosed, Overview } from '../overview.ts'
import { find, make, say } from './elements.ts'
import { distance } from './text.ts'

let shown = ''

export function showFindings({ doctor, now }: Overview): void {
  if (doctor === null) return
  const { at, findings, problem } = doctor
  const found =
    findings.length === 0
      ? 'Nothing is wrong.'
      : `${findings.length} ${findings.length === 1 ? 'finding' : 'findings'}.`
  const looked = `Looked ${distance(Math.min(at, now), now)}.`
  say('doctor-state', problem === null ? `${found} ${looked}` : `It could not look: ${problem}`)
  // They are redrawn only when they change: a command may be selected, or its button have the focus.
  const text = JSON.stringify(findings)
  if (text === shown) return
  shown = text
  find('findings').replaceChildren(...findings.map(finding))
}

function finding({ level, says, mend }: Diagnosed): HTMLElement {
  const badge = make('strong', { className: level }, level === 'wrong' ? 'Wrong' : 'Warning')
  const item = make('li', {}, make('p', {}, badge, ` ${says}`))
  if (mend !== null) item.append(make('div', { className: 'mend' }, make('code', {}, mend), copyButton(mend)))
  return item
}

function copyButton(text: string): HTMLButtonElement {
  const button = make('button', { type: 'button' }, 'Copy')
  button.setAttribute('aria-label', `Copy ${text}`)
  button.addEventListener('click', () => {
    void navigator.clipboard.writeText(text).then(
      () => {
        button.textContent = 'Copied'
      },
      () => {
        button.textContent = 'Not allowed'
      },
    )
  })
  return button
}
