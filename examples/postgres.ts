// Where the examples keep their sessions: at DATABASE_URL, or without one in a Postgres that ends with the example.
import { startPostgres } from '../scripts/postgres.ts'

export const databaseUrl: string = process.env['DATABASE_URL'] || (await startPostgres()).url()
