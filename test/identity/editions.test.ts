import { decodeJwt } from 'jose'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeId } from '../../server/id.ts'
import { openSqliteDesk } from '../../server/store/sqlite.ts'
import { ask, endSession, makeKey, type Asked, type CallerKey } from '../world/caller.ts'
import { startGitHub, type LocalGitHub, type TokenOptions } from '../world/github.ts'
import type { JobOptions } from '../world/job.ts'
import { createGrantRole, startWorld, type LocalWorld } from '../world/world.ts'

const CLOUD = 'https://token.actions.githubusercontent.com'
const ISSUERS = {
  github: CLOUD,
  ghec: `${CLOUD}/acme-inc`,
  eu: 'https://token.actions.acme.ghe.com',
  ghes: 'https://github.acme.internal/_services/token',
} as const

type Alias = keyof typeof ISSUERS
const ALIASES = Object.keys(ISSUERS) as Alias[]
const othersOf = (alias: Alias): Alias[] => ALIASES.filter((other) => other !== alias)

/** One of each; the enterprise's tokens come from github.com and are signed with its keys. */
type GitHubs = Readonly<Record<Exclude<Alias, 'ghec'>, LocalGitHub>>

let githubs: GitHubs
const folder = mkdtempSync(join(tmpdir(), 'tvm-editions-'))
const keyFile = join(folder, 'eu.json')

const saveKeys = async (): Promise<void> =>
  writeFileSync(keyFile, await (await fetch(githubs.eu.jwksUri)).text())

const AUDIENCE = 'https://risk.acme.internal'
const BLOCK = '{repository_owner_id: 8841, repository_id: 99120, repository: acme/payments}'
const TOKEN = `token: {audience: "${AUDIENCE}", scope: [risk:score:write]}`

const grant = (name: string, ...more: readonly string[]): string =>
  [`  ${name}:`, `    allow: ${BLOCK}`, ...more.map((line) => `    ${line}`), ''].join('\n')

const file = (issuer: string | null, ...grants: readonly string[]): string =>
  ['version: 1', ...(issuer === null ? [] : [`issuer: ${issuer}`]), 'grants:', ...grants].join('\n')

const POLICIES = {
  ...Object.fromEntries(
    ALIASES.map((alias) => [`${alias}.yaml`, file(alias, grant(`${alias}-score`, TOKEN))]),
  ),
  'unsaid.yaml': file(null, grant('unsaid-score', TOKEN)),
  'server.yaml': file(
    'ghes',
    grant('ghes-open', 'bearer: true', TOKEN),
    grant(
      'ghes-deploy',
      'session: 1h',
      'aws: {role: "arn:aws:iam::111122223333:role/tvm/ghes-deploy", region: eu-west-1}',
    ),
  ),
}

interface WorldDifference {
  readonly github?: object
  readonly ghes?: object
  readonly config?: Readonly<Record<string, unknown>>
}

const open = async ({ github, ghes, config }: WorldDifference = {}): Promise<LocalWorld> => {
  const opened = await startWorld({
    policies: POLICIES,
    config: {
      token_audiences: [AUDIENCE],
      limit_address: 1_000_000,
      issuers: {
        github: { dialect: 'github', jwks_uri: githubs.github.jwksUri, ...github },
        ghec: {
          dialect: 'github-enterprise-cloud',
          enterprise: 'acme-inc',
          jwks_uri: githubs.github.jwksUri,
        },
        eu: { dialect: 'github-data-residency', subdomain: 'acme', jwks_file: keyFile },
        ghes: {
          dialect: 'github-enterprise-server',
          host: 'github.acme.internal',
          jwks_uri: githubs.ghes.jwksUri,
          ...ghes,
        },
      },
      ...config,
    },
  })
  createGrantRole(opened.aws, 'ghes-deploy')
  return opened
}

let world: LocalWorld
beforeAll(async () => {
  const start = (alias: Alias) => startGitHub({ now: Date.now, issuer: ISSUERS[alias] })
  const [github, eu, ghes] = await Promise.all([start('github'), start('eu'), start('ghes')])
  githubs = { github, eu, ghes }
  await saveKeys()
  world = await open()
})
afterAll(async () => {
  await world.close()
  await Promise.all(Object.values(githubs).map((github) => github.close()))
  rmSync(folder, { recursive: true })
})

const gitHubOf = (alias: Alias): LocalGitHub => githubs[alias === 'ghec' ? 'github' : alias]

