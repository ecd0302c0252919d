import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cloudDiscovery, jwks } from '../../../server/issuer/discovery.ts'
import type { GcpGrant } from '../../../server/policy/grant.ts'
import { gcpTarget } from '../../../server/targets/gcp.ts'
import type { MintOrder } from '../../../server/targets/target.ts'
import { ISSUER } from '../aws/fixture.ts'
import { memorySigner, order, principal, quickWorld } from '../../targets/orders.ts'
import { tvmProvider } from './index.ts'
import { ACCOUNT, JOB, MEMBER, openScene, PLATFORM, POOL, PROVIDER, type Scene } from './fixture.ts'

/** The broker's own target and issuer beside a cloud that judges them. */

const START = Date.parse('2026-11-22T01:27:00.500Z')
const signer = memorySigner()

let now = START
let scene: Scene

beforeEach(async () => {
  now = START
  scene = await openScene({ now: () => now })
  scene.issuer.pages.set('/.well-known/openid-configuration', cloudDiscovery(ISSUER))
  scene.issuer.pages.set('/.well-known/jwks.json', jwks(signer))
})

afterEach(() => scene.close())

const SPEC: GcpGrant = {
  provider: PROVIDER,
  serviceAccount: ACCOUNT,
  project: 'acme-prod',
  scopes: [PLATFORM],
  accessBoundary: null,
}
const BOUNDED: GcpGrant = {
  ...SPEC,
  accessBoundary: [
    {
      resource: '//storage.googleapis.com/projects/_/buckets/artifacts',
      permissions: ['inRole:roles/storage.objectCreator'],
      condition: "resource.name.startsWith('projects/_/buckets/artifacts/objects/99120/')",
    },
  ],
}
const DIRECT: GcpGrant = { ...SPEC, serviceAccount: null }

const mint = (spec: GcpGrant, changes: Partial<MintOrder> = {}) => {
  const world = { ...quickWorld(), now: () => now, fetch }
  const ttl = changes.ttl ?? 900
  return gcpTarget({ signer, issuerUrl: ISSUER, endpoint: scene.gcp.url, world }).mint(
    spec,
    order({}, { now, expiresAt: now + ttl * 1000, ...changes }),
  )
}

const upload = async (spec: GcpGrant, name: string, changes: Partial<MintOrder> = {}) => {
  const minted = await mint(spec, changes)
  if (!minted.ok) throw new Error(JSON.stringify(minted))
  return () => put(minted.reply.access_token.reveal(), name)
}

const put = async (token: string, name: string): Promise<number> => {
  const path = `/upload/storage/v1/b/artifacts/o?uploadType=media&name=${encodeURIComponent(name)}`
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'text/plain' }
  const response = await fetch(scene.gcp.url + path, { method: 'POST', headers, body: 'hello' })
  await response.body?.cancel()
  return response.status
}

describe('the job', () => {
  test('writes as the account', async () => {
    expect(await (await upload(SPEC, 'x'))()).toBe(200)
    expect(scene.gcp.calls.map(({ operation }) => operation)).toEqual([
      'ExchangeToken',
      'GenerateAccessToken',
      'InsertObject',
    ])
    expect(scene.gcp.calls.at(0)?.about['subject']).toBe(JOB)
  })

  test('writes within the boundary, and not beside it', async () => {
    expect(await (await upload(BOUNDED, '99120/x'))()).toBe(200)
    expect(await (await upload(BOUNDED, '99121/x'))()).toBe(403)
  })

  test('writes as itself, once it is bound to the bucket', async () => {
    const role = 'roles/storage.objectCreator'
    const write = await upload(DIRECT, 'x')
    expect(await write()).toBe(403)
    scene.gcp.bind('artifacts', { role, member: MEMBER })
    expect(await write()).toBe(200)
  })

  test.each<[string, GcpGrant, number]>([
    ['as the account', SPEC, 60],
    ['within the boundary', BOUNDED, 300],
    ['as itself', DIRECT, 60],
    ['as itself for an hour', DIRECT, 3600],
  ])('stops writing when its time is over: %s', async (_, spec, ttl) => {
    scene.gcp.bind('artifacts', { role: 'roles/storage.objectCreator', member: MEMBER })
    const minted = await mint(spec, { ttl })
    if (!minted.ok) throw new Error(JSON.stringify(minted))
    expect(minted.expiresAt).toBeLessThanOrEqual(now + ttl * 1000)
    const token = minted.reply.access_token.reveal()
    now = minted.expiresAt - 1
    expect(await put(token, '99120/a')).toBe(200)
    now = START + ttl * 1000
    expect(await put(token, '99120/b')).toBe(401)
  })
})

