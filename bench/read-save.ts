// Groups `read` and `save`: the same sessions in every system, at 1 to 1,024 concurrent callers.
import type { Contender } from './contenders.ts'
import { type Row, type Sample, summary } from './measure.ts'
import type { Operation } from './systems.ts'

export const concurrencies: readonly number[] = [1, 16, 128, 1024]

export interface Pace {
  readonly rounds: number
  readonly seconds: number
}

/** A B C D, A B C D …: what drifts on this machine hits everyone. The first round warms up and does not count. */
export async function measureOperation(
  contenders: readonly Contender[],
  operation: Operation,
  { rounds, seconds }: Pace,
): Promise<Row[]> {
  const rows: Row[] = []
  for (const callers of concurrencies) {
    const samples = new Map<string, Sample[]>()
    for (let round = 0; round <= rounds; round++) {
      for (const contender of contenders) {
        if (round === 0 && contender.isWarm) continue
        const sample = await contender.run(operation, callers, seconds)
        if (sample && round > 0) samples.set(contender.name, [...(samples.get(contender.name) ?? []), sample])
      }
    }
    for (const [name, all] of samples) rows.push(summary(operation, name, callers, all))
  }
  return rows
}
