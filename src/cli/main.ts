#!/usr/bin/env node
import fs from 'node:fs'
import { parseArgs } from 'node:util'
import { messageOf, PGStoreError } from '../errors.ts'
import { schemaProblems } from '../schema/schema-name.ts'
import { type Command, type Flags, print, Unfinished, UsageError } from './command.ts'
import { commands } from './commands.ts'
import { pgstoreCommand } from './doctor/finding.ts'

/** All options, including those of single commands: the name of the value and what the option does. */
const options: Readonly<
  Record<string, { readonly flag: keyof Flags; readonly value?: string; readonly help: string }>
> = {
  'database-url': {
    flag: 'databaseUrl',
    value: 'URL',
    help: 'the database; default: the environment variable DATABASE_URL, or PGHOST, PGDATABASE, …',
  },
  schema: { flag: 'schema', value: 'NAME', help: 'the schema; default: pgstore' },
  every: {
    flag: 'every',
    value: 'TIME',
    help: "time between two runs: '30 seconds', '5 minutes' (the default), '1 day'",
  },
  keep: { flag: 'keep', value: 'TIME', help: "how long the history is kept; default: as it was, '90 days' at first" },
  from: { flag: 'from', value: 'URL', help: 'the old store, or its folder; default: the same database' },
  table: { flag: 'table', value: 'NAME', help: "the old store's table, or schema.table" },
  preset: { flag: 'preset', value: 'STORE', help: 'the old store, whose table and columns are known' },
  id: { flag: 'id', value: 'NAME', help: "the column with the sessions' ids" },
  data: { flag: 'data', value: 'NAME', help: 'the column with their data as JSON' },
  expires: { flag: 'expires', value: 'NAME', help: 'the column with their expiry' },
  ttl: { flag: 'ttl', value: 'SECONDS', help: "the old store's option ttl; default: 3600" },
  prefix: { flag: 'prefix', value: 'TEXT', help: "prefix of the old store's keys; default: sess:" },
  name: { flag: 'name', value: 'NAME', help: "the name of the Go program's sessions and cookie" },
  keys: { flag: 'keys', value: 'FILE', help: "the file with the Go program's keys; default: PGSTORE_IMPORT_KEYS" },
  'user-key': {
    flag: 'userKey',
    value: 'PATH',
    help: "path to the user's id in a session's data, such as passport.user",
  },
  'max-length': { flag: 'maxLength', value: 'BYTES', help: 'skip larger sessions; default: 0, no limit' },
  lifetime: {
    flag: 'lifetime',
    value: 'SECONDS',
    help: 'longest remaining life of a session; default: 7776000 (90 days); 0: no limit',
  },
  'worker-schema': {
    flag: 'workerSchema',
    value: 'NAME',
    help: "graphile-worker's schema; default: graphile_worker",
  },
  'dry-run': { flag: 'dryRun', help: 'report what would be done, without doing it' },
  as: {
    flag: 'as',
    value: 'RIGHTS',
    help: 'client, entry, account, cleanup, admin or proxy, or several: client,account',
  },
  role: { flag: 'role', value: 'ROLE', help: "the application's role; default: those with the right client" },
  print: { flag: 'print', help: 'print the SQL without connecting to a database' },
  port: { flag: 'port', value: 'NUMBER', help: 'the port on 127.0.0.1; default: a free one' },
  'show-data': { flag: 'showData', help: "show the sessions' data too" },
  engine: { flag: 'engine', value: 'ENGINE', help: 'plproxy: the functions of a proxy in front of partitions' },
  partitions: { flag: 'partitions', value: 'NUMBER', help: 'how many partitions: 1, 2, 4, … 256' },
  before: { flag: 'before', value: 'TIME', help: 'a time with its zone; default: now' },
  tag: { flag: 'tag', value: 'TAG', help: 'only the sessions that carry this tag' },
  user: { flag: 'user', value: 'ID', help: 'only the sessions of this user' },
  json: { flag: 'json', help: 'print JSON' },
}

/** Options of every command. */
const common: readonly (keyof Flags)[] = ['databaseUrl', 'schema', 'json']

function usage(shown: readonly Command[]): string {
  const pad = (text: string, width: number) => text.padEnd(width)
  const width = Math.max(15, ...shown.map(({ name }) => name.length + 1))
  const isOverview = shown.length === commands.length
  const flags = new Set([...common, ...(isOverview ? [] : shown.flatMap((command) => command.options ?? []))])
  const lines = Object.entries(options)
    .filter(([, { flag }]) => flags.has(flag))
    .map(([name, { value, help }]) => `  ${pad(`--${name}${value ? ` ${value}` : ''}`, 20)} ${help}`)
  return [
    'pgstore: HTTP sessions in Postgres',
    '',
    ...shown.map(({ name, argument, summary }) => {
      return `  pgstore ${pad(argument ? `${name} ${argument}` : name, width)} ${summary}`
    }),
    '',
    ...(shown.length === 1 && shown[0]?.details ? [shown[0].details, ''] : []),
    ...lines,
    ...(isOverview ? [`  ${pad('--version', 20)} print the version of this package`] : []),
    `  ${pad('--help', 20)} print this${isOverview ? '; after a command, its description and options' : ''}`,
    '',
    'Exit codes: 0 success, 1 failure, 2 usage error.',
  ].join('\n')
}

function version(): string {
  const file = new URL('../../package.json', import.meta.url)
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version
}

