// Which of the waiting calls leave together.
import type { BatchLimits } from './batch-limits.ts'
import type { Transport } from './transport.ts'

/**
 * Takes the head of the queue and the calls that fit it, up to `most`. A call that does not fit is passed over and keeps its place,
 * and so do later calls of its key, which must not overtake it. Stopping at the first that does not fit would send two kinds that
 * alternate one by one.
 */
export function takeFitting<Item, Call extends { readonly item: Item; readonly key: string }>(
  queue: Call[],
  most: number,
  limits: Pick<BatchLimits, 'items' | 'bytes'>,
  { fit, sizeOf }: Pick<Transport<Item, unknown>, 'fit' | 'sizeOf'>,
): Call[] {
  const taken: Call[] = []
  const passed: Call[] = []
  const passedKeys = new Set<string>()
  const [first] = queue
  if (!first) return taken
  let bytes = 0
  let place = 0
  // No further than one call can carry: looking through thousands that do not fit would cost more than it gathers.
  for (const end = Math.min(queue.length, limits.items); place < end && taken.length < most; place++) {
    const call = queue[place] as Call
    if (place > 0 && (!fit(first.item, call.item) || passedKeys.has(call.key))) {
      passed.push(call)
      passedKeys.add(call.key)
      continue
    }
    bytes += sizeOf(call.item)
    if (place > 0 && bytes > limits.bytes) break
    taken.push(call)
  }
  queue.splice(0, place, ...passed)
  return taken
}
