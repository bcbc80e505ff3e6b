// A browser over real HTTP, as far as sessions go: it keeps the cookies that it is sent, in the order the answers arrive.

export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The Set-Cookie lines. */
  readonly cookies: readonly string[]
  readonly text: string
}

/** Names of the cookies that these Set-Cookie lines set, in the order of the alphabet. */
export function cookieNames(lines: readonly string[]): string[] {
  return lines.map((line) => line.split('=', 1)[0] ?? '').sort((one, other) => one.localeCompare(other))
}

export class Browser {
  readonly url: string
  readonly jar: Map<string, string>

  constructor(url: string, jar: Iterable<readonly [string, string]> = []) {
    this.url = url
    this.jar = new Map(jar)
  }

  async get(path: string, init: RequestInit = {}): Promise<Answer> {
    return await this.#send(path, init)
  }

  async post(path: string, body?: unknown): Promise<Answer> {
    const headers = { 'content-type': 'application/json' }
    return await this.#send(path, { method: 'POST', headers, body: JSON.stringify(body ?? {}) })
  }

  /** The answer as soon as its headers are there. */
  async open(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    const cookie = [...this.jar].map(([name, value]) => `${name}=${value}`).join('; ')
    if (cookie) headers.set('cookie', cookie)
    const response = await fetch(this.url + path, { redirect: 'manual', ...init, headers })
    for (const line of response.headers.getSetCookie()) {
      const [, name, value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (name === undefined) continue // browsers ignore an empty Set-Cookie
      if (/; Max-Age=0\b/.test(line)) this.jar.delete(name)
      else this.jar.set(name, value)
    }
    return response
  }

  /** Another with the same cookies. */
  twin(): Browser {
    return new Browser(this.url, this.jar)
  }

  async #send(path: string, init: RequestInit): Promise<Answer> {
    const response = await this.open(path, init)
    const { status, headers } = response
    return { status, headers, cookies: headers.getSetCookie(), text: await response.text() }
  }
}
