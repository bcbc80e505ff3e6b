import { randomBytes } from 'node:crypto'
import { PGStore } from 'pgstore'
import { databaseUrl } from '../postgres.ts'

interface Visit {
  visits?: number
  theme?: string
  language?: string
}

export const store: PGStore<Visit> = await PGStore.open<Visit>({
  connectionString: databaseUrl,
  keys: [randomBytes(32)], // a real site keeps its key across restarts: npx pgstore key
  options: { secure: false }, // this example uses plain http; leave this out on HTTPS
})