let runs = 4_000_000
/** A job that has equal numbers wherever it runs. */
const nextJob = (): JobOptions => {
  runs += 1
  return { runId: String(runs), runAttempt: '1', checkRunId: String(runs + 7) }
}

interface Call {
  readonly job?: JobOptions
  readonly key?: CallerKey
  readonly token?: TokenOptions
  readonly grants?: readonly string[]
  readonly at?: LocalWorld
}

/** A request of a job of that GitHub, for the grant of that GitHub, unless told otherwise. */
const call = async (alias: Alias, options: Call = {}): Promise<Asked> => {
  const { job = nextJob(), at = world, grants = [`${alias}-score`] } = options
  const key = options.key ?? (await makeKey())
  const github = gitHubOf(alias)
  const token = github.token(github.job(job), {
    audience: `${at.url}/jkt/${key.thumbprint}`,
    ...options.token,
    claims: { iss: ISSUERS[alias], ...options.token?.claims },
  })
  return ask(at, { key, token, grants })
}

const brief = ({ status, problem }: Asked): string =>
  status === 201 ? '201' : `${status} ${problem.code}`

const sessionOf = ({ reply }: Asked) => reply.sessions[0]!

const madeFor = (asked: Asked) => decodeJwt(sessionOf(asked).targets.token?.token ?? '')

describe.each(ALIASES)('a job of %s', (alias) => {
  test('gets the grant of its own issuer', async () => {
    const job = nextJob()
    const asked = await call(alias, { job })
    expect(brief(asked)).toBe('201')
    const sub = `job:${alias}/99120/${job.runId ?? ''}/1/${job.checkRunId ?? ''}`
    expect(madeFor(asked)).toMatchObject({ sub, issuer: alias, grant: `${alias}-score` })
  })

  test.each(othersOf(alias))('gets nothing of %s, for all its equal ids', async (other) => {
    expect(brief(await call(alias, { grants: [`${other}-score`] }))).toBe('403 grant_refused')
    const both = await call(alias, { grants: [`${alias}-score`, `${other}-score`] })
    expect(brief(both)).toBe('403 grant_refused')
  })

  test('gets nothing of a file that names no issuer while none is the default', async () => {
    expect(brief(await call(alias, { grants: ['unsaid-score'] }))).toBe('403 grant_refused')
    expect(world.log()).toMatch(/unsaid\.yaml:1:1: the file names no issuer/)
  })

  test.each(['immutable', 'legacy'] as const)(
    'may have a sub in the %s format',
    async (subject) => {
      expect(brief(await call(alias, { job: { ...nextJob(), subject } }))).toBe('201')
    },
  )

  test('is refused when its repository is in other hands', async () => {
    const moved = { repository: 'other/payments', ownerId: '777002', repositoryId: '99120' }
    expect(brief(await call(alias, { job: moved }))).toBe('403 owner_unknown')
    const renamed = { repository: 'acme/payments-next', repositoryId: '99120' }
    expect(brief(await call(alias, { job: renamed }))).toBe('403 grant_refused')
    const squatted = { repositoryId: '777001' }
    expect(brief(await call(alias, { job: squatted }))).toBe('403 grant_refused')
  })

  test('is refused without the claim that names it', async () => {
    const asked = await call(alias, { job: { ...nextJob(), checkRunId: null } })
    expect(brief(asked)).toBe('403 no_job_identity')
  })
})

describe('jobs that are equal but for their issuer', () => {
  test('are four jobs with four sessions, also with one key', async () => {
    const [job, key] = [nextJob(), await makeKey()]
    const asked = await Promise.all(ALIASES.map((alias) => call(alias, { job, key })))
    expect(asked.map(brief)).toEqual(ALIASES.map(() => '201'))
    expect(new Set(asked.map((each) => sessionOf(each).id)).size).toBe(4)
  })

  test('do not bind one another to a key', async () => {
    const job = nextJob()
    expect(brief(await call('github', { job }))).toBe('201')
    expect(brief(await call('github', { job }))).toBe('409 session_bound')
    for (const alias of othersOf('github')) expect(brief(await call(alias, { job }))).toBe('201')
  })

  test('cannot end one another’s session', async () => {
    const [job, key] = [nextJob(), await makeKey()]
    const [ours, theirs] = [await call('github', { job, key }), await call('ghes', { job, key })]
    const { id, token } = sessionOf(ours)
    expect(await endSession(world, sessionOf(theirs).id, token)).toBe(401)
    expect(await endSession(world, id, token)).toBe(204)
    // It was not ended with the other: the same key renews it.
    const renewed = await call('ghes', { job, key })
    expect([brief(renewed), sessionOf(renewed).id]).toEqual(['201', sessionOf(theirs).id])
  })

  test('may show equal jti, each once', async () => {
    const [job, jti] = [nextJob(), randomUUID()]
    const token = { claims: { jti } }
    for (const alias of ALIASES) {
      const key = await makeKey()
      expect(brief(await call(alias, { job, key, token }))).toBe('201')
      expect(brief(await call(alias, { job, key, token }))).toBe('409 token_replayed')
    }
  })
})

