// Astro's sessions: what `session.driver` in astro.config takes.
import type { PGStoreDriverOptions } from './unstorage.ts'

/** What Astro writes into the built site, so that it must be JSON. */
export type AstroSessionOptions = Pick<
  PGStoreDriverOptions,
  'base' | 'ttl' | 'maxLength' | 'lifetime' | 'schema' | 'migrate'
>

/**
 * A driver object for Astro's sessions. The connection comes from DATABASE_URL when the server runs, and is no part of the build.
 * Sessions live 30 days after their last change, at most 65,536 bytes each, unless the options say otherwise.
 */
export function pgstoreSessions(options: AstroSessionOptions = {}): {
  readonly entrypoint: string
  readonly config: AstroSessionOptions
} {
  return { entrypoint: 'pgstore/unstorage', config: { base: 'astro', ttl: 30 * 86400, maxLength: 65_536, ...options } }
}
