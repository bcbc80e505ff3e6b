// A value kept with an object created elsewhere, such as a request.

/** By object: a WeakMap for what comes and goes with every request. */
export interface Attachment<Value> {
  get(owner: object): Value | undefined
  set(owner: object, value: Value | undefined): void
}

function itself(object: object): object {
  return object
}

/**
 * A private field on each object: invisible, and gone with the object. A WeakMap outlives the requests, and every garbage
 * collection scans it, which with 128 readers costs as much as everything else in a read.
 *
 * How: if a base class' constructor returns an object, that object gets the derived class' fields.
 */
export function attachment<Value>(): Attachment<Value> {
  const closed = new WeakMap<object, Value | undefined>() // objects that take no field
  class Owner extends (itself as unknown as new (object: object) => object) {
    #value: Value | undefined

    static get(owner: object): Value | undefined {
      return #value in owner ? owner.#value : closed.get(owner)
    }

    static set(owner: object, value: Value | undefined): void {
      if (#value in owner) owner.#value = value
      else if (Object.isExtensible(owner)) (new Owner(owner) as Owner).#value = value
      else closed.set(owner, value)
    }
  }
  return Owner
}
