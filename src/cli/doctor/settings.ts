// Settings of the server, and of the application's role, that decide whether sessions are safe, fast and out of the log.
import type pg from 'pg'
import { type Finding, quoted, warning, wrong } from './finding.ts'
import type { ApplicationRole, SettingScope } from './roles.ts'
import type { Situation } from './situation.ts'

/** The settings as they are for one role. */
export class RoleSettings {
  readonly role: string
  readonly #server: ReadonlyMap<string, string>
  readonly #database: string
  readonly #own = new Map<string, { readonly scope: SettingScope; readonly value: string }>()

  /** @param server what holds where nothing is set for the role */
  constructor(role: Pick<ApplicationRole, 'name' | 'settings'>, server: ReadonlyMap<string, string>, database: string) {
    this.role = role.name
    this.#server = server
    this.#database = database
    for (const { scope, setting } of role.settings) {
      const at = setting.indexOf('=')
      this.#own.set(setting.slice(0, at).toLowerCase(), { scope, value: setting.slice(at + 1) })
    }
  }

  text(name: string): string | undefined {
    return this.#own.get(name)?.value ?? this.#server.get(name)
  }

  isOn(name: string): boolean {
    return /^(on|t|true|y|yes|1)$/i.test(this.text(name) ?? '')
  }

  number(name: string): number {
    return Number.parseFloat(this.text(name) ?? '0')
  }

  /** A time, in milliseconds; 0 for none. */
  ms(name: string): number {
    const [, digits = '0', unit = 'ms'] = /^\s*(-?[\d.]+)\s*(us|ms|s|min|h|d)?\s*$/.exec(this.text(name) ?? '') ?? []
    const factors: Record<string, number> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }
    return Number(digits) * (factors[unit] ?? 1)
  }

  /** The statement that sets it, where it is stronger than what is set now. */
  set(name: string, value: string): string {
    const where = this.#own.get(name)?.scope === 'role in database' ? ` in database ${quoted(this.#database)}` : ''
    return `alter role ${quoted(this.role)}${where} set ${name} = ${value};`
  }
}

interface Rule {
  readonly id: string
  readonly make: typeof wrong
  readonly isSo: (settings: RoleSettings) => boolean
  readonly says: (role: string) => string
  /** What to set, in this order. */
  readonly mend: readonly (readonly [name: string, value: string])[]
}

/** Statements, or a sample of them, are logged with their parameters. */
function logsStatements(settings: RoleSettings): boolean {
  return (
    settings.text('log_statement') === 'all' ||
    settings.ms('log_min_duration_statement') >= 0 ||
    settings.ms('log_min_duration_sample') >= 0 ||
    settings.number('log_transaction_sample_rate') > 0
  )
}

/** What the client waits for a call: the server should give up sooner. */
const patienceMs = 5000

const limits = { statement_timeout: '3s', lock_timeout: '1s', idle_in_transaction_session_timeout: '5s' }

const rules: readonly Rule[] = [
  {
    id: 'parameters_logged',
    make: warning,
    isSo: (settings) => logsStatements(settings) && settings.number('log_parameter_max_length') !== 0,
    says: (role) => `The server logs statements of role ${role} with their parameters: session data stands in its log.`,
    mend: [['log_parameter_max_length', '0']],
  },
  {
    id: 'parameters_logged_on_error',
    make: warning,
    isSo: (settings) => settings.number('log_parameter_max_length_on_error') !== 0,
    says: (role) =>
      `The server logs the parameters of statements of role ${role} that fail: session data stands in its log.`,
    mend: [['log_parameter_max_length_on_error', '0']],
  },
  {
    id: 'plans_logged',
    make: warning,
    isSo: (settings) =>
      settings.text('auto_explain.log_min_duration') !== undefined &&
      settings.ms('auto_explain.log_min_duration') >= 0 &&
      (settings.isOn('auto_explain.log_verbose') ||
        (settings.text('auto_explain.log_parameter_max_length') ?? '-1') !== '0'),
    says: (role) =>
      `auto_explain logs plans of role ${role} with parameters or arguments: session data stands in the log.`,
    mend: [
      ['auto_explain.log_parameter_max_length', '0'],
      ['auto_explain.log_verbose', 'off'],
    ],
  },
  {
    id: 'read_only',
    make: wrong,
    isSo: (settings) => settings.isOn('default_transaction_read_only'),
    says: (role) => `Role ${role} is read-only by default: no session can be saved, ended or purged.`,
    mend: [['default_transaction_read_only', 'off']],
  },
  {
    id: 'isolation',
    make: warning,
    isSo: (settings) => settings.text('default_transaction_isolation') !== 'read committed',
    says: (role) =>
      `Role ${role} works under a stricter isolation than Postgres's default: concurrent saves of one session fail and are sent again.`,
    mend: [['default_transaction_isolation', "'read committed'"]],
  },
  {
    id: 'asynchronous_commit',
    make: warning,
    isSo: (settings) =>
      !['on', 'remote_apply', 'remote_write', 'local'].includes(settings.text('synchronous_commit') ?? ''),
    says: (role) =>
      `Commits of role ${role} do not wait for the disk: a crash can bring back a session that was signed out just before. To save faster, use durability: 'relaxed'.`,
    mend: [['synchronous_commit', 'on']],
  },
  {
    id: 'statement_timeout_short',
    make: wrong,
    isSo: (settings) => settings.ms('statement_timeout') > 0 && settings.ms('statement_timeout') < 100,
    says: (role) =>
      `Statements of role ${role} are cut off in less than a tenth of a second: on a busy server calls fail with "timeout".`,
    mend: [['statement_timeout', "'3s'"]],
  },
  {
    id: 'plans',
    make: warning,
    isSo: (settings) => ['enable_tidscan', 'enable_indexscan'].some((name) => !settings.isOn(name)),
    says: (role) =>
      `Role ${role} has scans switched off that pgstore's plans need: calls read far more than they should.`,
    mend: [
      ['enable_tidscan', 'on'],
      ['enable_indexscan', 'on'],
    ],
  },
  {
    id: 'jit',
    make: warning,
    isSo: (settings) =>
      settings.isOn('jit') && settings.number('jit_above_cost') >= 0 && settings.number('jit_above_cost') < 10_000,
    says: (role) => `Postgres compiles cheap statements of role ${role} before it runs them, which can take a second.`,
    mend: [['jit', 'off']],
  },
]

