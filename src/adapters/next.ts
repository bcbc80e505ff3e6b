// `pgstore/next`: sessions by way of Next's cookies(), for server actions, route handlers, proxy and server components.
import { cookies, headers } from 'next/headers.js'
import { readCookies } from '../cookie/cookie-header.ts'
import { PGStoreError } from '../errors.ts'
import type { GetOptions } from '../options.ts'
import { attachment } from '../session/attachment.ts'
import type { PGStore } from '../store.ts'
import { openSession, type RequestSession, type RequestSessionOptions } from './request-session.ts'

export type { RequestSession, RequestSessionOptions } from './request-session.ts'

type Cookies = Awaited<ReturnType<typeof cookies>>

/**
 * `export const session = sessions(store)`, in a module of the application: then `await session()` is the visitor's session, and
 * `await session.save()` saves it, for nothing else tells when an action is done.
 *
 * While a server component is rendered Next.js sets no cookies: a save that would need one is refused with `headers_sent` before
 * anything is written. Reading needs none, nor does a save of a session that has its cookie.
 */
export function sessions<Values extends object>(
  store: PGStore<Values>,
  options: RequestSessionOptions = {},
): RequestSession<Values> {
  const opened = attachment<RequestSession<Values>>()

  /** Once in a request, and again once Next.js has other cookies, for what is rendered after an action. */
  async function current(): Promise<RequestSession<Values>> {
    const [jar, sent] = await Promise.all([cookies(), headers()])
    let session = opened.get(jar)
    if (!session) {
      const source = { getCookie: (name: string) => [jar.get(name)?.value ?? '', ...sentCookies(sent, name)] }
      const sink = {
        setCookie: (name: string, value: string, attributes: object) => jar.set(name, value, attributes),
        get headersSent() {
          return !canSet(jar)
        },
      }
      session = openSession(store, source, sink, options, explained).session
      opened.set(jar, session)
    }
    return session
  }

  const session: RequestSession<Values> = Object.assign(async (given?: GetOptions) => await (await current())(given), {
    regenerate: async (given?: Parameters<typeof session.regenerate>[0]) => await (await current()).regenerate(given),
    destroy: async () => await (await current()).destroy(),
    save: async (given?: Parameters<typeof session.save>[0]) => await (await current()).save(given),
  })
  return session
}

/** All of the name that the browser sent: `cookies()` shows one. Its value is percent-encoded where Next.js set it. */
function sentCookies(sent: { get(name: string): string | null }, name: string): string[] {
  return readCookies({ headers: sent }, name).map((value) => value.replaceAll('%3D', '='))
}

/** Whether Next.js takes cookies in this phase: it then asks for the name, which stops it before it sets any. */
function canSet(jar: Cookies): boolean {
  let isAsked = false
  const probe = {
    get name(): string {
      isAsked = true
      throw new Error('Not a cookie.')
    },
    value: '',
  }
  try {
    jar.set(probe)
  } catch {
    // as it must
  }
  return isAsked
}

function explained(error: unknown): unknown {
  if (!(error instanceof PGStoreError && error.code === 'headers_sent')) return error
  return new PGStoreError(
    'headers_sent',
    'Next.js sets no cookies while it renders a server component, and this session needs one: save it in a server action, a route handler or proxy.ts. Nothing was saved.',
  )
}
