import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { verifyChain } from '../../server/audit/verify.ts'
import type { Lock } from '../../server/session/store.ts'
import type { Fault } from '../world/aws/index.ts'
import { ask, endSession, makeKey, type Asked, type CallerKey } from '../world/caller.ts'
import type { Job } from '../world/job.ts'
import { createGrantRole, type LocalWorld, type WorldOptions } from '../world/world.ts'
import { startGate, type Gate } from './gate.ts'
import { openWorld } from './open.ts'
import { addLock, databaseOf, eventsOf, records, sessionRow } from './records.ts'

const AUDIENCE = 'https://risk.acme.internal'
const PAYMENTS = `
    allow:
      repository_owner_id: 8841
      repository_id: 99120
      repository: acme/payments
      ref: refs/heads/main
      environment: production
      event_name: [push, workflow_dispatch]`
const INFRA = `
    allow:
      repository_owner_id: 8841
      repository_id: 99121
      repository: acme/infra`
const aws = (grant: string) => `
    aws: {role: "arn:aws:iam::111122223333:role/tvm/${grant}", region: eu-west-1}`
const TOKEN = `
    token: {audience: "${AUDIENCE}", scope: [risk:score:write]}`

const POLICIES = {
  'grants.yaml': `version: 1
grants:
  payments-deploy:${PAYMENTS}
    ttl: 10m
    session: 1h${aws('payments-deploy')}
  payments-both:${PAYMENTS}
    ttl: 10m${aws('payments-both')}${TOKEN}
  payments-score:${PAYMENTS}${TOKEN}
  payments-open:${PAYMENTS}
    bearer: true${TOKEN}
  payments-closed:${PAYMENTS}
    deny: {actor_id: [4242, 777001]}${TOKEN}
  infra-deploy:${INFRA}${aws('infra-deploy')}
`,
}

const options = (config: Readonly<Record<string, unknown>> = {}): WorldOptions => ({
  policies: POLICIES,
  config: { token_audiences: [AUDIENCE], limit_address: 1_000_000, ...config },
})

const open = async (config: Readonly<Record<string, unknown>> = {}): Promise<LocalWorld> => {
  const world = await openWorld(options(config))
  createGrantRole(world.aws, 'payments-both')
  return world
}

let world: LocalWorld
beforeAll(async () => {
  world = await open()
})
afterAll(() => world.close())

/** For what must not touch the other tests' world. */
const within = async (
  config: Readonly<Record<string, unknown>>,
  act: (world: LocalWorld) => Promise<void>,
): Promise<void> => {
  const own = await open(config)
  try {
    await act(own)
  } finally {
    await own.close()
  }
}

const production = (): Job => world.github.job({ environment: 'production' })

const sessionOf = ({ reply }: Asked) => reply.sessions[0]!

const brief = ({ status, problem }: Asked): string => `${status} ${problem.code}`

const assumed = ({ aws: { calls } }: LocalWorld, from = 0): number =>
  calls.slice(from).filter(({ operation }) => operation === 'AssumeRoleWithWebIdentity').length

