// Numbers, sizes and times as people read them.

export function count(value: number): string {
  return value.toLocaleString('en-US')
}

/** An estimate to three digits. */
export function about(value: number, isEstimate: boolean): string {
  return isEstimate && value > 0 ? `about ${count(Number(value.toPrecision(3)))}` : count(value)
}

export function size(bytes: number): string {
  const units = ['kB', 'MB', 'GB', 'TB']
  let [value, unit] = [bytes / 1024, 0]
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1024
  return `${value.toLocaleString('en-US', { maximumSignificantDigits: 3 })} ${units[unit]}`
}

export function percent(part: number, whole: number): string {
  return `${Math.floor((100 * part) / whole)} %`
}

export function duration(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds.toLocaleString('en-US', { maximumFractionDigits: 1 })} s`
  const parts = [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const
  const [unit, length] = parts.find(([, each]) => seconds >= each) ?? ['min', 60]
  return `${count(Math.floor(seconds / length))} ${unit}`
}

/** `3 min ago`, `in 2 d`. */
export function distance(at: number, now: number): string {
  const away = Math.abs(at - now)
  if (away < 1000) return 'now'
  const text = duration(Math.round(away / 1000) * 1000)
  return at < now ? `${text} ago` : `in ${text}`
}

/** `2026-11-28 16:05:09`, in the browser's time zone. */
export function stamp(at: number): string {
  const date = new Date(at)
  const two = (number: number) => String(number).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${clock(at)}`
}

export function clock(at: number): string {
  const date = new Date(at)
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
}
