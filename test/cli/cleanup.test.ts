// `pgstore cleanup start|stop|status|watch`, `purge` and `worker`, as processes.
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { addExpired, connections, countSessions, startOver, terminate } from '../support/crowd.ts'
import { closeAll, row, sql, until } from '../support/harness.ts'
import { endPrograms, type Program, pgstore, soon } from '../support/program.ts'
import { startProxy } from '../support/proxy.ts'

test.before.each(startOver)
test.after.each(endPrograms)
test.after(closeAll)

interface Outcome {
  readonly code: number | null
  readonly output: string
  readonly errors: string
}

async function outcome(...args: string[]): Promise<Outcome> {
  const program = pgstore(...args)
  const { code } = await program.ended
  return { code, output: program.output.trimEnd(), errors: program.errors }
}

/** Its one line of JSON. */
async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { code, output, errors } = await outcome(...args, '--json')
  assert.equal({ code, errors }, { code: 0, errors: '' })
  return JSON.parse(output)
}

async function watching(...args: string[]): Promise<Program> {
  const program = pgstore('cleanup', 'watch', ...args)
  await program.line(/status/)
  return program
}

// The schedule

test('start, status and stop describe the state in a sentence or two', async () => {
  const started = await outcome('cleanup', 'start', '--every', '10 minutes')
  assert.equal(started, {
    code: 0,
    output: 'The purge runs every 00:10:00. No worker has been seen yet: run "npx pgstore worker".',
    errors: '',
  })
  await addExpired(1234)
  const status = await outcome('cleanup', 'status')
  assert.match(
    status.output,
    /^On, every 00:10:00\. No worker has been seen yet.*\nNext run: 20.*Z\.\nAll runs: 0 purged\.\n/,
  )
  assert.match(status.output, /\nExpired sessions: 1,234 waiting to be purged\.$/)
  assert.equal(await outcome('cleanup', 'stop'), { code: 0, output: 'The purge is off.', errors: '' })
  assert.match(
    (await outcome('cleanup', 'status')).output,
    /^Off: expired sessions are not deleted until it is started\./,
  )
})

