// A session as an object with its values as own properties, for plugins that expect one of @fastify/session,
// @fastify/secure-session or koa-session.
import type { Session } from '../session/session.ts'
import { answer, type Callback } from './express-calls.ts'
import type { RequestSession } from './request-session.ts'

type Done = Callback<void>

/** What a session has besides its values; a value under one of these names is reached by `get` and `set` alone. */
export interface SessionMethods<Values extends object> {
  get<Name extends keyof Values>(name: Name): Values[Name] | undefined
  /** undefined removes the value. */
  set<Name extends keyof Values>(name: Name, value: Values[Name] | undefined): void
  /** Ends the session with the response. */
  delete(): void
  /** Does nothing: visits are recorded as they come. */
  touch(): void
  /**
   * At once: a new token, no user, and no values but those with these names. `request.session` is a new object afterwards; the old
   * one keeps what it held. Calls back, or returns a promise without a callback.
   */
  regenerate(keep?: readonly string[] | Done, callback?: Done): Promise<void>
  /** At once. Calls back, or returns a promise without a callback. */
  save(callback?: Done): Promise<void>
  /** At once. Calls back, or returns a promise without a callback. */
  destroy(callback?: Done): Promise<void>
  /** The values. */
  data(): Values
  readonly isNew: boolean
  /** The session itself, with its `userId`, for `store.list()` and `store.revoke()`. */
  readonly pgstore: Session<Values>
}

export type SessionObject<Values extends object = Record<string, unknown>> = Values & SessionMethods<Values>

/** A request's session object: another one after it was regenerated. */
export interface ObjectHolder<Values extends object> {
  readonly current: SessionObject<Values>
  /** As koa-session: null ends the session with the response, an object takes the place of its values. */
  replace(values: Values | null): void
}

export function holdObject<Values extends object>(
  calls: RequestSession<Values>,
  session: Session<Values>,
): ObjectHolder<Values> {
  let current = make()

  function make(): SessionObject<Values> {
    /** What it held when it was left for another. */
    let left: Values | undefined
    const values = () => (left ?? session.values) as Record<string, unknown>
    const methods: SessionMethods<Values> = {
      get: (name) => own(values(), name) as never,
      set(name, value) {
        if (value === undefined) delete values()[name as string]
        else put(values(), name, value)
      },
      delete: () => replace(null),
      touch: () => {},
      async regenerate(keep, callback) {
        const done = typeof keep === 'function' ? keep : callback
        await answer(done, async () => {
          const before = session.values
          left = before
          const names = Array.isArray(keep) ? keep.filter((name) => Object.hasOwn(before, name)) : []
          session.values = Object.fromEntries(names.map((name) => [name, own(before, name)])) as Values
          session.userId = undefined
          session.label = undefined
          session.tags = []
          current = make()
          await calls.regenerate()
        })
      },
      save: async (callback) => await answer(callback, async () => await calls.save()),
      destroy: async (callback) => await answer(callback, async () => await calls.destroy()),
      data: () => values() as Values,
      get isNew() {
        return session.isNew
      },
      pgstore: session,
    }
    return new Proxy({} as SessionObject<Values>, {
      get: (target, name) => own(methods, name) ?? own(values(), name) ?? Reflect.get(target, name),
      set: (_target, name, value) => put(values(), name, value),
      has: (target, name) => Object.hasOwn(methods, name) || Object.hasOwn(values(), name) || Reflect.has(target, name),
      deleteProperty: (_target, name) => Reflect.deleteProperty(values(), name),
      ownKeys: () => Reflect.ownKeys(values()),
      getOwnPropertyDescriptor: (_target, name) => Reflect.getOwnPropertyDescriptor(values(), name),
      defineProperty: (_target, name, property) => Reflect.defineProperty(values(), name, property),
    })
  }

  function replace(values: Values | null): void {
    session.values = { ...values } as Values
    if (values === null) session.options.maxAge = -1
  }

  return {
    get current() {
      return current
    },
    replace,
  }
}

function own(object: object, name: PropertyKey): unknown {
  return Object.hasOwn(object, name) ? Reflect.get(object, name) : undefined
}

/** As an own property, whatever its name. */
function put(values: object, name: PropertyKey, value: unknown): boolean {
  return Reflect.defineProperty(values, name, { value, writable: true, enumerable: true, configurable: true })
}
