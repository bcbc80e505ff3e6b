// Groups `read` and `save`: the same sessions in every system, at 1 to 1,024 concurrent callers.

import { type Row, type Sample, summary } from '../measure.ts'
import type { Contender } from '../systems/contenders.ts'
import type { Operation } from '../systems/systems.ts'

export const concurrencies: readonly number[] = [1, 16, 128, 1024]

export interface Pace {
  readonly rounds: number
  readonly seconds: number
}

/**
 * With one caller, into how many parts a round is cut: the two processes wake each other, and the processors that the
 * system gives them change a call's time by half, for seconds at a time.
 */
const cuts = 5

/** A B C D, A B C D …: drift on this machine affects all alike. The first rounds warm up and do not count. */
export async function measureOperation(
  contenders: readonly Contender[],
  operation: Operation,
  { rounds, seconds }: Pace,
  each: readonly number[] = concurrencies,
): Promise<Row[]> {
  const rows: Row[] = []
  // Compiled, as it is in a server that has run for more than a second: a single caller takes long to get there.
  for (const contender of contenders) if (!contender.isWarm) await contender.run(operation, 128, seconds)
  for (const callers of each) {
    const samples = new Map<string, Sample[]>()
    const times = callers === 1 ? cuts : 1
    for (let round = 0; round <= rounds * times; round++) {
      for (const contender of contenders) {
        if (contender.isWarm && (round === 0 || round % times > 0)) continue
        // The others take longer than the cache keeps a session: each round would start with an empty one.
        if (operation === 'read') await contender.warm?.()
        const sample = await contender.run(operation, callers, seconds / times)
        if (sample && round > 0) samples.set(contender.name, [...(samples.get(contender.name) ?? []), sample])
      }
    }
    for (const [name, all] of samples) rows.push(summary(operation, name, callers, all))
  }
  return rows
}
