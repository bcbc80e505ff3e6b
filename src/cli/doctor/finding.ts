// What a finding is, and how one is written down.

/** Something that `pgstore doctor` found. */
export interface Finding {
  /** A stable name for programs, such as `worker_unseen`. */
  readonly id: string
  /** `wrong`: something does not work, or does not protect what it should. `warning`: it works, and could be better. */
  readonly level: 'wrong' | 'warning'
  /** What was found and what follows from it, in a sentence or two. */
  readonly says: string
  /** What mends it: a command for the shell, or SQL, which ends with a semicolon; null if there is no single one. */
  readonly mend: string | null
}

export function wrong(id: string, says: string, mend: string | null = null): Finding {
  return { id, level: 'wrong', says, mend }
}

export function warning(id: string, says: string, mend: string | null = null): Finding {
  return { id, level: 'warning', says, mend }
}

/** As one text, for people. */
export function sentences({ says, mend }: Finding): string {
  if (mend === null) return says
  return isSql(mend) ? `${says} Run in psql: ${mend}` : `${says} Run "${mend}".`
}

export function isSql(mend: string): boolean {
  return mend.endsWith(';')
}

/** A command of ours for this schema, as the advice of a finding. */
export function pgstoreCommand(words: string, schema: string): string {
  return `npx pgstore ${words}${schema === 'pgstore' ? '' : ` --schema ${schema}`}`
}

/** A name as SQL takes it; reserved words are quoted too often rather than too seldom. */
export function quoted(name: string): string {
  return /^[a-z_]+_[a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}

/** `one`, `one and two`, `one, two and three`. */
export function listed(names: readonly string[]): string {
  const last = names.at(-1) ?? ''
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} and ${last}`
}

export function count(value: number): string {
  return value.toLocaleString('en-US')
}

export function percent(share: number): string {
  return `${Math.floor(share * 100)} %`
}

const megabyte = 1024 * 1024

export function size(bytes: number): string {
  if (bytes < megabyte) return `${count(Math.ceil(bytes / 1024))} kB`
  const digits = { maximumFractionDigits: bytes < 100 * megabyte ? 1 : 0 }
  return `${(bytes / megabyte).toLocaleString('en-US', digits)} MB`
}