describe('the cloud refuses', () => {
  const codes = async (spec: GcpGrant, changes: Partial<MintOrder> = {}) => {
    const refused = await mint(spec, changes)
    return refused.ok ? 'granted' : `${refused.code} ${refused.about ?? ''}`
  }

  test('another grant of the same broker', async () => {
    const grant = { ...order({}).grant, name: 'other-grant' }
    expect(await codes(SPEC, { grant })).toBe('target_refused PERMISSION_DENIED')
  })

  test('an account that nobody is bound to', async () => {
    const serviceAccount = 'other@acme-prod.iam.gserviceaccount.com'
    expect(await codes({ ...SPEC, serviceAccount })).toBe('target_refused PERMISSION_DENIED')
  })

  test('a provider that is not there, and a pool that is switched off', async () => {
    const provider = `${POOL}/providers/nowhere`
    expect(await codes({ ...SPEC, provider })).toBe('target_refused invalid_target')
    scene.gcp.disable('tvm-pool')
    expect(await codes(SPEC)).toBe('target_refused invalid_target')
  })

  test('an account that is switched off', async () => {
    scene.gcp.disable(ACCOUNT)
    expect(await codes(SPEC)).toBe('target_refused FAILED_PRECONDITION')
  })

  test('keys that are not those of the issuer', async () => {
    scene.issuer.pages.set('/.well-known/jwks.json', jwks(memorySigner()))
    expect(await codes(SPEC)).toBe('target_refused invalid_grant')
  })

  test('a broker whose clock is an hour ahead', async () => {
    const ahead = { now: now + 3_600_000, expiresAt: now + 4_500_000 }
    expect(await codes(SPEC, ahead)).toBe('target_refused invalid_grant')
  })

  test('takes a job for what its token says, and no other', async () => {
    scene.gcp.unbind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member: MEMBER })
    const member = `principal://iam.googleapis.com/${POOL}/subject/${JOB}`
    scene.gcp.bind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member })
    expect(await codes(SPEC)).toBe('granted')
    const other = principal({ check_run_id: '55881234002' })
    expect(await codes(SPEC, { principal: other })).toBe('target_refused PERMISSION_DENIED')
  })

  test.each(['ExchangeToken', 'GenerateAccessToken', 'CutDownToken'] as const)(
    'for a moment, and the target asks again: %s',
    async (operation) => {
      scene.gcp.failNext({ kind: 'error', operation, code: 'UNAVAILABLE' })
      scene.gcp.failNext({ kind: 'half', operation })
      expect(await codes(BOUNDED)).toBe('granted')
      expect(scene.gcp.calls.filter((call) => call.operation === operation)).toHaveLength(3)
    },
  )
})

test('the documentation sets up the provider that is tried here', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/gcp.md'), 'utf8')
  const { attributeMapping, attributeCondition } = tvmProvider({ pool: '', id: '', issuerUri: '' })
  const mapping = Object.entries(attributeMapping).map((pair) => pair.join('='))
  expect(page).toContain(`--attribute-mapping='${mapping.join(',')}'`)
  expect(page).toContain(`--attribute-condition="${attributeCondition!}"`)
})