const withLock = async (subject: string, act: () => Promise<void>): Promise<void> => {
  const desk = await openSqliteDesk({ path: join(world.folder, 'data', 'tvm.db') })
  const now = Date.now()
  const id = makeId('lck', now, new Uint8Array(10))
  const lock = { id, subject, reason: 'a test', createdAt: now, expiresAt: null }
  const note = { lock: id, subject, by: 'local' } as const
  const added = { event: 'lock.added', reason: 'a test', ...note } as const
  const removed = { event: 'lock.removed', ...note } as const
  try {
    await desk.commit({ kind: 'lock', now, add: [lock], remove: [], body: added })
    await act()
  } finally {
    await desk.commit({ kind: 'lock', now, add: [], remove: [id], body: removed })
    await desk.close()
  }
}

describe('a lock stops jobs of the issuer that it names alone: the', () => {
  const job = nextJob()
  let key: CallerKey
  beforeAll(async () => {
    key = await makeKey()
  })

  test.each<[string, (alias: Alias) => string]>([
    ['issuer', (alias) => `issuer:${alias}`],
    ['owner', (alias) => `owner:${alias}:8841`],
    ['repository', (alias) => `repository:${alias}:99120`],
    ['actor', (alias) => `actor:${alias}:583231`],
    ['workflow', (alias) => `workflow:${alias}:acme/payments/.github/workflows/deploy.yml`],
    ['job', (alias) => `job:${alias}/99120/${job.runId ?? ''}/1/${job.checkRunId ?? ''}`],
    // The enterprise's tokens are signed with the very key of github.com.
    ['signing key', (alias) => `key:${alias}:${gitHubOf(alias).keys.current}`],
  ])('%s', async (_, subjectOf) => {
    for (const alias of ['github', 'ghes'] as const)
      await withLock(subjectOf(alias), async () => {
        expect(brief(await call(alias, { job, key }))).toBe('403 locked')
        for (const other of othersOf(alias))
          expect(brief(await call(other, { job, key }))).toBe('201')
      })
  })
})

describe('nobody speaks for an issuer that is not his', () => {
  const as = (alias: Alias, iss: string, header = {}) =>
    call(alias, { token: { claims: { iss }, header } })

  test('a server does not for github.com', async () => {
    expect(brief(await as('ghes', ISSUERS.github))).toBe('401 token_key_unknown')
  })

  test('a server does not for github.com under a key id of it', async () => {
    const { current: kid } = githubs.github.keys
    expect(brief(await as('ghes', ISSUERS.github, { kid }))).toBe('401 token_signature_invalid')
    expect(brief(await as('ghes', ISSUERS.ghec, { kid }))).toBe('401 token_signature_invalid')
  })

  test('github.com does not for a server, or for data residency', async () => {
    expect(brief(await as('github', ISSUERS.ghes))).toBe('401 token_key_unknown')
    expect(brief(await as('github', ISSUERS.eu))).toBe('401 token_key_unknown')
  })

  test.each([
    ...[`${CLOUD}/other-inc`, `${CLOUD}/acme-inc/`, `${CLOUD}/ACME-INC`, `${CLOUD}/acme-inc/x`],
    ...[`${CLOUD}/acme-inc?x`, `${CLOUD}//acme-inc`, `${CLOUD}/`, `${CLOUD}/x/../acme-inc`],
    ...['https://token.actions.other.ghe.com', 'https://token.actions.acme.ghe.com/acme'],
    ...['https://token.actions.acme.ghe.com.evil.example', 'https://acme.ghe.com'],
    ...[`${ISSUERS.ghes}/`, 'http://github.acme.internal/_services/token'],
    ...['https://github.acme.internal:443/_services/token', 'https://github.acme.internal'],
    ...['https://GITHUB.acme.internal/_services/token'],
  ])('%s is nobody', async (iss) => {
    expect(brief(await as('github', iss))).toBe('401 token_issuer_unknown')
    expect(brief(await as('ghes', iss))).toBe('401 token_issuer_unknown')
  })

  test('keys are asked for at the configured addresses, and discovery at none', async () => {
    for (const alias of ALIASES) expect(brief(await call(alias))).toBe('201')
    const { github, eu, ghes } = githubs
    expect([github, eu, ghes].map(({ requests }) => requests.discovery)).toEqual([0, 0, 0])
    // Once, by this test itself.
    expect(eu.requests.jwks).toBe(1)
    expect(github.requests.jwks).toBeGreaterThan(0)
    expect(ghes.requests.jwks).toBeGreaterThan(0)
  })
})