describe('a token is good once', () => {
  const again = (first: Asked, key: CallerKey, job: Job) =>
    ask(world, { job, key, token: first.token })

  test('shown again with its proof it is a replay', async () => {
    const key = await makeKey()
    const job = production()
    const first = await ask(world, { job, key })
    const second = await ask(world, { job, key, token: first.token, proof: first.proof })
    expect([first.status, brief(second)]).toEqual([201, '409 token_replayed'])
    expect(await eventsOf(world, second.problem.request_id)).toEqual(['exchange.refused'])
  })

  test('shown again with a new proof it is a replay', async () => {
    const key = await makeKey()
    const job = production()
    const first = await ask(world, { job, key })
    expect([first.status, brief(await again(first, key, job))]).toEqual([201, '409 token_replayed'])
  })

  test('after the broker was started anew it is still a replay', async () => {
    const key = await makeKey()
    const job = production()
    const first = await ask(world, { job, key })
    await world.restart()
    expect([first.status, brief(await again(first, key, job))]).toEqual([201, '409 token_replayed'])
  })

  test('a refusal uses it up too', async () => {
    const key = await makeKey()
    const job = production()
    const first = await ask(world, { job, key, grants: ['no-such-grant'] })
    expect([brief(first), brief(await again(first, key, job))]).toEqual([
      '403 grant_refused',
      '409 token_replayed',
    ])
  })

  test('a failure of the cloud uses it up too', async () => {
    const key = await makeKey()
    const job = production()
    world.aws.failNext({ kind: 'error', code: 'AccessDenied', status: 403 })
    const first = await ask(world, { job, key })
    expect([brief(first), brief(await again(first, key, job))]).toEqual([
      '502 target_refused',
      '409 token_replayed',
    ])
  })

  test('of twenty requests at once exactly one is answered with credentials', async () => {
    const key = await makeKey()
    const job = production()
    const token = world.github.token(job, { audience: `${world.url}/jkt/${key.thumbprint}` })
    const before = world.aws.calls.length
    const answers = await stalled(() =>
      Array.from({ length: 20 }, () => ask(world, { job, key, token })),
    )
    const codes = answers.map((each) => (each.status === 201 ? '201' : brief(each))).sort()
    expect(codes).toEqual(['201', ...Array<string>(19).fill('409 token_replayed')])
    expect(assumed(world, before)).toBe(1)
  })
})

/**
 * Requests that all look into the store before one of them writes: another exchange waits inside it, on a transaction of ours,
 * until they stand in line. Were they slower than that, they would be judged all the same, one after another.
 */
const stalled = async (requests: () => readonly Promise<Asked>[]): Promise<readonly Asked[]> => {
  const db = new DatabaseSync(databaseOf(world))
  db.exec('BEGIN EXCLUSIVE')
  const first = ask(world, { job: production(), grants: ['payments-score'] })
  await sleep(100)
  const waiting = requests()
  await sleep(500)
  db.exec('ROLLBACK')
  db.close()
  await first
  return Promise.all(waiting)
}

describe('a session belongs to one key', () => {
  test('another key in the same job is refused', async () => {
    const job = production()
    const first = await ask(world, { job })
    const second = await ask(world, { job })
    expect([first.status, brief(second)]).toEqual([201, '409 session_bound'])
    expect(await eventsOf(world, second.problem.request_id)).toEqual(['exchange.refused'])
  })

  test('of two keys at once one gets it', async () => {
    const job = production()
    const answers = await stalled(() => [ask(world, { job }), ask(world, { job })])
    expect(answers.map((each) => (each.status === 201 ? '201' : brief(each))).sort()).toEqual([
      '201',
      '409 session_bound',
    ])
  })

  test('another key is refused also when the first one ended the session', async () => {
    const job = production()
    const { id, token } = sessionOf(await ask(world, { job }))
    expect(await endSession(world, id, token)).toBe(204)
    expect(brief(await ask(world, { job }))).toBe('409 session_bound')
  })

  test('the same key renews it: the same id, another session token, new credentials', async () => {
    const job = production()
    const key = await makeKey()
    const first = sessionOf(await ask(world, { job, key }))
    const second = sessionOf(await ask(world, { job, key }))
    expect(second.id).toBe(first.id)
    expect(second.token).not.toBe(first.token)
    expect(second.targets.aws?.session_token).not.toBe(first.targets.aws?.session_token)
    expect(await endSession(world, first.id, first.token)).toBe(401)
    expect(await endSession(world, second.id, second.token)).toBe(204)
  })

  test('of a job that asks ten times at once, all that is handed out is of one session', async () => {
    const job = production()
    const key = await makeKey()
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(world, { job, key })))
    const given = answers.filter(({ status }) => status === 201)
    expect(given.length).toBeGreaterThan(0)
    expect(new Set(given.map((each) => sessionOf(each).id)).size).toBe(1)
    const others = answers.filter(({ status }) => status !== 201).map(brief)
    expect(others.filter((each) => !/^(403 withheld|409 session_bound)$/.test(each))).toEqual([])
  })

  test('another job is another session', async () => {
    const key = await makeKey()
    const [first, second] = await Promise.all([
      ask(world, { job: production(), key }),
      ask(world, { job: production(), key }),
    ])
    expect([first.status, second.status]).toEqual([201, 201])
    expect(sessionOf(first).id).not.toBe(sessionOf(second).id)
  })
})

