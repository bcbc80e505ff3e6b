// Which tests run through a proxy, and which cannot.

/** `all` for `npm run cluster -- test`, `chosen` in CI, where they may take four minutes, `own` where they are asked for by name. */
export type Chosen = 'all' | 'chosen' | 'own'

/** All that has a part in what a proxy changes; each function, and the store over them; what only a proxy does. */
const files: Readonly<Record<Chosen, RegExp>> = {
  all: /^(adapters|cache|cleanup|cli|database|events|examples|security|session|sql|store|telemetry|through-proxy)\//,
  chosen:
    /^sql\/(session_(get|save|save_array|destroy|try_destroy|regenerate|list|revoke|increment|put|all)|concurrency)\.|^store\/limits\.|^through-proxy\//,
  own: /^through-proxy\//,
}

const transaction = "a call commits by itself on its partition: the test's own transaction has no part in it"
const statement = "it compares with the time of the test's own statement, which is not the partition's"
const catalog = 'what the catalog of one node holds is not on a proxy, whose own is tested in through-proxy'
const lock = 'a session that is locked through the proxy is free again when the call is over'
const limit = "a limit is each partition's"
const listening = 'the test leads the listening connection a way of its own, to one database, and here four announce'
const relayed =
  "the test listens in its own database, the proxy's, where what a partition announces comes later than the answer"
const counted = 'each partition counts for itself, and so what comes of two has no order'
const control =
  "the control plane: the tests hold the purge by triggers on the tables, and read reports about them, in their own database, the proxy's, which has none"
const migrates =
  'its programs migrate their database when they start, which a proxy refuses: that is done on each partition (through-proxy/ does)'
const seen = 'the test goes on when it sees, in the reports about its own database, that somebody waits for its lock'
const setting = "a setting of the test's connection is the proxy's, not the partition's"
const own = "it looks at one node's plans, pages, counters, functions or tables besides those of sessions"

