// `npm run rooms`: the folders ("rooms") of src/, the sizes of their files, and which imports from which. `npm run check` fails
// if an arrow points upwards or a file is too long.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const source = fileURLToPath(new URL('../src', import.meta.url))

/** From top to bottom: each may import from those below it. Each file directly in src/ is its own room. */
const floors = [
  ['cli', 'adapters', 'memory', 'telemetry', 'index'],
  ['store'],
  ['user-store'],
  ['parts'],
  ['cached-reader'],
  ['reader', 'history'],
  ['saver', 'cleanup'],
  ['settings'],
  ['options'],
  ['bound'],
  ['session'],
  ['cache', 'schema'],
  ['cookie', 'database', 'events'],
  ['packages', 'tracing'],
  ['errors'],
]

/** Pairs that the floors would allow and the design does not: see docs/design.md. */
const forbidden = [
  'schema → cookie',
  'cleanup → session',
  'cleanup → cookie',
  'cleanup → options',
  'cleanup → settings',
]

const mostLines = 260

interface SourceFile {
  readonly name: string
  readonly room: string
  readonly lines: number
  readonly imports: readonly string[]
}

function roomOf(name: string): string {
  return (name.split('/')[0] ?? '').replace('.ts', '')
}

function sourceFiles(): SourceFile[] {
  const names = fs.readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  return names.sort().map((name) => {
    const text = fs.readFileSync(path.join(source, name), 'utf8')
    const specifiers = [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map(([, specifier = '']) => specifier)
    const imports = specifiers.map((specifier) => path.posix.join(path.posix.dirname(name), specifier))
    return { name, room: roomOf(name), lines: text.split('\n').length - 1, imports }
  })
}

/** What is wrong with the layout, one sentence each; prints the layout. */
export function roomProblems(print: (line: string) => void): string[] {
  const files = sourceFiles()
  const problems: string[] = []
  const floorOf = (room: string) => floors.findIndex((rooms) => rooms.includes(room))
  const arrows = new Map<string, number>()
  for (const { name, room, lines, imports } of files) {
    if (floorOf(room) < 0) problems.push(`${name} is in no room that scripts/rooms.ts knows`)
    if (lines > mostLines && !name.endsWith('.generated.ts')) {
      problems.push(`${name} has ${lines} lines; the most is ${mostLines}`)
    }
    for (const target of new Set(imports.map(roomOf))) {
      if (target === room) continue
      const arrow = `${room} → ${target}`
      arrows.set(arrow, (arrows.get(arrow) ?? 0) + 1)
      if (floorOf(target) <= floorOf(room) || forbidden.includes(arrow)) {
        problems.push(`${name} imports from ${target}: arrows point downwards only`)
      }
    }
  }
  problems.push(...circles(files))
  const written = files.filter(({ name }) => !name.endsWith('.generated.ts'))
  for (const rooms of floors) {
    for (const room of rooms) {
      const own = written.filter((file) => file.room === room)
      const sizes = own.map(({ lines }) => lines).sort((a, b) => b - a)
      const to = [...arrows.keys()]
        .filter((arrow) => arrow.startsWith(`${room} →`))
        .map((arrow) => arrow.split(' → ')[1])
      const total = sizes.reduce((sum, lines) => sum + lines, 0)
      print(
        `${room.padEnd(9)} ${String(own.length).padStart(3)} files ${String(total).padStart(5)} lines, largest ${sizes[0]} → ${to.join(' ')}`,
      )
    }
  }
  const all = written.map(({ lines }) => lines).sort((a, b) => a - b)
  print(`${written.length} files, median ${all[Math.floor(all.length / 2)]} lines, largest ${all.at(-1)}`)
  return problems
}

/** Circular imports, however many files are in between. */
function circles(files: readonly SourceFile[]): string[] {
  const imports = new Map(files.map((file) => [file.name, file.imports]))
  const found: string[] = []
  const done = new Set<string>()
  const visit = (name: string, trail: readonly string[]) => {
    if (trail.includes(name)) {
      found.push(`a circle: ${[...trail.slice(trail.indexOf(name)), name].join(' → ')}`)
      return
    }
    if (done.has(name)) return
    for (const target of imports.get(name) ?? []) visit(target, [...trail, name])
    done.add(name)
  }
  for (const { name } of files) visit(name, [])
  return found
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = roomProblems(console.log)
  for (const problem of problems) console.log(problem)
  process.exitCode = problems.length === 0 ? 0 : 1
}
