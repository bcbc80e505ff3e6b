// `npm run api`: writes docs/api.md from the doc comments that the compiler keeps in dist/*.d.ts.
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..')
const page = path.join(root, 'docs/api.md')

interface Declaration {
  /** Its comment, without the stars. */
  readonly comment: string
  readonly code: string
}

/** The text of docs/api.md for what is in dist. */
export function apiPage(): string {
  const { name, exports } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    name: string
    exports: Record<string, string | { types: string }>
  }
  const sections = Object.entries(exports).flatMap(([entry, target]) => {
    if (typeof target === 'string') return []
    const found = exported(path.join(root, target.types))
    return [`## ${path.posix.join(name, entry)}`, ...found.map(([symbol, one]) => section(symbol, one))]
  })
  const head = '# API reference\n\nWritten by `npm run api` from the comments in the source: change those, never this.'
  return `${[head, ...sections].join('\n\n')}\n`
}

function section(symbol: string, { comment, code }: Declaration): string {
  return [`### ${symbol}`, comment, `\`\`\`ts\n${code}\n\`\`\``].filter(Boolean).join('\n\n')
}

/** What a module exports or re-exports, by name, with the classes that those extend. */
function exported(file: string): [string, Declaration][] {
  const found = [...declarations(file)].filter(([, { code }]) => code.startsWith('export '))
  const passedOn = /^export (?:type )?\{([^}]*)\} from '(\.[^']+)\.ts';$/gm
  for (const [, names = '', module = ''] of fs.readFileSync(file, 'utf8').matchAll(passedOn)) {
    const from = path.join(path.dirname(file), `${module}.d.ts`)
    const passed = names.split(',').map((name) => name.replace('type ', '').trim())
    for (const name of passed.filter(Boolean)) found.push(...withBase(from, name)) // the list may end in a comma
  }
  return found.map(([name, { comment, code }]) => [name, { comment, code: code.replace(/^export (declare )?/, '') }])
}

function withBase(file: string, name: string): [string, Declaration][] {
  const declaration = declarations(file).get(name)
  if (!declaration) throw new Error(`${file} does not declare ${name}.`)
  const [, base] = /^export declare class .* extends (\w+) \{$/m.exec(declaration.code) ?? []
  const importOfBase = new RegExp(`^import \\{[^}]*\\b${base}\\b[^}]*\\} from '(\\.[^']+)\\.ts';$`, 'm')
  const [, module] = (base && importOfBase.exec(fs.readFileSync(file, 'utf8'))) || []
  if (!base || !module) return [[name, declaration]]
  return [[name, declaration], ...withBase(path.join(path.dirname(file), `${module}.d.ts`), base)]
}

/** The declarations at the top level of a declaration file. */
function declarations(file: string): Map<string, Declaration> {
  const text = fs.readFileSync(file, 'utf8')
  const found = new Map<string, Declaration>()
  const pattern =
    /^(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?((?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const) (\w+)[\s\S]*?(?:;|^\}|\{\n?\}))$(?=\n(?:\/\*\*|export|declare|interface|type|$)|$(?![\s\S]))/gm
  for (const [, comment = '', code = '', name = ''] of text.matchAll(pattern)) {
    found.set(name, {
      comment: comment
        .split('\n')
        .map((line) => line.replace(/^ ?\* ?/, '').trimEnd())
        .join('\n')
        .trim(),
      code: code
        .replaceAll(/^ {4}#private;\n/gm, '')
        .replaceAll(/^( {4})+/gm, (indent) => ' '.repeat(indent.length / 2)),
    })
  }
  return found
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  fs.writeFileSync(page, apiPage())
  console.log(`docs/api.md: ${apiPage().split('\n').length} lines.`)
}
