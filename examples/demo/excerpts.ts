// The code that the page shows: cut out of the files that run, between `// #region NAME` and `// #endregion`.
import fs from 'node:fs'

const files = ['sign-in.ts', 'cart.ts', 'slow.ts', 'live.ts', 'purge.ts', 'counts.ts']

export interface Excerpt {
  readonly file: string
  readonly code: string
}

function readExcerpts(): Map<string, Excerpt> {
  const found = new Map<string, Excerpt>()
  for (const file of files) {
    const text = fs.readFileSync(new URL(file, import.meta.url), 'utf8')
    for (const [, indent = '', name = '', code = ''] of text.matchAll(
      /^( *)\/\/ #region (\S+)\n([\s\S]*?)^ *\/\/ #endregion$/gm,
    )) {
      found.set(name, { file, code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), '').trimEnd() })
    }
  }
  return found
}

const excerpts = readExcerpts()

export function excerpt(name: string): Excerpt {
  const found = excerpts.get(name)
  if (!found) throw new Error(`No file of the demo has a region ${name}.`)
  return found
}
