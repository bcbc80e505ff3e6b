// Flash messages: stored in a session's values for the next page, read once.

/** Where they live, as in gorilla/sessions. */
export const flashKey = '_flash'

export function addFlash(values: object, value: unknown, key: string = flashKey): void {
  // Not by assignment: the key may be '__proto__'.
  const messages = { value: [...messagesOf(values, key), value], configurable: true, enumerable: true, writable: true }
  Object.defineProperty(values, key, messages)
}

export function takeFlashes(values: object, key: string = flashKey): unknown[] {
  const messages = messagesOf(values, key)
  if (Object.hasOwn(values, key)) delete (values as Record<string, unknown>)[key]
  return messages
}

function messagesOf(values: object, key: string): unknown[] {
  return flashesIn(Object.hasOwn(values, key) ? (values as Record<string, unknown>)[key] : [])
}

export function flashesIn(stored: unknown): unknown[] {
  return Array.isArray(stored) ? stored : []
}
