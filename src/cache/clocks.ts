// Time as the cache sees it: two clocks, timers that keep no process alive, and the turns of the event loop.

export interface Clocks {
  /** Milliseconds that only ever grow; stands still while a machine sleeps. */
  monotonic(): number
  /** Milliseconds since the epoch; is set now and then, and knows of most sleeps. */
  wall(): number
  /** Calls back once, after so many milliseconds. Returns what cancels it. */
  after(ms: number, work: () => void): () => void
  /** Calls back again and again. Returns what ends it. */
  every(ms: number, work: () => void): () => void
  /** Calls back when the event loop has polled: everything that had arrived by then has been read. */
  polled(work: () => void): void
}

export const systemClocks: Clocks = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms).unref()
    return () => clearTimeout(timer)
  },
  every(ms, work) {
    const timer = setInterval(work, ms).unref()
    return () => clearInterval(timer)
  },
  polled: (work) => void setImmediate(work),
}
