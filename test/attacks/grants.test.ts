import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ask, listGrants, makeKey } from '../world/caller.ts'
import { DEPLOY_POLICY, type LocalWorld } from '../world/world.ts'
import { openWorld } from './open.ts'
import { addLock, records } from './records.ts'

const OTHERS = `version: 1
grants:
  payments-preview:
    description: Read what a preview needs
    allow: {repository_owner_id: 8841, repository_id: 99120, ref: refs/heads/preview}
    ttl: 5m
    aws: {role: "arn:aws:iam::111122223333:role/tvm/payments-preview", region: eu-west-1}
  stranger-deploy:
    description: Of another repository
    allow: {repository_owner_id: 8841, repository_id: 5501}
    aws: {role: "arn:aws:iam::111122223333:role/tvm/stranger-deploy", region: eu-west-1}
`

let world: LocalWorld
beforeAll(async () => {
  world = await openWorld({ policies: { 'deploy.yaml': DEPLOY_POLICY, 'others.yaml': OTHERS } })
})
afterAll(() => world.close())

describe('GET /v1/grants', () => {
  it('refuses a proof that was made for another endpoint', async () => {
    const { status, problem } = await listGrants(world, { proofLie: { claims: { htm: 'POST' } } })
    expect([status, problem.code]).toEqual([401, 'proof_invalid'])
  })

  it('refuses a token that was used', async () => {
    const key = await makeKey()
    const { token } = await ask(world, { key })
    const { status, problem } = await listGrants(world, { key, token })
    expect([status, problem.code]).toEqual([409, 'token_replayed'])
  })

  it('uses the token up itself', async () => {
    const key = await makeKey()
    const { token } = await listGrants(world, { key })
    expect((await ask(world, { key, token })).problem.code).toBe('token_replayed')
  })

  it('refuses an owner that no grant names', async () => {
    const job = world.github.job({ repository: 'octo-org/octo-repo' })
    expect((await listGrants(world, { job })).problem.code).toBe('owner_unknown')
  })

  it('names no grant to a job that may have none', async () => {
    const job = world.github.job({ ref: 'refs/heads/other' })
    const { status, reply } = await listGrants(world, { job })
    expect([status, reply.grants]).toEqual([200, []])
  })

  it('names what the job may have, and nothing of what others may', async () => {
    const { status, reply } = await listGrants(world)
    expect(status).toBe(200)
    expect(reply.grants).toEqual([
      {
        name: 'payments-deploy',
        description: 'Upload build artifacts of the payments service',
        ttl: 600,
        session: 600,
        targets: ['aws'],
      },
    ])
  })

  it('leaves one record, which its receipt names', async () => {
    const { reply } = await listGrants(world)
    const record = (await records(world)).find(
      ({ position }) => position === reply.receipt.position,
    )
    expect(record?.hash).toBe(reply.receipt.hash)
    expect(record?.body).toMatchObject({ event: 'grants.listed', grants: ['payments-deploy'] })
  })

  it('answers one of ten requests with one token at once', async () => {
    const key = await makeKey()
    const job = world.github.job({ environment: 'production' })
    const token = world.github.token(job, { audience: `${world.url}/jkt/${key.thumbprint}` })
    const all = await Promise.all(
      Array.from({ length: 10 }, () => listGrants(world, { key, job, token })),
    )
    expect(all.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(9).fill(409)])
  })

  it('is stopped by a lock', async () => {
    const job = world.github.job({ environment: 'production', runId: '77' })
    await addLock(world, {
      id: 'lck_00000000000000000000000001',
      subject: `job:github/99120/77/1/${job.claims['check_run_id'] ?? ''}`,
      reason: 'test',
      createdAt: world.clock.now(),
      expiresAt: null,
    })
    expect((await listGrants(world, { job })).problem.code).toBe('locked')
  })
})

describe('a lock on a grant', () => {
  beforeAll(() =>
    addLock(world, {
      id: 'lck_00000000000000000000000002',
      subject: 'grant:payments-preview',
      reason: 'test',
      createdAt: world.clock.now(),
      expiresAt: null,
    }),
  )

  it('is no news for a job that may not have the grant', async () => {
    const job = world.github.job({ ref: 'refs/heads/other' })
    const { status, problem } = await ask(world, { job, grants: ['payments-preview'] })
    expect([status, problem.code]).toEqual([403, 'grant_refused'])
  })

  it('stops a job that may, and says on which policies', async () => {
    const job = world.github.job({ ref: 'refs/heads/preview' })
    const { status, problem } = await ask(world, { job, grants: ['payments-preview'] })
    expect([status, problem.code]).toEqual([403, 'locked'])
    expect(problem.revision).toMatch(/^sha256:[0-9a-f]{64}$/)
  })
})
