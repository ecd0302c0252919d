import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask, endSession, makeKey, type Asked } from '../world/caller.ts'
import { createGrantRole, DEPLOY_POLICY, ROOT, type LocalWorld } from '../world/world.ts'
import { startGate, type Gate } from './gate.ts'
import { openWorld } from './open.ts'

const AUDIENCE = 'https://risk.acme.internal'
const TOKEN = `    token: {audience: "${AUDIENCE}", scope: [risk:score:write]}
`
const POLICIES = {
  'deploy.yaml': DEPLOY_POLICY.replace('ttl: 10m', 'ttl: 10m\n    session: 1h'),
  'both.yaml': DEPLOY_POLICY.replaceAll('payments-deploy', 'payments-both') + TOKEN,
  'open.yaml':
    DEPLOY_POLICY.slice(0, DEPLOY_POLICY.indexOf('    aws:'))
      .replaceAll('payments-deploy', 'payments-open')
      .replace('    ttl: 10m', '    bearer: true\n    ttl: 10m') + TOKEN,
}

let gate: Gate
let world: LocalWorld
/** Every answer of the exchange, given or refused. */
let asked: readonly Asked[]
/** Answers of other endpoints to requests that had secrets where none belong. */
let elsewhere: readonly string[]

beforeAll(async () => {
  gate = await startGate()
  world = await openWorld({
    broker: 'process',
    policies: POLICIES,
    config: { aws_endpoint: gate.url, token_audiences: [AUDIENCE], log_level: 'debug' },
  })
  gate.open(world.aws.url)
  createGrantRole(world.aws, 'payments-both')
  asked = await exchanges()
  elsewhere = await misplaced(asked[0]!)
})
afterAll(async () => {
  await world.close()
  await gate.close()
})

const exchanges = async (): Promise<readonly Asked[]> => {
  const { github, aws } = world
  const production = () => github.job({ environment: 'production' })
  const key = await makeKey()
  const job = production()
  const bearer = { scheme: 'Bearer', proof: null, tokenOptions: { audience: world.url } }
  const all = [
    await ask(world, { job, key }),
    await ask(world, { job, key }),
    await ask(world, { job: production(), grants: ['payments-both'] }),
    await ask(world, { job: production(), grants: ['payments-open'], ...bearer }),
    await ask(world, { job }),
    await ask(world, { job: github.job({ environment: 'staging' }) }),
    await ask(world, { job: github.job({ repository: 'octo-org/octo-repo' }) }),
    await ask(world, { job: production(), ...bearer }),
    await ask(world, { job: production(), body: '{' }),
    await ask(world, { job: production(), tokenOptions: { shift: -3600 } }),
    await ask(world, { job: production(), tokenOptions: { key: 'wrong' } }),
    await ask(world, { job: production(), proofLie: { claims: { htm: 'GET' } } }),
    await ask(world, { job: production(), scheme: 'Basic' }),
  ]
  const [first] = all
  all.push(await ask(world, { job, key, token: first?.token ?? '', proof: first?.proof ?? '' }))
  // An AWS that repeats what it was sent, in its message.
  const [cloud = ''] = cloudTokens()
  const message = `${signatureOf(cloud)} of ${cloud} was not taken`
  aws.failNext({ kind: 'error', code: 'InvalidIdentityToken', message })
  all.push(await ask(world, { job: production(), grants: ['payments-both'] }))
  aws.failNext({ kind: 'body', body: message })
  all.push(await ask(world, { job: production() }))
  const { id, token } = all[1]!.reply.sessions[0]!
  await endSession(world, id, first?.reply.sessions[0]?.token ?? '')
  await endSession(world, id, token)
  return all
}

const misplaced = async ({ token, proof, reply }: Asked): Promise<readonly string[]> => {
  const session = reply.sessions[0]?.token ?? ''
  const answers = [
    fetch(`${world.url}/v1/sessions?token=${token}`, { method: 'POST', body: token }),
    fetch(`${world.url}/v1/sessions/${session}`, { method: 'DELETE' }),
    fetch(`${world.url}/${token}`, { headers: { Cookie: session, 'X-Forwarded-For': token } }),
    fetch(`${world.url}/v1/${proof ?? ''}`, { headers: { 'X-Forwarded-For': session } }),
    fetch(`${world.adminUrl}/${token}`, { headers: { Authorization: `Bearer ${session}` } }),
  ]
  return Promise.all(answers.map(async (answer) => (await answer).text()))
}

const cloudTokens = (): readonly string[] =>
  gate.bodies.map((body) => new URLSearchParams(body).get('WebIdentityToken') ?? '')

interface Canary {
  readonly what: string
  readonly value: string
}

const signatureOf = (jwt: string): string => jwt.slice(jwt.lastIndexOf('.') + 1)
const payloadOf = (jwt: string): string => jwt.split('.')[1] ?? ''

const jwtCanaries = (what: string, jwt: string): readonly Canary[] => [
  { what, value: jwt },
  { what: `signature of ${what}`, value: signatureOf(jwt) },
  { what: `a piece of the signature of ${what}`, value: signatureOf(jwt).slice(0, 64) },
  { what: `payload of ${what}`, value: payloadOf(jwt) },
  { what: `a piece of the payload of ${what}`, value: payloadOf(jwt).slice(0, 64) },
  { what: `${what} in base64`, value: Buffer.from(jwt).toString('base64') },
]

const shown = (): readonly Canary[] =>
  asked.flatMap(({ token, proof }, n) => [
    ...jwtCanaries(`ID token ${n}`, token),
    ...(proof === null ? [] : jwtCanaries(`proof ${n}`, proof)),
  ])

