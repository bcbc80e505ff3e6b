#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { cleanupStart, cleanupStatus, cleanupStop, cleanupWatch, purgeCommand, workerCommand } from './cli/cleanup.ts'
import { type Command, type Flags, print, UsageError } from './cli/command.ts'
import { grantCommand } from './cli/grant.ts'
import { migrateCommand, sqlCommand } from './cli/schema.ts'
import { PGStoreError } from './errors.ts'
import { schemaProblems } from './options.ts'

const commands: readonly Command[] = [
  migrateCommand,
  sqlCommand,
  grantCommand,
  workerCommand,
  cleanupStart,
  cleanupStop,
  cleanupStatus,
  cleanupWatch,
  purgeCommand,
]

/** Every option, those of some commands only too: the name of its value and what it does. */
const options: Readonly<
  Record<string, { readonly flag: keyof Flags; readonly value?: string; readonly help: string }>
> = {
  'database-url': { flag: 'databaseUrl', value: 'URL', help: "the database; default: the environment's DATABASE_URL" },
  schema: { flag: 'schema', value: 'NAME', help: 'the schema; default: pgstore' },
  every: {
    flag: 'every',
    value: 'TIME',
    help: "time between two runs: '30 seconds', '5 minutes' (the default), '1 day'",
  },
  as: { flag: 'as', value: 'RIGHT', help: 'client (the application), cleanup (the worker) or admin (all of it)' },
  print: { flag: 'print', help: 'print the SQL and connect to nothing' },
  json: { flag: 'json', help: 'print JSON' },
}

/** What every command takes. */
const common: readonly (keyof Flags)[] = ['databaseUrl', 'schema', 'json']

function usage(shown: readonly Command[]): string {
  const pad = (text: string, width: number) => text.padEnd(width)
  const flags = new Set([...common, ...shown.flatMap((command) => command.options ?? [])])
  const lines = Object.entries(options)
    .filter(([, { flag }]) => flags.has(flag))
    .map(([name, { value, help }]) => `  ${pad(`--${name}${value ? ` ${value}` : ''}`, 20)} ${help}`)
  return [
    'pgstore: HTTP sessions in Postgres',
    '',
    ...shown.map(({ name, argument, summary }) => {
      return `  pgstore ${pad(argument ? `${name} ${argument}` : name, 15)} ${summary}`
    }),
    '',
    ...lines,
    `  ${pad('--help', 20)} print this`,
    '',
    'Exit codes: 0 done, 1 failed, 2 used wrongly.',
  ].join('\n')
}

interface Parsed {
  readonly values: Readonly<Record<string, string | boolean | undefined>>
  readonly positionals: readonly string[]
}

function parse(args: readonly string[]): Parsed {
  const known = Object.fromEntries(
    Object.entries(options).map(([name, { value }]) => [name, { type: value ? 'string' : 'boolean' } as const]),
  )
  try {
    return parseArgs({
      args: [...args],
      options: { ...known, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function findCommand(words: readonly string[]): { command: Command; argument: string | undefined } {
  const command = commands.find(({ name }) => name === words.slice(0, name.split(' ').length).join(' '))
  if (!command) throw new UsageError(words.length > 0 ? `There is no command "${words.join(' ')}".` : 'Which command?')
  const rest = words.slice(command.name.split(' ').length)
  const argument = command.argument === undefined ? undefined : rest.shift()
  if (command.argument !== undefined && argument === undefined) {
    throw new UsageError(`Which ${command.argument}? "${command.name}" takes one.`)
  }
  if (rest[0] !== undefined) throw new UsageError(`"${command.name}" takes no argument "${rest[0]}".`)
  return { command, argument }
}

async function main(args: readonly string[]): Promise<number> {
  try {
    const { values, positionals } = parse(args)
    const begins = ({ name }: Command) => name.startsWith(positionals.join(' '))
    if (values['help']) {
      print(usage(commands.some(begins) ? commands.filter(begins) : commands))
      return 0
    }
    const { command, argument } = findCommand(positionals)
    for (const [name, { flag }] of Object.entries(options)) {
      if (values[name] !== undefined && ![...common, ...(command.options ?? [])].includes(flag)) {
        throw new UsageError(`"${command.name}" takes no option --${name}.`)
      }
    }
    const schema = (values['schema'] as string | undefined) ?? 'pgstore'
    for (const problem of schemaProblems(schema)) throw new UsageError(`${problem}.`)
    await command.run({
      databaseUrl: (values['database-url'] as string | undefined) ?? process.env['DATABASE_URL'],
      schema,
      every: values['every'] as string | undefined,
      argument,
      as: values['as'] as string | undefined,
      print: values['print'] === true,
      json: values['json'] === true,
    })
    return 0
  } catch (error) {
    return fail(error, args.includes('--json'))
  }
}

function fail(error: unknown, json: boolean): number {
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n\n${usage(commands)}\n`)
    return 2
  }
  const code = error instanceof PGStoreError ? error.code : 'failed'
  const message = error instanceof Error ? error.message : String(error)
  if (json) print(JSON.stringify({ error: code, message }))
  process.stderr.write(`${message}\n`)
  return code === 'invalid_option' ? 2 : 1
}

process.stdout.on('error', () => process.exit(0)) // the reader has left, as `head` does
process.exitCode = await main(process.argv.slice(2))
