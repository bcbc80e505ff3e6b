// Elements of the page, found and made. Text is only ever set as text, never as markup.

type Child = Node | string

export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  properties: Partial<HTMLElementTagNameMap[Name]> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  Object.assign(element, properties)
  element.append(...children)
  return element
}

export function find<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id)
  if (!found) throw new Error(`The page has no #${id}.`)
  return found as Kind
}

/** Sets a text that is there for good, so that nothing is announced which has not changed. */
export function say(id: string, text: string): void {
  const element = find(id)
  if (element.textContent !== text) element.textContent = text
}

/** Fills a list of terms, touching only what has changed: `[term, what it is now, a note]`. */
export function describe(id: string, terms: readonly (readonly [string, string, string?])[]): void {
  const list = find(id)
  terms.forEach(([term, text, note = ''], place) => {
    const group =
      list.children[place] ??
      list.appendChild(make('div', {}, make('dt'), make('dd'), make('dd', { className: 'note' })))
    ;[term, text, note].forEach((part, of) => {
      const element = group.children[of]
      if (element && element.textContent !== part) element.textContent = part
    })
  })
}