/** Does not set limits on an owner, who also migrates. */
export function settingFindings(settings: RoleSettings, isOwner: boolean): Finding[] {
  const found = rules
    .filter(({ isSo }) => isSo(settings))
    .map(({ id, make, says, mend }) =>
      make(id, says(settings.role), mend.map(([name, value]) => settings.set(name, value)).join(' ')),
    )
  const open = Object.keys(limits).filter((name) => settings.ms(name) === 0 || settings.ms(name) > patienceMs)
  if (open.length > 0 && !isOwner) {
    const says = `Role ${settings.role} has no limit below 5 s for ${open.join(', ')}: the server goes on working after the client has given up.`
    const mend = open.map((name) => settings.set(name, `'${limits[name as keyof typeof limits]}'`))
    found.push(warning('no_time_limit', says, mend.join(' ')))
  }
  return found
}

/** Those of the whole server. */
export function serverFindings(server: ReadonlyMap<string, string>, version: number): Finding[] {
  const found: Finding[] = []
  const setOn = (name: string) => `alter system set ${name} = on; select pg_reload_conf();`
  for (const name of ['fsync', 'full_page_writes'].filter((each) => server.get(each) === 'off')) {
    const says = `The server runs with ${name} = off: a crash can destroy the database, not only lose the last sessions.`
    found.push(wrong(`${name}_off`, says, setOn(name)))
  }
  for (const name of ['autovacuum', 'track_counts'].filter((each) => server.get(each) === 'off')) {
    const says = `The server runs with ${name} = off: nothing vacuums the tables, which grow and get slower.`
    found.push(wrong(`${name}_off`, says, setOn(name)))
  }
  if (version < 140000)
    found.push(wrong('server_version', 'This PostgreSQL is older than 14, which pgstore needs. Upgrade the server.'))
  const [used, max] = [Number(server.get('connections used')), Number(server.get('max_connections'))]
  if (used > 0.8 * max) {
    const says = `${used} of the server's ${max} connections are in use: soon it refuses new ones. Make the pools smaller (each store opens up to 10), or put a pooler in front.`
    found.push(warning('connections_scarce', says))
  }
  if (Number(server.get('notification queue')) > 0.5) {
    const says = `The queue of notifications is more than half full; when it is full, sessions cannot be ended. Some connection listens, and has not left its transaction for long: see pg_stat_activity.xact_start.`
    found.push(warning('notification_queue', says))
  }
  return found
}

/** What the connected role sees, without what is set for it alone: other roles have their own. */
export async function serverSettings(
  { pool, role }: Pick<Situation, 'pool' | 'role'>,
  of: string,
): Promise<Map<string, string>> {
  const { rows } = await (pool as pg.Pool).query<{ name: string; value: string }>(
    `select s.name,
       case when s.source in ('user', 'database user', 'client', 'session') and not $1 then s.boot_val else current_setting(s.name) end as value
     from pg_catalog.pg_settings as s
     union all
     select 'connections used', sum(d.numbackends)::text from pg_catalog.pg_stat_database as d
     union all
     select 'notification queue', pg_notification_queue_usage()::text`,
    [role === of],
  )
  return new Map(rows.map(({ name, value }) => [name, value]))
}