describe('the end of a session', () => {
  test('is 204 once and again, recorded once, and 401 for a token that is not its own', async () => {
    const first = sessionOf(await ask(world, { job: production() }))
    const other = sessionOf(await ask(world, { job: production() }))
    const wrong = `tvm_${'A'.repeat(43)}`
    const ends = [
      await endSession(world, first.id, wrong),
      await endSession(world, first.id, other.token),
      await endSession(world, first.id, first.token),
      await endSession(world, first.id, first.token),
      await endSession(world, first.id, wrong),
    ]
    expect(ends).toEqual([401, 401, 204, 204, 401])
    expect(await sessionRow(world, first.id)).toMatchObject({ state: 'ended' })
    expect(await sessionRow(world, other.id)).toMatchObject({ state: 'active' })
    const ended = (await records(world)).filter(({ body }) => body['session'] === first.id)
    expect(ended.map(({ body }) => body.event)).toEqual(['session.ended'])
  })

  test('is refused while the row is not as the broker sealed it', async () => {
    const { id, token } = sessionOf(await ask(world, { job: production() }))
    const db = new DatabaseSync(databaseOf(world))
    db.prepare('UPDATE sessions SET renew_until = renew_until + 1 WHERE id = ?').run(id)
    db.close()
    expect(await endSession(world, id, token)).toBe(503)
  })
})

describe('a grant that one may not have and one that is not there', () => {
  const STRANGE = { repository: 'acme/other', environment: 'production' }

  /** The answer without what differs between any two answers. */
  const answerTo = async (grant: string, job: Job, more: object = {}) => {
    const { status, text, headers, problem } = await ask(world, { job, grants: [grant], ...more })
    const same = text
      .replaceAll(problem.request_id, 'REQUEST')
      .replaceAll(problem.decision_id ?? '', 'DECISION')
      .replaceAll(grant, 'GRANT')
    const kept = [...headers].filter(([name]) => !['date', 'x-request-id'].includes(name))
    return { status, text: same, headers: kept }
  }

  test.each([
    ['of another repository', 'infra-deploy', 'infra-absent', {}],
    ['of another repository, asked for too long', 'infra-deploy', 'infra-absent', { ttl: 3600 }],
    ['that denies this actor', 'payments-closed', 'payments-absent', {}],
  ])(
    '%s are answered alike, byte for byte',
    async (_, there, absent, { ttl }: { ttl?: number }) => {
      const job = world.github.job({ ...STRANGE, actorId: '4242' })
      const more = (grant: string) =>
        ttl === undefined ? {} : { body: JSON.stringify({ grants: [grant], ttl }) }
      const first = await answerTo(there, job, more(there))
      expect(first.status).toBe(403)
      expect(await answerTo(absent, job, more(absent))).toEqual(first)
    },
  )

  test('are answered alike to a bearer token too', async () => {
    const job = world.github.job(STRANGE)
    const bearer = { scheme: 'Bearer', proof: null, tokenOptions: { audience: world.url } }
    const first = await answerTo('infra-deploy', job, bearer)
    expect(first.status).toBe(403)
    expect(await answerTo('infra-absent', job, bearer)).toEqual(first)
  })

  test('a repository that a block names sees what it wants, and where', async () => {
    const { problem } = await ask(world, { job: world.github.job({ environment: 'staging' }) })
    const [block] = problem.explain?.grants[0]?.blocks ?? []
    expect(block?.at).toMatch(/^grants\.yaml:\d+$/)
    expect(block?.lines.filter(({ held }) => !held)).toEqual([
      { claim: 'environment', held: false, got: 'staging', wanted: 'production' },
    ])
  })

  test('a public repository sees the names of the claims that failed, and nothing wanted', async () => {
    const job = world.github.job({ environment: 'staging', visibility: 'public' })
    const { problem, text } = await ask(world, { job })
    expect(problem.explain?.grants).toEqual([
      {
        grant: 'payments-deploy',
        blocks: [{ lines: [{ claim: 'environment', held: false, got: 'staging' }] }],
      },
    ])
    expect(text).not.toMatch(/wanted|production|grants\.yaml/)
    expect(problem.decision_id).toMatch(/^dec_/)
  })

  test('a deny line is never shown, to nobody', async () => {
    const job = world.github.job({ environment: 'production', actorId: '4242' })
    const { problem, text, status } = await ask(world, { job, grants: ['payments-closed'] })
    expect([status, problem.code]).toEqual([403, 'grant_refused'])
    expect(text).not.toMatch(/777001|deny|denied|guardrail/)
    const found = (await records(world)).find(({ body }) => body.request_id === problem.request_id)
    expect(JSON.stringify(found?.body)).toMatch(/"reason":"denied"/)
    expect(JSON.stringify(found?.body)).toContain('777001')
  })
})

