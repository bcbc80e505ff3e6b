// Where the examples keep their sessions: at DATABASE_URL if that is set, else in a Postgres that ends with the example.
import { startPostgres } from '../scripts/postgres.ts'

export const databaseUrl: string = process.env['DATABASE_URL'] || (await startPostgres()).url()
