// A request that is under way while its visitor signs out.
import { PGStoreError } from 'pgstore'
import { type Action, cookieName, type Demo, type Routes, tell, work } from './exchange.ts'

export const slowSeconds = 4

export function slowRoutes({ store, others, rows, live }: Demo): Routes {
  const runReport: Action = async (exchange) => {
    const { req, res } = exchange
    const id = exchange.session.id ?? ''
    await others.set(id, { signedIn: true }) // the other store's session begins, too; signing out ends both
    const copy = (await others.get(id)) ?? {}
    try {
      // #region slow
      const session = await store.get(req, cookieName)
      await work(slowSeconds * 1000) // the visitor signs out
      session.values.report = new Date().toISOString()
      // Updates what lives, and never inserts a row.
      await store.save(req, res, session)
      // #endregion
      await others.set(id, copy)
      live.ring()
      tell(exchange, 'Saved: you did not sign out in the meantime.')
    } catch (error) {
      if (!(error instanceof PGStoreError && error.code === 'gone')) throw error
      await others.set(id, copy)
      const [found, revived] = await Promise.all([rows.find([id]), others.get(id)])
      const here = found.has(id) ? 'is back' : 'is still gone'
      const there = revived ? 'is back: the visitor is signed in again' : 'is still gone'
      tell(exchange, `save() failed with "gone", and session ${id} ${here}. In a store that overwrites it ${there}.`)
      await others.destroy(id)
    }
  }

  return { '/slow': { POST: runReport } }
}