describe('all that was asked for, or nothing', () => {
  test('of two grants one is refused: nothing is minted for the other', async () => {
    const before = world.aws.calls.length
    const asked = await ask(world, {
      job: production(),
      grants: ['payments-deploy', 'infra-deploy'],
    })
    expect(brief(asked)).toBe('403 grant_refused')
    expect(world.aws.calls.length).toBe(before)
    expect(await eventsOf(world, asked.problem.request_id)).toEqual(['exchange.refused'])
  })

  test('of two grants one is bound to another key: nothing is minted for the other', async () => {
    const job = production()
    await ask(world, { job, grants: ['payments-score'] })
    const before = world.aws.calls.length
    const asked = await ask(world, { job, grants: ['payments-deploy', 'payments-score'] })
    expect(brief(asked)).toBe('409 session_bound')
    expect(world.aws.calls.length).toBe(before)
  })

  test('of two targets one fails: the credentials of the other are not handed out', async () => {
    world.aws.failNext({ kind: 'error', code: 'AccessDenied', status: 403 })
    const asked = await ask(world, { job: production(), grants: ['payments-both'] })
    expect(brief(asked)).toBe('502 target_refused')
    expect(asked.text).not.toMatch(/eyJ/)
    const mine = (await records(world)).filter(
      ({ body }) => body.request_id === asked.problem.request_id,
    )
    expect(mine.map(({ body }) => body.event)).toEqual(['exchange.intent', 'exchange.failed'])
    expect(mine[1]?.body).toMatchObject({
      targets: [
        { target: 'aws', code: 'target_refused', about: 'AccessDenied' },
        { target: 'token', facts: { audience: AUDIENCE }, revocable: 'expiry_only' },
      ],
    })
  })

  test('both targets work: both are handed out, in one session', async () => {
    const { targets } = sessionOf(
      await ask(world, { job: production(), grants: ['payments-both'] }),
    )
    expect(Object.keys(targets)).toEqual(['aws', 'token'])
  })
})

