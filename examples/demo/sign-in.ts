// Signing in and out, here and on other devices.
import { type Action, type Demo, goHome, Refusal, type Routes, tell } from './exchange.ts'

export function signInRoutes({ store, others, live }: Demo): Routes {
  const signIn: Action = async ({ req, res, session, form }) => {
    const name = (form.get('name') ?? '').replace(/\p{Cc}/gu, '').trim()
    if (name === '' || name.length > 50) {
      session.addFlash('Sign in with a name of 1 to 50 characters.')
      await store.save(req, res, session)
      goHome(res)
      return
    }
    // #region sign-in
    session.userId = name // whose password you have checked
    session.label = deviceName(req.headers['user-agent'] ?? '')
    session.addFlash(`Signed in as ${name}, with a new cookie: the old one no longer works.`)
    await store.regenerate(req, res, session) // a new token: whoever knew the old one is locked out
    // #endregion
    live.ring()
    goHome(res)
  }

  const signOut: Action = async (exchange) => {
    const { req, res, session } = exchange
    if (session.id !== undefined) await others.destroy(session.id)
    await store.destroy(req, res, session) // and `session` is a new one from here on
    if (req.headers.accept !== 'application/json') {
      session.addFlash('Signed out. Your session is gone from the database; this is a new one.')
      await store.save(req, res, session)
    }
    tell(exchange, 'Signed out: the row and the cookie are gone.')
  }

  const endDevice: Action = async (exchange) => {
    const { session, form } = exchange
    const id = form.get('id')
    if (session.userId === undefined || id === null) throw new Refusal(400, 'Sign in and choose a device first.')
    // #region revoke
    const ended = await store.revoke(session.userId, { id })
    // #endregion
    tell(exchange, ended > 0 ? 'That device is signed out.' : 'That device had been signed out already.')
  }

  const endOtherDevices: Action = async (exchange) => {
    const { session } = exchange
    if (session.userId === undefined) throw new Refusal(400, 'Sign in first.')
    const ended = await store.revoke(session.userId, { except: session })
    tell(exchange, `Signed out everywhere else: ${ended} ${ended === 1 ? 'device' : 'devices'}.`)
  }

  return {
    '/sign-in': { POST: signIn },
    '/sign-out': { POST: signOut },
    '/devices/end': { POST: endDevice },
    '/devices/end-others': { POST: endOtherDevices },
  }
}

/** "Firefox on Linux": what the browser claims to be. Most claim to be several: the first in this list counts. */
function deviceName(userAgent: string): string {
  const named = (names: readonly string[]) => names.find((name) => userAgent.includes(name))
  const browser = named(['Edg/', 'OPR/', 'Firefox/', 'Chrome/', 'Safari/', 'curl/'])?.slice(0, -1) ?? 'A browser'
  const system = named(['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'])
  return system ? `${browser} on ${system}` : browser
}
