// The metrics in a registry of prom-client, under the names that Prometheus gives to those of pgstore/opentelemetry.
import { Counter, Gauge, Histogram, type Registry, register } from 'prom-client'
import { type Attributes, type Measure, measures, startMeasuring } from './measures.ts'
import { gauges, type Reading, Standing, type WatchOptions } from './standing.ts'

export type { WatchOptions } from './standing.ts'

export interface CollectOptions {
  /** Default: prom-client's global registry. */
  readonly registry?: Registry | undefined
  /** A database whose sessions and cleanup are shown as well: in one process of a fleet. Default: none. */
  readonly watch?: WatchOptions | undefined
}

/** All that a metric may be labelled with, which prom-client wants to know beforehand. */
const labels = [
  'db_system_name',
  'db_namespace',
  'db_collection_name',
  'db_operation_name',
  'db_response_status_code',
  'error_type',
  'pgstore_status',
  'pgstore_cache_outcome',
  'pgstore_cache_reason',
  'pgstore_cookie_reason',
]

/**
 * Registers metrics of what all stores and workers of this process do, until the returned function is called, which also takes them
 * out of the registry. Their names are those that Prometheus gives to the metrics of `pgstore/opentelemetry`; docs/operations.md
 * lists them.
 *
 * @throws {PGStoreError} `invalid_option`
 */
export function collect({ registry = register, watch }: CollectOptions = {}): () => void {
  const standing = watch && new Standing(watch)
  const stop = startMeasuring((measure) => {
    const { description: help, bounds } = measure
    const configuration = { name: prometheusName(measure), help, labelNames: labels, registers: [registry] }
    if (!bounds) {
      const counter = new Counter({ ...configuration, name: `${configuration.name}_total` })
      return (value, attributes) => counter.inc(labelled(attributes), value)
    }
    const histogram = new Histogram({ ...configuration, buckets: [...bounds] })
    return (value, attributes) => histogram.observe(labelled(attributes), value)
  })
  const names = Object.values<Measure>(measures).map(
    (measure) => prometheusName(measure) + (measure.bounds ? '' : '_total'),
  )
  if (standing) {
    for (const [key, measure] of Object.entries(gauges)) {
      const { description: help } = measure
      const name = prometheusName(measure)
      names.push(name)
      new Gauge({
        name,
        help,
        labelNames: ['db_namespace'],
        registers: [registry],
        async collect() {
          const value = (await standing.read())[key as keyof Reading]
          if (value === undefined) this.reset()
          else this.set({ db_namespace: standing.schema }, value)
        },
      })
    }
  }
  return () => {
    stop()
    for (const name of names.splice(0)) registry.removeSingleMetric(name)
  }
}

const suffixes: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' }

function prometheusName({ name, unit }: Measure): string {
  return name.replaceAll('.', '_') + (suffixes[unit] ?? '')
}

function labelled(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name.replaceAll('.', '_'), value]))
}