describe('what a grant does not give', () => {
  test('it gives no longer life than it says', async () => {
    const body = JSON.stringify({ grants: ['payments-deploy'], ttl: 601 })
    expect(brief(await ask(world, { job: production(), body }))).toBe('400 ttl_refused')
  })

  const bearer = () => ({ scheme: 'Bearer', proof: null, tokenOptions: { audience: world.url } })

  test('a bearer grant takes a bearer token', async () => {
    const asked = await ask(world, { job: production(), grants: ['payments-open'], ...bearer() })
    expect(asked.status).toBe(201)
    expect(sessionOf(asked).targets.token?.token_type).toBe('Bearer')
  })

  test('another grant does not, and says so where the block held', async () => {
    const asked = await ask(world, { job: production(), ...bearer() })
    expect(brief(asked)).toBe('401 proof_missing')
    expect(asked.headers.get('www-authenticate')).toMatch(/^DPoP /)
  })

  test('another grant says nothing of it where no block held', async () => {
    const job = world.github.job({ environment: 'staging' })
    expect(brief(await ask(world, { job, ...bearer() }))).toBe('403 grant_refused')
  })
})

const lockOn = (subject: string): Lock => ({
  id: `lck_${subject.replaceAll(/[^0-9]/g, '')}`,
  subject,
  reason: 'incident 7',
  createdAt: world.clock.now(),
  expiresAt: null,
})

const jobKey = ({ claims }: Job): string =>
  [
    'github',
    claims['repository_id'],
    claims['run_id'],
    claims['run_attempt'],
    claims['check_run_id'],
  ].join('/')

describe('a lock', () => {
  test('stops an exchange that begins after it, and says nothing of its reason', async () => {
    const job = production()
    await addLock(world, lockOn(`job:${jobKey(job)}`))
    const before = world.aws.calls.length
    const asked = await ask(world, { job })
    expect(brief(asked)).toBe('403 locked')
    expect(asked.text).not.toContain('incident')
    expect(world.aws.calls.length).toBe(before)
    expect(await eventsOf(world, asked.problem.request_id)).toEqual(['exchange.refused'])
  })

  test('holds for its subject alone', async () => {
    const job = production()
    await addLock(world, lockOn(`job:${jobKey(production())}`))
    expect((await ask(world, { job })).status).toBe(201)
  })

  test('stops the renewal of the session that it names', async () => {
    const job = production()
    const key = await makeKey()
    const { id } = sessionOf(await ask(world, { job, key }))
    await addLock(world, { ...lockOn(`session:${id}`), id: `lck_${id}` })
    expect(brief(await ask(world, { job, key }))).toBe('403 locked')
  })
})

describe('while AWS has not answered yet', () => {
  let gate: Gate
  let held: LocalWorld
  beforeAll(async () => {
    gate = await startGate()
    held = await open({ aws_endpoint: gate.url })
    gate.open(held.aws.url)
  })
  afterAll(async () => {
    await held.close()
    await gate.close()
  })

  const expectWithheld = async (asked: Asked): Promise<void> => {
    expect(brief(asked)).toBe('403 withheld')
    expect(asked.text).not.toMatch(/access_key_id|secret|session_token|tvm_/)
    expect(await eventsOf(held, asked.problem.request_id)).toEqual([
      'exchange.intent',
      'exchange.withheld',
    ])
  }

  test.each(['before', 'after'] as const)(
    'a lock is set (%s AWS made the credentials): they are withheld',
    async (where) => {
      const job = held.github.job({ environment: 'production' })
      const waiting = gate.hold(where)
      const asking = ask(held, { job })
      await waiting.arrived
      await addLock(held, lockOn(`job:${jobKey(job)}`))
      waiting.release()
      const asked = await asking
      await expectWithheld(asked)
      const intent = (await records(held)).find(
        ({ body }) => body.request_id === asked.problem.request_id,
      )
      const [told] = intent?.body['sessions'] as unknown as readonly { session: string }[]
      expect(await sessionRow(held, told?.session ?? '')).toMatchObject({ state: 'withheld' })
    },
  )

  test('its job ends the session: what is being minted is withheld', async () => {
    const job = held.github.job({ environment: 'production' })
    const key = await makeKey()
    const { id, token } = sessionOf(await ask(held, { job, key }))
    const waiting = gate.hold('before')
    const asking = ask(held, { job, key })
    await waiting.arrived
    expect(await endSession(held, id, token)).toBe(204)
    waiting.release()
    await expectWithheld(await asking)
    expect(await sessionRow(held, id)).toMatchObject({ state: 'ended' })
  })

  test('the same key asks again: the older request gets nothing, the newer one the session', async () => {
    const job = held.github.job({ environment: 'production' })
    const key = await makeKey()
    const waiting = gate.hold('before')
    const older = ask(held, { job, key })
    await waiting.arrived
    const newer = await ask(held, { job, key })
    waiting.release()
    expect(newer.status).toBe(201)
    await expectWithheld(await older)
    expect(await sessionRow(held, sessionOf(newer).id)).toMatchObject({ state: 'active' })
  })

  test('the token is shown again: it is a replay already', async () => {
    const job = held.github.job({ environment: 'production' })
    const key = await makeKey()
    const token = held.github.token(job, { audience: `${held.url}/jkt/${key.thumbprint}` })
    const waiting = gate.hold('before')
    const asking = ask(held, { job, key, token })
    await waiting.arrived
    expect(brief(await ask(held, { job, key, token }))).toBe('409 token_replayed')
    waiting.release()
    expect((await asking).status).toBe(201)
  })
})