test('with --json they print the columns of the SQL functions', async () => {
  const nothing = { worker_seen_at: null, last_run_at: null, last_purged: null, last_ms: null, last_error: null }
  const { next_run_at, ...started } = await json('cleanup', 'start')
  assert.equal(started, { enabled: true, every: '00:05:00', total_purged: 0, ...nothing })
  assert.match(String(next_run_at), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  await addExpired(2)
  assert.equal(await json('cleanup', 'status'), { ...started, next_run_at, expired: 2 })
  assert.equal(await json('cleanup', 'stop'), { ...started, enabled: false, next_run_at: null })
})

test('the status shows a failure of the last run', async () => {
  await sql(`select pgstore.cleanup_end_run(5, 1500, '57014')`)
  assert.match((await outcome('cleanup', 'status')).output, /Last run: .*, failed with 57014 in 1\.5 s\./)
  assert.is((await json('cleanup', 'status'))['last_error'], '57014')
})

test('an invalid or too short interval is a usage error: exit code 2, and nothing changes', async () => {
  for (const every of ['often', '1 ms', '2 years']) {
    const { code, output, errors } = await outcome('cleanup', 'start', '--every', every)
    assert.equal({ code, output }, { code: 2, output: '' })
    assert.match(errors, /^every must be an interval/)
  }
  assert.not((await row('select enabled from pgstore.cleanup'))['enabled'])
})

test('other usage errors print the usage: exit code 2', async () => {
  for (const args of [['cleanup'], ['cleanup', 'begin'], ['purge', 'all'], ['cleanup', 'stop', '--every', '1 day']]) {
    const { code, errors } = await outcome(...args)
    assert.is(code, 2, args.join(' '))
    assert.match(errors, /Exit codes: 0 success, 1 failure, 2 usage error/)
  }
})

test('--help of cleanup names its four commands', async () => {
  const { code, output } = await outcome('cleanup', '--help')
  assert.is(code, 0)
  for (const name of ['start', 'stop', 'status', 'watch']) assert.match(output, `pgstore cleanup ${name}`)
  assert.match(output, '--every TIME')
})

test('without a database every command fails with the reason: exit code 1', async () => {
  for (const command of ['cleanup start', 'cleanup status', 'cleanup watch', 'purge', 'worker']) {
    const url = 'postgres://nobody:secret@127.0.0.1:1/none'
    const { code, output, errors } = await outcome(...command.split(' '), '--database-url', url)
    assert.equal([command, code, output], [command, 1, ''])
    assert.match(errors, 'ECONNREFUSED')
    assert.not.match(errors, 'secret')
  }
})

test('if the schema is missing, the message says how to install it, and --json gives the error’s code', async () => {
  for (const command of ['cleanup watch', 'worker']) {
    const { code, output, errors } = await outcome(...command.split(' '), '--schema', 'absent', '--json')
    assert.equal([command, code, JSON.parse(output).error], [command, 1, 'not_installed'])
    assert.match(errors, 'npx pgstore migrate')
  }
})

// Watching

test('watch prints a line per event, as it happens, and ends with 0 on a signal', async () => {
  const watch = await watching()
  assert.match(watch.lines[0] ?? '', /^20\S+Z status: Off: .*All runs: 0 purged\.$/)
  await sql(`select pgstore.cleanup_start('90 s')`)
  await watch.line(/^20\S+Z started: every 90 s$/)
  await sql('select pgstore.cleanup_end_run(1234, 56)')
  await watch.line(/^20\S+Z purged: 1,234 sessions in 56 ms, 0 left$/)
  await sql(`select pgstore.cleanup_end_run(1, 2500, '57014')`)
  await watch.line(/^20\S+Z failed: 57014, after 1 sessions in 2.5 s$/)
  await sql('select pgstore.cleanup_stop()')
  await watch.line(/^20\S+Z stopped$/)
  const { code, signal, ms } = await watch.end('SIGINT')
  assert.equal({ code, signal }, { code: 0, signal: null })
  assert.ok(ms < soon, `${ms} ms`)
})

test('watch --json prints an object per line', async () => {
  const watch = await watching('--json')
  await sql(`select pgstore.cleanup_start('90 s')`)
  await sql('select pgstore.cleanup_end_run(3, 4)')
  await sql(`select pgstore.cleanup_end_run(0, 4, '57014')`)
  await sql('select pgstore.cleanup_stop()')
  await watch.line(/stopped/)
  const [status, ...events] = watch.lines.map((line) => JSON.parse(line))
  assert.equal([status.type, status.enabled, status.total_purged], ['status', false, 0])
  assert.equal(events, [
    { type: 'started', every_ms: 90_000 },
    { type: 'purged', purged: 3, ms: 4, remaining: 0 },
    { type: 'failed', code: '57014', purged: 0, ms: 4, remaining: 0 },
    { type: 'stopped' },
  ])
})

test('watch continues after its connection was lost, with the state at that time', async () => {
  const watch = await watching('--json')
  await terminate('pgstore listen', 'pgstore command')
  await until(() => watch.lines.length >= 2)
  assert.is(JSON.parse(watch.lines[1] ?? '').type, 'status')
  await sql('select pgstore.cleanup_stop()')
  await watch.line(/stopped/)
  assert.is((await watch.end()).code, 0)
})

test('watch ends silently when its reader leaves', async () => {
  const watch = await watching()
  watch.leave()
  await until(async () => {
    await sql('select pgstore.cleanup_stop()') // something to print
    return !watch.isRunning
  })
  assert.equal([(await watch.ended).code, watch.errors], [0, ''])
})

// Purging now

test('purge drains all there is and says how many', async () => {
  await addExpired(2345)
  const { code, output } = await outcome('purge')
  assert.is(code, 0)
  assert.match(output, /^Purged 2,345 sessions in [\d.]+ m?s\.$/m) // on a slow machine after lines of progress
  const { purged, ms } = await json('purge')
  assert.equal([purged, typeof ms, await countSessions()], [0, 'number', { due: 0, live: 0 }])
})

test('purge off a terminal prints plain lines, and no control characters', async () => {
  await addExpired(1001)
  const { output } = await outcome('purge')
  assert.match(output, /^[ -~\n]+$/)
})

// The worker

test('worker runs until it is stopped: exit code 0, no connection and no locked job left', async () => {
  await addExpired(10)
  const worker = pgstore('worker')
  await worker.line(/^The worker is waiting/)
  await sql(`select pgstore.cleanup_start('1 hour')`)
  await worker.line(/^Purged 10 sessions in \d+ ms\.$/)
  const { code, signal, ms } = await worker.end()
  assert.equal({ code, signal }, { code: 0, signal: null })
  assert.ok(ms < soon, `${ms} ms`)
  assert.equal([worker.lines.at(-1), worker.errors], ['The worker has ended.', ''])
  await until(async () => (await connections('pgstore worker')) + (await connections('pgstore listen')) === 0)
  assert.equal(await sql('select from graphile_worker.jobs where locked_at is not null'), [])
})

test('worker --json prints an object per line', async () => {
  const worker = pgstore('worker', '--json')
  await worker.line(/waiting/)
  await worker.end()
  assert.equal(
    worker.lines.map((line) => JSON.parse(line).level),
    ['info', 'info'],
  )
})

test('a worker that is stopped while it is starting ends', async () => {
  const proxy = await startProxy()
  proxy.isSilent = true
  const worker = pgstore('worker', '--database-url', proxy.url)
  await until(() => proxy.accepted > 0)
  const { code, ms } = await worker.end()
  await proxy.close()
  assert.equal([code, /timeout/.test(worker.errors)], [1, true])
  assert.ok(ms < soon, `${ms} ms`)
})

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  test(`worker ends with 0 on ${signal}, twice too`, async () => {
    const worker = pgstore('worker')
    await worker.line(/waiting/)
    worker.signal(signal)
    const ending = await worker.end(signal)
    assert.equal([ending.code, ending.signal], [0, null])
  })
}

test.run()
