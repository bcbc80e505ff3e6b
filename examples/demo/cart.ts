// One cart, two panes: each adds its own fruit, at the same time.
import { type Action, cookieName, type Demo, type Exchange, Refusal, type Routes, tell, work } from './exchange.ts'

const thinkingMs = 700

type Fruit = 'apples' | 'pears'

export interface Cart {
  readonly apples: number
  readonly pears: number
}

export function cartRoutes({ store, others, live }: Demo): Routes {
  const merge: Action = async (exchange) => {
    const { req, res } = exchange
    const fruit = fruitOf(exchange)
    const { id } = exchange.session
    // #region merge
    const session = await store.get(req, cookieName)
    session.values[fruit] = (session.values[fruit] ?? 0) + 1
    await work(thinkingMs) // the other pane saves its fruit
    // Sends the key that changed; Postgres merges it.
    await store.save(req, res, session)
    // #endregion
    await countAdded(id, 'merge')
    live.ring()
    tell(exchange, `Added to ${fruit}.`)
  }

  const overwrite: Action = async (exchange) => {
    const fruit = fruitOf(exchange)
    const id = exchange.session.id ?? ''
    // #region overwrite
    const values = (await others.get(id)) ?? {}
    values[fruit] = Number(values[fruit] ?? 0) + 1
    await work(thinkingMs) // the other pane saves its fruit
    // Writes the whole session, as it was before that.
    await others.set(id, values)
    // #endregion
    await countAdded(id, 'overwrite')
    live.ring()
    tell(exchange, `Added to ${fruit}.`)
  }

  async function countAdded(id: string | undefined, way: string): Promise<void> {
    await store.byToken.increment(`added by ${id}`, way, 1, { ttl: 1800 }) // counts every call, however many at once
  }

  return { '/cart/merge': { POST: merge }, '/cart/overwrite': { POST: overwrite } }
}

/** How much was added in each way, and what is in the other store's cart. */
export async function readCarts(
  { store, others }: Pick<Demo, 'store' | 'others'>,
  id: string,
): Promise<{ readonly added: { readonly merge: number; readonly overwrite: number }; readonly overwritten: Cart }> {
  const [counts, overwritten] = await Promise.all([store.byToken.get(`added by ${id}`), others.get(id)])
  const { merge, overwrite } = counts?.values() ?? {}
  return {
    added: { merge: Number(merge ?? 0), overwrite: Number(overwrite ?? 0) },
    overwritten: cartIn(overwritten ?? {}),
  }
}

export function cartIn(values: { readonly apples?: unknown; readonly pears?: unknown }): Cart {
  return { apples: Number(values.apples ?? 0), pears: Number(values.pears ?? 0) }
}

function fruitOf({ form }: Exchange): Fruit {
  const fruit = form.get('fruit')
  if (fruit !== 'apples' && fruit !== 'pears') throw new Refusal(400, 'There are only apples and pears.')
  return fruit
}