describe('a cloud that fails', () => {
  const error = (code: string, status = 400): Fault => ({ kind: 'error', code, status })
  const html: Fault = { kind: 'body', status: 503, contentType: 'text/html', body: '<p>busy' }

  test.each<[string, readonly Fault[], string, string, number]>([
    ['AccessDenied', [error('AccessDenied', 403)], 'target_refused', 'AccessDenied', 1],
    ['ValidationError', [error('ValidationError')], 'target_refused', 'ValidationError', 1],
    [
      'InvalidIdentityToken',
      [error('InvalidIdentityToken')],
      'target_refused',
      'InvalidIdentityToken',
      1,
    ],
    ['garbage', [{ kind: 'body', body: '<<<' }], 'target_refused', 'UnreadableAnswer', 1],
    [
      'JSON',
      [{ kind: 'body', body: '{}', contentType: 'application/json' }],
      'target_refused',
      'UnreadableAnswer',
      1,
    ],
    ['an empty 200', [{ kind: 'body', body: '' }], 'target_refused', 'AnswerIncomplete', 1],
    [
      'Throttling for ever',
      Array<Fault>(3).fill(error('Throttling')),
      'target_unavailable',
      'Throttling',
      3,
    ],
    [
      'half an answer for ever',
      Array<Fault>(3).fill({ kind: 'half' }),
      'target_unavailable',
      'NetworkError',
      3,
    ],
    [
      'resets for ever',
      Array<Fault>(3).fill({ kind: 'reset' }),
      'target_unavailable',
      'NetworkError',
      3,
    ],
    [
      'a busy proxy for ever',
      Array<Fault>(3).fill(html),
      'target_unavailable',
      'UnreadableAnswer',
      3,
    ],
  ])('%s: nothing is handed out', async (_, faults, code, about, calls) => {
    for (const fault of faults) world.aws.failNext(fault)
    const before = world.aws.calls.length
    const asked = await ask(world, { job: production() })
    expect(brief(asked)).toBe(`502 ${code}`)
    expect(asked.problem.detail).toContain(about)
    expect(asked.headers.has('retry-after')).toBe(code === 'target_unavailable')
    expect(assumed(world, before)).toBe(calls)
    const [intent, failed] = (await records(world)).filter(
      ({ body }) => body.request_id === asked.problem.request_id,
    )
    expect([intent?.body.event, failed?.body.event]).toEqual(['exchange.intent', 'exchange.failed'])
    expect(failed?.body).toMatchObject({ code, targets: [{ target: 'aws', code, about }] })
    const [told] = intent?.body['sessions'] as unknown as readonly { session: string }[]
    expect(await sessionRow(world, told?.session ?? '')).toMatchObject({ state: 'failed' })
  })

  test.each<[string, Fault]>([
    ['throttles', error('Throttling')],
    ['does not reach its issuer', error('IDPCommunicationError')],
    ['is broken', error('InternalFailure', 500)],
    ['cuts the connection', { kind: 'reset' }],
    ['cuts its answer', { kind: 'half' }],
  ])('once, because it %s, is asked again', async (_, fault) => {
    world.aws.failNext(fault)
    const before = world.aws.calls.length
    expect((await ask(world, { job: production() })).status).toBe(201)
    expect(assumed(world, before)).toBe(2)
  })

  test('a renewal that fails leaves the session as it was, and its token good', async () => {
    const job = production()
    const key = await makeKey()
    const { id, token } = sessionOf(await ask(world, { job, key }))
    world.aws.failNext(error('AccessDenied', 403))
    expect(brief(await ask(world, { job, key }))).toBe('502 target_refused')
    expect(await sessionRow(world, id)).toMatchObject({ state: 'active' })
    expect(await endSession(world, id, token)).toBe(204)
  })
})

