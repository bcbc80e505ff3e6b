#!/bin/sh
# @opentelemetry/exporter-prometheus 0.223.0, @opentelemetry/sdk-metrics 2.12.1, Node 20.
#
# Expected: a histogram with the unit s is printed with the suffix _seconds, as OpenTelemetry's rules for Prometheus ask, and as its
# Collector does. A dashboard made for the one then fits the other.
# Seen: the name has no unit: db_client_operation_duration.
#
# Prints the metric's name as it is exported, and fails if it has the unit.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @opentelemetry/api@1.9.1 @opentelemetry/sdk-metrics@2.12.1 @opentelemetry/exporter-prometheus@0.223.0
cat > run.mjs <<'SCRIPT'
import prometheus from '@opentelemetry/exporter-prometheus'
import metrics from '@opentelemetry/sdk-metrics'

const exporter = new prometheus.PrometheusExporter({ preventServerStart: true })
const provider = new metrics.MeterProvider({ readers: [exporter] })
provider.getMeter('example').createHistogram('db.client.operation.duration', { unit: 's' }).record(0.25)
const { resourceMetrics } = await exporter.collect()
const text = new prometheus.PrometheusSerializer().serialize(resourceMetrics)
const [, name] = /# TYPE (\S*duration\S*) histogram/.exec(text) ?? []
console.log(name)
process.exitCode = name === 'db_client_operation_duration' ? 0 : 1
SCRIPT
node run.mjs
