// Ratios of pairs: their geometric mean, and its 95 % confidence interval.

export interface Interval {
  readonly ratio: number
  readonly from: number
  readonly to: number
}

/** Student's t at 97.5 %, for 1 to 30 degrees of freedom; with more, the last is a little too wide. */
const t = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11,
  2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048, 2.045, 2.042,
]

/** By the t distribution over the ratios' logarithms: twice as fast and half as fast carry the same weight. */
export function intervalOf(ratios: readonly number[]): Interval {
  const logs = ratios.map(Math.log)
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length
  const degrees = logs.length - 1
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / degrees
  const half = (t[Math.min(degrees, t.length) - 1] ?? Number.NaN) * Math.sqrt(variance / logs.length)
  return { ratio: Math.exp(mean), from: Math.exp(mean - half), to: Math.exp(mean + half) }
}