describe('a stranger', () => {
  test('with a valid token leaves no row, and one summary', async () => {
    await within({}, async (own) => {
      const asked = await Promise.all(
        Array.from({ length: 3 }, () =>
          ask(own, { job: own.github.job({ repository: 'octo-org/octo-repo' }) }),
        ),
      )
      expect(asked.map(brief)).toEqual(Array(3).fill('403 owner_unknown'))
      expect((await records(own)).map(({ body }) => body.event)).toEqual(['broker.started'])
      await own.stop()
      const left = await records(own)
      expect(left.map(({ body }) => body.event)).toEqual([
        'broker.started',
        'strangers.summary',
        'broker.stopped',
      ])
      const owner_id = own.github.job({ repository: 'octo-org/octo-repo' }).claims[
        'repository_owner_id'
      ]
      expect(left[1]?.body).toMatchObject({
        refused: 3,
        owners: [{ issuer: 'github', owner_id, count: 3 }],
      })
    })
  })
})

/** The start of the next minute: fixed windows do not turn over in the middle of a test. */
const toNextMinute = ({ clock }: LocalWorld): void => clock.advance(60_000 - (clock.now() % 60_000))

describe('limits', () => {
  test('a job that asks too often is told to wait, and another one is not', async () => {
    await within({ limit_job: 2 }, async (own) => {
      toNextMinute(own)
      const job = own.github.job({ environment: 'production' })
      const key = await makeKey()
      const asked = [
        await ask(own, { job, key }),
        await ask(own, { job, key, grants: ['no-such-grant'] }),
        await ask(own, { job, key }),
      ]
      expect(asked.map(({ status }) => status)).toEqual([201, 403, 429])
      const [, , last] = asked
      expect(last?.problem.code).toBe('rate_limited')
      expect(Number(last?.headers.get('retry-after'))).toBeGreaterThan(0)
      expect(await eventsOf(own, last?.problem.request_id ?? '')).toEqual(['exchange.refused'])
      expect((await ask(own)).status).toBe(201)
      own.clock.advance(60_000)
      expect((await ask(own, { job, key })).status).toBe(201)
    })
  })

  test('an address that asks too often is refused before anything is read, without a record', async () => {
    await within({ limit_address: 1 }, async (own) => {
      const first = await ask(own)
      const second = await ask(own, { headers: { Authorization: 'DPoP x' } })
      expect([first.status, brief(second)]).toEqual([201, '429 rate_limited'])
      expect(second.headers.has('retry-after')).toBe(true)
      expect(await eventsOf(own, second.problem.request_id)).toEqual([])
      const jwks = await fetch(`${own.url}/.well-known/jwks.json`)
      expect(jwks.status).toBe(200)
    })
  })
})

const HOUR = 3_600_000