interface Parsed {
  readonly values: Readonly<Record<string, string | boolean | undefined>>
  readonly positionals: readonly string[]
}

function parse(args: readonly string[]): Parsed {
  const known = Object.fromEntries(
    Object.entries(options).map(([name, { value }]) => [name, { type: value ? 'string' : 'boolean' } as const]),
  )
  const given = new Set<string>()
  try {
    const { tokens, ...parsed } = parseArgs({
      args: [...args],
      options: { ...known, help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } },
      allowPositionals: true,
      tokens: true,
    })
    for (const token of tokens as readonly { kind: string; name?: string; rawName?: string; value?: string }[]) {
      if (token.kind !== 'option' || token.name === undefined) continue
      // The last one would count, and what the others name be left alone, as by end-all --tag a --tag b.
      if (given.has(token.name) && token.value !== undefined) throw new Error(`Give ${token.rawName} once.`)
      given.add(token.name)
    }
    return parsed
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function findCommand(words: readonly string[]): { command: Command; argument: string | undefined } {
  const command = commands.find(({ name }) => name === words.slice(0, name.split(' ').length).join(' '))
  if (!command) throw new UsageError(words.length > 0 ? `Unknown command "${words.join(' ')}".` : 'No command given.')
  const rest = words.slice(command.name.split(' ').length)
  const argument = command.argument === undefined ? undefined : rest.shift()
  if (command.argument !== undefined && argument === undefined) {
    throw new UsageError(`"${command.name}" needs a ${command.argument}.`)
  }
  if (rest[0] !== undefined) throw new UsageError(`"${command.name}": unexpected argument "${rest[0]}".`)
  return { command, argument }
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(args)
    if (values['version']) {
      print(version())
      return 0
    }
    const isHelp = positionals[0] === 'help'
    const words = isHelp ? positionals.slice(1) : positionals
    if (isHelp || values['help']) {
      const begins = ({ name }: Command) => name.startsWith(words.join(' '))
      print(usage(commands.some(begins) ? commands.filter(begins) : commands))
      return 0
    }
    const { command, argument } = findCommand(words)
    for (const [name, { flag }] of Object.entries(options)) {
      if (values[name] !== undefined && ![...common, ...(command.options ?? [])].includes(flag)) {
        throw new UsageError(`"${command.name}" has no option --${name}.`)
      }
    }
    const schema = (values['schema'] as string | undefined) ?? 'pgstore'
    for (const problem of schemaProblems(schema)) throw new UsageError(`${problem}.`)
    await command.run({
      databaseUrl: (values['database-url'] as string | undefined) ?? process.env['DATABASE_URL'],
      schema,
      workerSchema: values['worker-schema'] as string | undefined,
      every: values['every'] as string | undefined,
      keep: values['keep'] as string | undefined,
      argument,
      as: values['as'] as string | undefined,
      role: values['role'] as string | undefined,
      print: values['print'] === true,
      json: values['json'] === true,
      from: values['from'] as string | undefined,
      table: values['table'] as string | undefined,
      preset: values['preset'] as string | undefined,
      id: values['id'] as string | undefined,
      data: values['data'] as string | undefined,
      expires: values['expires'] as string | undefined,
      ttl: values['ttl'] as string | undefined,
      prefix: values['prefix'] as string | undefined,
      name: values['name'] as string | undefined,
      keys: values['keys'] as string | undefined,
      userKey: values['user-key'] as string | undefined,
      maxLength: values['max-length'] as string | undefined,
      lifetime: values['lifetime'] as string | undefined,
      dryRun: values['dry-run'] === true,
      port: values['port'] as string | undefined,
      showData: values['show-data'] === true,
      engine: values['engine'] as string | undefined,
      partitions: values['partitions'] as string | undefined,
      before: values['before'] as string | undefined,
      tag: values['tag'] as string | undefined,
      user: values['user'] as string | undefined,
    })
    return 0
  } catch (error) {
    return fail(error, args)
  }
}

function fail(error: unknown, args: readonly string[]): number {
  if (error instanceof Unfinished) return 1
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n\n${usage(commands)}\n`)
    return 2
  }
  const code = error instanceof PGStoreError ? error.code : 'failed'
  const message = explained(code, messageOf(error), args)
  if (args.includes('--json')) print(JSON.stringify({ error: code, message }))
  process.stderr.write(`${message}\n`)
  return code === 'invalid_option' ? 2 : 1
}

/** What an error says to somebody who typed a command: not which of our functions failed, but what to do. */
function explained(code: string, message: string, args: readonly string[]): string {
  const { values, positionals } = parse(args)
  const command = commands.find(({ name }) => name === positionals.slice(0, name.split(' ').length).join(' '))
  const schema = (values['schema'] as string | undefined) ?? 'pgstore'
  if (code === 'not_installed') {
    return `pgstore is not installed in schema ${schema} of this database, or an older version is: run "${pgstoreCommand('migrate', schema)}", or name another schema with --schema.`
  }
  if (code === 'forbidden' && command?.right !== undefined && /permission denied/.test(message)) {
    return `This role may not do that in schema ${schema}: as the owner of the schema, run "${pgstoreCommand(`grant ROLE --as ${command.right}`, schema)}".`
  }
  // The name of the function that was called, before what the server or the connection says.
  return message.replace(/^[a-z]+(_[a-z]+)+: /, '')
}

process.stdout.on('error', () => process.exit(0)) // the reader has gone, as `head` does
process.exitCode = await main(process.argv.slice(2))