/** Tests that cannot pass there, by file and a pattern of their names; `.` is the whole file. */
const reasons: readonly (readonly [file: RegExp, name: string, reason: string])[] = [
  [/^sql\/(plans|hot|session_stats)\./, '.', own],
  [/^events\/events\./, '^destroyed, regenerated and revoked', counted],
  [/^events\/events\./, '^(any number of loops|leaving a loop|payloads without|after an outage)', own],
  [/^events\/partitions\./, '.', 'it sets up partitions of its own in its database'],
  [/^events\/sleep\./, '^a store that nobody calls', own],
  [
    /^cache\/outages\./,
    '^(while the database is away|a listener that hears nothing more|what is cached is not served|a standby is refused)',
    listening,
  ],
  [
    /^cache\/servers\./,
    'that this server (revoked|limited)|swallows announcements|^when LISTEN is lost|^an answer that was on its way|^a listener whose server says nothing|share one connection|^an announcement that is not understood',
    listening,
  ],
  [/^cache\/store\./, '^in a transaction|read anew inside a transaction|^what ends in a transaction', transaction],
  [/^cleanup\//, '.', control],
  [/^cli\/(cleanup|dashboard|dashboard-browser|doctor|status)\./, '.', control],
  [/^examples\/(cleanup|demo|demo-browser)\./, '.', control],
  [/^examples\/(drivers|express|frameworks|history|integrations|pages|sveltekit)\./, '.', migrates],
  [/^examples\/psql\./, 'shows every step', control],
  [/^adapters\/storages\./, '^adonis: its session middleware', migrates],
  [/^adapters\/express\/own\./, '^A3: .*: nothing is sent before', seen],
  [/^cli\/import_pg_simple\./, '^an interrupted import', seen],
  [/^database\/pools\./, '^A1: a call that a stricter isolation', seen],
  [/^database\/pools\./, '^D3: in any language|^A8: ', setting],
  [/^database\/batcher\./, '^an error of one statement', setting],
  [/^database\/partition-errors\./, '^a (read|save) is repeated once', own],
  [/^sql\/session_enter\.|^store\/transaction\.|^security\/entry\./, '.', transaction],
  [
    /^store\/(store|values|cookies-as-data|several-cookies|durability)\./,
    'withClient saves|[Ii]n(side)? a transaction',
    transaction,
  ],
  [/^session\/seal\./, '^withClient', transaction],
  [/^store\/endings\./, '.', own],
  [/^sql\/session_bind\./, '^session_end_before', own],
  [/^security\/lifecycle\./, '^S24: |^S27: a session whose sign-in commits', transaction],
  [/^sql\/announcement_echo\./, '.', own],
  [/^sql\/session_end_before\./, '.', own],
  [/^security\/privileges\./, '^S30: every direct statement', own],
  [/^telemetry\/channels\./, '^a purge is told batch', limit],
  [
    /^sql\/catalog\./,
    '^every function (is|has)|^A7|costs no call|inlined|is commented|violated constraint|^B6|triggers|applying sql/ again|USAGE|needs no other right|no function takes an advisory lock',
    catalog,
  ],
  [/^sql\/session_get\./, 'at the instant that it expires', transaction],
  [/^sql\/count_expired\./, 'due until it is purged', statement],
  [/^sql\/session_regenerate\./, '^the expiry is reset to', statement],
  [/^sql\/session_save_expiry\./, 'is kept exactly|no longer than its lifetime$', statement],
  [/^sql\/value_lives\./, 'until its life is over', statement],
  [/^sql\/statement_time\./, '^A6: a regenerate in an old transaction', transaction],
  [/^store\/life\./, '^D7: where the database is read-only|^A6', transaction],
  [/^store\/life\./, '^seenAt moves', statement],
  [/^sql\/session_(put|take)\./, 'announced', relayed],
  [/^store\/sign-in\./, 'and events say which', counted],
  [/^sql\/endings_take\./, '^each consumer is given every ending', counted],
  [/^sql\/session_announce\./, 'rolled-back', transaction],
  [/^sql\/session_announce\./, 'under 8000 bytes', own],
  [/^sql\/session_history\./, 'rolled back|who did it|waits neither', transaction],
  [/^sql\/endings_take\./, 'no consumer the purge|status tells how many wait', own],
  [
    /^sql\/endings_take\./,
    'commits late|transaction|not added while|add one consumer at once|repeatable read|without a lease|killed',
    transaction,
  ],
  [/^sql\/purge_expired\./, 'takes the oldest|default batch', limit],
  [/^sql\/purge_expired\./, 'locked elsewhere|being renewed', lock],
  [/^sql\/session_all\./, 'batch by batch', limit],
  [
    /^sql\/concurrency\./,
    'that waits|at once both|would each fit alone|extends meanwhile|several saves at one version|end one session count|to one new key|trade their keys|locked elsewhere',
    lock,
  ],
  [/^sql\/races\./, 'A11: a destroy that waits|A11: a session_try_destroy during', lock],
]

/** Files that regenerate in SQL: there all keys share a first byte, or none could, as each pair that a client makes does. */
const ofOneByte =
  /^sql\/(session_(regenerate|save|announce|bind|take|history)|concurrency|races|value_lives|statement_time|catalog|purge_expired|plans)\.|^security\/leaks\./

/** The first byte of all keys that the file makes by `newKey`; undefined where they may differ. */
export function firstByte(file: string): number | undefined {
  return ofOneByte.test(file) ? Buffer.from(file).reduce((sum, byte) => sum + byte, 0) % 256 : undefined
}

export function runsThroughProxy(file: string, which: Chosen): boolean {
  return files[which].test(file) && !leftOut(file).some(([name]) => name === '.')
}

/** Patterns of names, and why they are left out. */
export function leftOut(file: string): [name: string, reason: string][] {
  return reasons.flatMap(([files, name, reason]) => (files.test(file) ? [[name, reason]] : []))
}
