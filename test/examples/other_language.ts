// What every example in another language must do: read the session that Node saved, and change it beside Node.
import { randomBytes } from 'node:crypto'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { codecsFromPairs, type Session } from '../../src/index.ts'
import { databaseUrl, sql, testStore, Visitor } from '../support/harness.ts'

export interface Program {
  /** Whether it can decrypt a cookie. */
  readonly decrypts: boolean
  run(args: readonly string[], env: NodeJS.ProcessEnv): { status: number | null; stdout: string; stderr: string }
}

interface Values {
  theme?: string
  visits?: number
  [seenBy: string]: unknown
}

type KeyPairs = readonly (Buffer | null)[]

/**
 * Registers the tests; the program, which sets `seenBy…` with its language in the session, is there once they run.
 */
export function testProgram(language: string, program: () => Program, isInstalled: boolean): void {
  // oxlint-disable-next-line typescript/unbound-method -- uvu's functions use no this
  const testIt = isInstalled ? test : test.skip
  const signed: KeyPairs = [randomBytes(32), null]
  const encrypted: KeyPairs = [randomBytes(64), randomBytes(32)]

  function run(cookie: string, keys: KeyPairs, name = 'sid'): ReturnType<Program['run']> {
    const words = keys.map((key) => key?.toString('hex') ?? '-').join(' ')
    const url = new URL(databaseUrl)
    if (!url.searchParams.has('sslmode')) url.searchParams.set('sslmode', 'disable')
    return program().run([name, cookie], { ...process.env, DATABASE_URL: url.href, PGSTORE_KEYS: words })
  }

  async function visitorOf(keyPairs: KeyPairs): Promise<{ visitor: Visitor; cookie: string }> {
    const visitor = new Visitor()
    await visitor.visit<Values>(testStore<Values>({ keyPairs }), (session) => {
      session.values.theme = 'dark'
      session.userId = 'reese'
    })
    return { visitor, cookie: visitor.jar.get('sid') ?? '' }
  }

  testIt(`${language} reads the session that Node saved, changes another value, and Node sees both`, async () => {
    const { visitor, cookie } = await visitorOf(signed)
    const store = testStore<Values>({ keyPairs: signed })
    let open: Session<Values> | undefined
    await visitor.visit<Values>(store, (session) => {
      open = session
      session.values.visits = 1 // loaded before the other program saves, saved after it
      const { stdout, stderr, status } = run(cookie, signed)
      assert.equal({ status, stderr }, { status: 0, stderr: '' })
      const answer: { found: Record<string, unknown>; status: string } = JSON.parse(stdout)
      assert.is(answer.status, 'saved')
      assert.equal(answer.found['data'], { theme: 'dark' })
      assert.equal(
        [String(answer.found['id']), answer.found['userId'], answer.found['version']],
        [session.id, 'reese', 1],
      )
    })
    assert.ok(open)
    await visitor.visit<Values>(store, (session) => {
      assert.equal(session.values, { theme: 'dark', visits: 1, [`seenBy${language}`]: true })
    })
  })

  testIt(`${language} reads a cookie that an older key signed, and an encrypted one where it can`, async () => {
    const { cookie } = await visitorOf(signed)
    assert.is(run(cookie, [...encrypted, ...signed]).status, 0)
    if (!program().decrypts) {
      console.log(`Not tried: ${language} has no AES here.`)
      return
    }
    const other = await visitorOf(encrypted)
    assert.is(run(other.cookie, [randomBytes(32), randomBytes(16), ...encrypted]).status, 0)
  })

  testIt(`${language} refuses what is altered, signed otherwise, for another name, or too old`, async () => {
    const { cookie } = await visitorOf(signed)
    const old = Buffer.from(cookie, 'base64url')
    old[0] = '0'.charCodeAt(0)
    const altered = cookie.replace(/.(?=.{60}$)/, (letter) => (letter === 'A' ? 'B' : 'A'))
    const [unsealed] = codecsFromPairs(randomBytes(32))
    const refused = [
      run(altered, signed),
      run(cookie.slice(0, -1), signed),
      run(old.toString('base64url'), signed),
      run('', signed),
      run('|||', signed),
      run(unsealed?.encode('sid', 'x'.repeat(43)) ?? '', signed),
      run(cookie, signed, 'other'),
      run(cookie, [randomBytes(32), null]),
    ]
    for (const { status, stderr, stdout } of refused) {
      assert.equal({ status, stdout }, { status: 1, stdout: '' })
      assert.match(stderr, /^no session/)
    }
    assert.is(run(cookie, signed).status, 0)
    const [codec] = codecsFromPairs(...signed)
    const realNow = Date.now
    Date.now = () => realNow() - 31 * 86400 * 1000
    const expired = codec?.encode('sid', 'x'.repeat(43)) ?? ''
    Date.now = realNow
    assert.match(run(expired, signed).stderr, /^no session/)
  })

  testIt(`${language} finds no session that was ended`, async () => {
    const { cookie } = await visitorOf(signed)
    assert.is(run(cookie, signed).status, 0)
    await sql('delete from pgstore.sessions')
    const { status, stderr } = run(cookie, signed)
    assert.is(status, 1)
    assert.match(stderr, /^no session/)
    assert.equal(await sql('select count(*) from pgstore.sessions'), [{ count: '0' }])
  })
}
