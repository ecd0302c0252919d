import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { startEntra, type LocalEntra } from '../world/entra/index.ts'
import { startGcp, tvmMember, tvmProvider, type LocalGcp } from '../world/gcp/index.ts'
import { ask, type Asked } from '../world/caller.ts'
import { DEPLOY_POLICY, ISSUER_URL, type LocalWorld } from '../world/world.ts'
import { openWorld } from './open.ts'
import { records } from './records.ts'

const TENANT = '6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11'
const CLIENT = 'b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b'
const SUBSCRIPTION = '0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a'
const PROVIDER =
  'projects/123456789012/locations/global/workloadIdentityPools/tvm-pool/providers/tvm-broker'
const ACCOUNT = 'deploy@acme-prod.iam.gserviceaccount.com'

/** The grant of the demo, on two clouds more. */
const POLICY = `${DEPLOY_POLICY}    accept_lifetime: 90m
    gcp:
      provider: ${PROVIDER}
      service_account: ${ACCOUNT}
      project: acme-prod
      scopes: [https://www.googleapis.com/auth/cloud-platform]
    azure:
      tenant: ${TENANT}
      client: ${CLIENT}
      subscription: ${SUBSCRIPTION}
      scopes: [https://management.azure.com/.default]
`

const trusted = getCACertificates('default')
const resolve: Record<string, string> = {}
let world: LocalWorld
let gcp: LocalGcp
let entra: LocalEntra

beforeAll(async () => {
  const now = (): number => Date.now()
  gcp = await startGcp({ now, resolve })
  gcp.createPool('tvm-pool')
  gcp.createProvider(tvmProvider({ pool: 'tvm-pool', id: 'tvm-broker', issuerUri: ISSUER_URL }))
  gcp.createServiceAccount(ACCOUNT)
  const member = tvmMember(PROVIDER, 'payments-deploy')
  gcp.bind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member })
  gcp.createBucket('artifacts')
  gcp.bind('artifacts', { role: 'roles/storage.admin', member: `serviceAccount:${ACCOUNT}` })
  const credential = {
    name: 'tvm-payments-deploy',
    issuer: ISSUER_URL,
    subject: 'grant:payments-deploy',
    audiences: ['api://AzureADTokenExchange'],
  }
  const applications = [{ clientId: CLIENT, federatedCredentials: [credential] }]
  const subscriptions = [{ id: SUBSCRIPTION, displayName: 'Payments', readers: [CLIENT] }]
  entra = await startEntra({ now, resolve, tenants: [{ id: TENANT, applications, subscriptions }] })
  setDefaultCACertificates([...trusted, entra.ca])
  const config = { gcp_endpoint: gcp.url, azure_authority: entra.url }
  world = await openWorld({ policies: { 'deploy.yaml': POLICY }, config })
  resolve[ISSUER_URL] = world.url
})

afterAll(async () => {
  await world.close()
  await Promise.all([gcp.close(), entra.close()])
  setDefaultCACertificates(trusted)
})

const arm = async (token: string): Promise<number> => {
  const url = `${entra.url}/subscriptions/${SUBSCRIPTION}?api-version=2022-12-01`
  const response = await fetch(url, { headers: { Authorization: `Bearer ${token}` } })
  await response.body?.cancel()
  return response.status
}

const upload = async (token: string): Promise<number> => {
  const url = `${gcp.url}/upload/storage/v1/b/artifacts/o?uploadType=media&name=x`
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'text/plain' }
  const response = await fetch(url, { method: 'POST', headers, body: 'hello' })
  await response.body?.cancel()
  return response.status
}

const outcomesOf = async ({ problem }: Asked): Promise<unknown> => {
  const all = await records(world)
  const failed = all.find(
    ({ body }) => body.event === 'exchange.failed' && body.decision_id === problem.decision_id,
  )
  return (failed?.body['targets'] as { target: string; code?: string }[] | undefined)?.map(
    ({ target, code }) => [target, code ?? 'made'],
  )
}

describe('one grant on three clouds', () => {
  it('gives the job credentials that each cloud takes', async () => {
    const { status, text, reply } = await ask(world)
    expect(status, text).toBe(201)
    const targets = reply.sessions[0]?.targets
    expect(Object.keys(targets ?? {}).sort()).toEqual(['aws', 'azure', 'gcp'])
    expect(await upload(targets?.gcp?.access_token ?? '')).toBe(200)
    expect(await arm(targets?.azure?.tokens[0]?.access_token ?? '')).toBe(200)
  })

  describe('and one of them fails: nothing is left with the job, and the audit tells each', () => {
    let before: number
    beforeEach(() => {
      before = world.aws.calls.length
    })

    it('Entra knows no such credential', async () => {
      entra.failNext({ kind: 'error', code: 700213, status: 401 })
      const asked = await ask(world)
      expect([asked.status, asked.problem.code]).toEqual([502, 'target_refused'])
      expect(asked.problem.detail).toContain('AADSTS700213')
      expect(asked.text).not.toMatch(/access_token|secret_access_key/)
      expect(world.aws.calls.length).toBeGreaterThan(before)
      expect(await outcomesOf(asked)).toEqual(
        expect.arrayContaining([
          ['aws', 'made'],
          ['gcp', 'made'],
          ['azure', 'target_refused'],
        ]),
      )
    })

    it('AWS denies', async () => {
      world.aws.failNext({ kind: 'error', code: 'AccessDenied', status: 403 })
      const asked = await ask(world)
      expect([asked.status, asked.problem.code]).toEqual([502, 'target_refused'])
      expect(await outcomesOf(asked)).toEqual(
        expect.arrayContaining([
          ['aws', 'target_refused'],
          ['gcp', 'made'],
          ['azure', 'made'],
        ]),
      )
    })
  })
})
