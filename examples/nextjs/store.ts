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
  keyPairs: [randomBytes(32)], // yours lie with your other secrets, and outlive a restart
  options: { secure: false }, // this example speaks plain http; leave it out where you have https
})