describe('with a default, a server that does not name its jobs, and low limits', () => {
  let other: LocalWorld
  beforeAll(async () => {
    other = await open({
      github: { default: true },
      ghes: { job_key: 'run' },
      config: { limit_repository: 30 },
    })
  })
  afterAll(() => other.close())

  test('a file that names no issuer speaks of the default alone', async () => {
    const unsaid = { grants: ['unsaid-score'], at: other }
    expect(brief(await call('github', unsaid))).toBe('201')
    expect(brief(await call('ghec', unsaid))).toBe('403 grant_refused')
    expect(brief(await call('ghes', unsaid))).toBe('403 grant_refused')
  })

  const unnamed = (): JobOptions => ({ ...nextJob(), checkRunId: null })

  test('the proved key stands for the job', async () => {
    const [job, key] = [unnamed(), await makeKey()]
    const asked = await call('ghes', { job, key, at: other })
    const sub = `job:ghes/99120/${job.runId ?? ''}/1/jkt:${key.thumbprint}`
    expect([brief(asked), madeFor(asked).sub]).toEqual(['201', sub])
  })

  test('AWS takes such a job too', async () => {
    const asked = await call('ghes', { job: unnamed(), grants: ['ghes-deploy'], at: other })
    expect(brief(asked)).toBe('201')
    expect(sessionOf(asked).targets.aws?.access_key_id).toMatch(/^ASIA/)
  })

  test('the same key goes on, and another key is another job', async () => {
    const [job, key] = [unnamed(), await makeKey()]
    const options = { job, key, grants: ['ghes-deploy'], at: other }
    const [first, second] = [await call('ghes', options), await call('ghes', options)]
    const third = await call('ghes', { ...options, key: await makeKey() })
    expect([first, second, third].map(brief)).toEqual(['201', '201', '201'])
    expect(sessionOf(second).id).toBe(sessionOf(first).id)
    expect(sessionOf(third).id).not.toBe(sessionOf(first).id)
  })

  test('without a proof nothing stands for the job, even where a bearer would do', async () => {
    const bearer = async (checkRunId: string | null) => {
      const job = githubs.ghes.job({ ...nextJob(), checkRunId })
      const token = githubs.ghes.token(job, { audience: other.url })
      return brief(
        await ask(other, { token, proof: null, scheme: 'Bearer', grants: ['ghes-open'] }),
      )
    }
    expect(await bearer(null)).toBe('403 no_job_identity')
    expect(await bearer('51725241954')).toBe('201')
  })

  test('it is no excuse for jobs of other issuers', async () => {
    for (const alias of othersOf('ghes'))
      expect(brief(await call(alias, { job: unnamed(), at: other }))).toBe('403 no_job_identity')
  })

  test('keys from a file are those of the file, until it is read anew', async () => {
    const { keys } = githubs.eu
    keys.use(await keys.add())
    expect(brief(await call('eu', { at: other }))).toBe('401 token_key_unknown')
    await saveKeys()
    expect(brief(await call('eu', { at: other }))).toBe('401 token_key_unknown')
    await other.restart()
    expect(brief(await call('eu', { at: other }))).toBe('201')
  })

  test('the limit of a repository is not that of its double', async () => {
    const statuses: number[] = []
    while (statuses.length < 90 && statuses.at(-1) !== 429)
      statuses.push((await call('github', { at: other })).status)
    expect(statuses.at(-1)).toBe(429)
    expect(brief(await call('ghec', { at: other }))).toBe('201')
    expect(brief(await call('ghes', { at: other }))).toBe('201')
  })
})