describe('a broken world', () => {
  test('policies that nobody confirmed for too long decide nothing', async () => {
    await within({ max_policy_age: '1h' }, async (own) => {
      expect((await ask(own)).status).toBe(201)
      const before = own.aws.calls.length
      own.clock.advance(2 * HOUR)
      const asked = await ask(own)
      expect(brief(asked)).toBe('503 policy_unavailable')
      expect(asked.headers.has('retry-after')).toBe(true)
      expect(own.aws.calls.length).toBe(before)
      const ready = await fetch(`${own.adminUrl}/readyz`)
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining('policies')])
    })
  })

  test('the keys of the issuer serve while its endpoint is dead, for the stale limit', async () => {
    await within({}, async (own) => {
      expect((await ask(own)).status).toBe(201)
      await own.github.silence()
      own.clock.advance(3 * HOUR)
      expect((await ask(own)).status).toBe(201)
      own.clock.advance(2 * HOUR)
      const asked = await ask(own)
      expect(brief(asked)).toBe('503 issuer_keys_unavailable')
      expect(asked.headers.has('retry-after')).toBe(true)
      expect(await eventsOf(own, asked.problem.request_id)).toEqual([])
      await own.github.speak()
      own.clock.advance(60_000)
      expect((await ask(own)).status).toBe(201)
    })
  })

  test('a broker that never saw the keys of the issuer lets nobody in', async () => {
    await within({}, async (own) => {
      await own.github.silence()
      expect(brief(await ask(own))).toBe('503 issuer_keys_unavailable')
      expect(own.aws.calls).toEqual([])
    })
  })

  test('a key that the issuer took back is dead with the next fetch', async () => {
    await within({}, async (own) => {
      expect((await ask(own)).status).toBe(201)
      const old = own.github.keys.current
      own.github.keys.drop(old)
      own.clock.advance(10 * 60_000)
      expect(brief(await ask(own))).toBe('401 token_key_unknown')
      own.github.keys.use(await own.github.keys.add())
      own.clock.advance(30_000)
      expect((await ask(own)).status).toBe(201)
    })
  })

  test('a store that somebody else holds: 503, nothing minted, and the rest still answers', async () => {
    const db = new DatabaseSync(databaseOf(world))
    const before = world.aws.calls.length
    db.exec('BEGIN EXCLUSIVE')
    try {
      const asking = Promise.all([
        ask(world, { job: production() }),
        ask(world, { job: production(), grants: ['no-such-grant'] }),
      ])
      expect((await fetch(`${world.adminUrl}/livez`)).status).toBe(200)
      expect((await fetch(`${world.url}/.well-known/jwks.json`)).status).toBe(200)
      const asked = await asking
      expect(asked.map(brief)).toEqual(Array(2).fill('503 store_unavailable'))
      expect(asked.map(({ headers }) => headers.has('retry-after'))).toEqual([true, true])
      expect(world.aws.calls.length).toBe(before)
    } finally {
      db.exec('ROLLBACK')
      db.close()
    }
    expect((await ask(world, { job: production() })).status).toBe(201)
  })

  test('a session row that somebody altered: 503, and nothing minted', async () => {
    const job = production()
    const key = await makeKey()
    const { id } = sessionOf(await ask(world, { job, key }))
    const other = await makeKey()
    const db = new DatabaseSync(databaseOf(world))
    db.prepare('UPDATE sessions SET jkt = ? WHERE id = ?').run(other.thumbprint, id)
    db.close()
    const before = world.aws.calls.length
    expect(brief(await ask(world, { job, key: other }))).toBe('503 store_unavailable')
    expect(world.aws.calls.length).toBe(before)
  })

  test('after all of this the chain of records is whole', async () => {
    const asked = await ask(world, { job: production() })
    const report = await verifyChain(await records(world), { known: [asked.reply.receipt] })
    expect(report).toMatchObject({ ok: true, unresolved: [] })
  })
})