const handedOut = ({ status, reply }: Asked): readonly Canary[] =>
  status !== 201
    ? []
    : reply.sessions.flatMap(({ token, targets: { aws, token: access } }) => [
        { what: 'session token', value: token },
        ...(aws === undefined
          ? []
          : [
              { what: 'AWS secret key', value: aws.secret_access_key },
              { what: 'AWS session token', value: aws.session_token },
              { what: 'AWS key id', value: aws.access_key_id },
            ]),
        ...(access === undefined ? [] : jwtCanaries('access token', access.token)),
      ])

const keyFile = (name: string): Buffer => readFileSync(join(world.folder, 'data/keys', name))

const keys = (): readonly Canary[] => [
  ...['cloud.pem', 'tokens.pem'].flatMap((name) =>
    keyFile(name)
      .toString()
      .split('\n')
      .filter((line) => line.length > 40)
      .map((value, n) => ({ what: `line ${n} of ${name}`, value })),
  ),
  ...(['hex', 'base64', 'base64url', 'latin1'] as const).map((encoding) => ({
    what: `session.key in ${encoding}`,
    value: keyFile('session.key').toString(encoding),
  })),
]

const clouds = (): readonly Canary[] =>
  cloudTokens().flatMap((jwt) => jwtCanaries('cloud JWT', jwt))

/** The names of the canaries that `bytes` holds. */
const found = (bytes: Buffer | string, canaries: readonly Canary[]): readonly string[] => {
  const text = typeof bytes === 'string' ? bytes : bytes.toString('latin1')
  return canaries.filter(({ value }) => text.includes(value)).map(({ what }) => what)
}

const all = (): readonly Canary[] => [
  ...shown(),
  ...asked.flatMap(handedOut),
  ...keys(),
  ...clouds(),
]

const run = promisify(execFile)
const command = async (...args: string[]): Promise<string> => {
  const main = join(ROOT, 'server/main.ts')
  const { stdout, stderr } = await run(
    process.execPath,
    [main, ...args, '--config', world.configFile],
    { env: { PATH: process.env['PATH'] }, maxBuffer: 64 * 1024 * 1024 },
  )
  return stdout + stderr
}

describe('the canaries', () => {
  test('are many, long and different ones', () => {
    expect(asked.filter(({ status }) => status === 201)).toHaveLength(4)
    expect(new Set(asked.map(({ status }) => status))).toEqual(
      new Set([201, 400, 401, 403, 409, 502]),
    )
    expect(new Set(cloudTokens()).size).toBeGreaterThanOrEqual(5)
    expect(all().filter(({ value }) => value.length < 16)).toEqual([])
    expect(new Set(all().map(({ value }) => value)).size).toBeGreaterThan(150)
  })

  test('are found where they are', () => {
    for (const answer of asked.filter(({ status }) => status === 201))
      expect(found(answer.text, handedOut(answer))).toContain('session token')
    expect(found(keyFile('cloud.pem'), keys()).length).toBeGreaterThan(10)
    expect(found(keyFile('session.key'), keys())).toEqual(['session.key in latin1'])
  })
})

describe('no secret is in', () => {
  const places: Readonly<Record<string, () => Promise<Buffer | string> | Buffer | string>> = {
    'what the broker wrote to stdout and stderr': () => world.log(),
    'its metrics': async () => (await fetch(`${world.adminUrl}/metrics`)).text(),
    readyz: async () => (await fetch(`${world.adminUrl}/readyz`)).text(),
    'the export of the audit': () => command('audit', 'list', '--format', 'json'),
    'the table of the audit': () => command('audit', 'list'),
    'the report on the chain': () => command('audit', 'verify', '--format', 'json'),
    'the refusals': () =>
      asked
        .filter(({ status }) => status !== 201)
        .map(({ text, headers }) => text + JSON.stringify([...headers]))
        .join('\n'),
    'the answers to those who put secrets elsewhere': () => elsewhere.join('\n'),
    'what it publishes': async () => {
      const paths = ['', '/tokens'].flatMap((base) =>
        ['openid-configuration', 'jwks.json'].map((name) => `${base}/.well-known/${name}`),
      )
      const texts = paths.map(async (path) => (await fetch(world.url + path)).text())
      return (await Promise.all(texts)).join('\n')
    },
  }

  test.each(Object.entries(places))('%s', async (_, read) => {
    const bytes = await read()
    expect(bytes.length).toBeGreaterThan(50)
    expect(found(bytes, all())).toEqual([])
  })

  test('the files of the database, with its journal', () => {
    const folder = join(world.folder, 'data')
    const files = readdirSync(folder).filter((name) => name.startsWith('tvm.db'))
    expect(files).toEqual(expect.arrayContaining(['tvm.db', 'tvm.db-wal']))
    for (const name of files)
      expect([name, found(readFileSync(join(folder, name)), all())]).toEqual([name, []])
  })
})

describe('credentials are in the one answer that owns them', () => {
  test('and it holds nobody else’s, nor what the job showed, nor the broker’s own', () => {
    for (const answer of asked) {
      const others = asked
        .filter((other) => other !== answer)
        .flatMap(handedOut)
        // Two access tokens begin alike.
        .filter(({ what }) => what !== 'a piece of the payload of access token')
      expect(found(answer.text, [...others, ...shown(), ...keys(), ...clouds()])).toEqual([])
    }
  })

  test('which nobody may keep', () => {
    for (const { status, headers } of asked)
      expect([status, headers.get('cache-control')]).toEqual([status, 'no-store'])
  })
})
