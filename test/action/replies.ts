import type { Explain, Problem, SessionReply, SessionsReply } from '../../server/api.ts'
import type { Scripted } from './harness.ts'

/** Every secret says so, so that a leak of any is found by one word. */
export const SECRETS = {
  accessKeyId: 'ASIACANARYACCESSKEY0',
  secretAccessKey: 'CANARY/secret+access=key',
  sessionToken: 'CANARY//session+token==',
  token: 'eyJCANARY.eyJ0b2tlbiI6MX0.c2ln',
  gcpToken: 'ya29.c.CANARYgcpAccessToken',
  azureToken: 'eyJCANARY.eyJhcm0iOjF9.c2ln',
  session: (n: number) => `tvm_CANARYsession${String(n).padEnd(30, 'x')}`,
} as const

export const sessionId = (n: number): string => `ses_01KA${String(n).padStart(22, '0')}`

/** GitHub's answer: an ID token that is another one each time. */
export const idToken = (count: number): Scripted => ({
  status: 200,
  body: { count, value: idTokenText(count) },
})

export const idTokenText = (count: number): string =>
  `eyJhbGciOiJSUzI1NiJ9.CANARYidtoken${count}.c2lnbmF0dXJl`

export const aws = {
  access_key_id: SECRETS.accessKeyId,
  secret_access_key: SECRETS.secretAccessKey,
  session_token: SECRETS.sessionToken,
  account_id: '111122223333',
  role_arn: 'arn:aws:iam::111122223333:role/tvm/payments-deploy',
  region: 'eu-west-1',
  expires_at: '2026-11-22T12:15:00.000Z',
  revocable: 'expiry_only',
} as const

export const azure = {
  tenant_id: '6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11',
  client_id: 'b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b',
  subscription_id: null,
  tokens: [
    {
      scope: 'https://management.azure.com/.default',
      access_token: SECRETS.azureToken,
      expires_at: '2026-11-22T13:30:00Z',
    },
  ],
  expires_at: '2026-11-22T13:30:00Z',
  revocable: 'expiry_only',
} as const

export const gcp = {
  access_token: SECRETS.gcpToken,
  project_id: 'acme-prod',
  service_account: 'deploy@acme-prod.iam.gserviceaccount.com',
  scopes: ['https://www.googleapis.com/auth/cloud-platform'],
  expires_at: '2026-11-22T12:15:00Z',
  revocable: 'expiry_only',
} as const

export const token = {
  token: SECRETS.token,
  token_type: 'DPoP',
  audience: 'https://risk.acme.internal',
  scope: 'risk:score:write',
  expires_at: '2026-11-22T12:05:00Z',
  revocable: 'immediate',
} as const

export const session = (
  n: number,
  grant: string,
  targets: SessionReply['targets'],
): SessionReply => ({
  id: sessionId(n),
  token: SECRETS.session(n),
  grant,
  expires_at: '2026-11-22T12:15:00Z',
  targets,
})

export const reply = (...sessions: readonly SessionReply[]): SessionsReply => ({
  decision_id: 'dec_01KA0000000000000000000000',
  revision: '4f2c9d1',
  receipt: { position: 42, hash: 'ab'.repeat(32) },
  sessions,
})

export const created = (...sessions: readonly SessionReply[]): Scripted => ({
  status: 201,
  body: reply(...sessions),
})

export const explain: Explain = {
  claims: { repository: 'acme/payments', ref: 'refs/pull/7/merge', event_name: 'push' },
  grants: [
    {
      grant: 'payments-deploy',
      blocks: [
        {
          at: 'payments/deploy.yaml:8',
          lines: [
            { claim: 'repository', held: true, got: 'acme/payments', wanted: 'acme/payments' },
            { claim: 'ref', held: false, got: 'refs/pull/7/merge', wanted: 'refs/heads/main' },
            { claim: 'environment', held: false, got: null, wanted: 'production' },
          ],
        },
      ],
    },
  ],
}

export const problem = (
  status: number,
  code: Problem['code'],
  more: Readonly<Record<string, unknown>> = {},
): Exclude<Scripted, string> => ({
  status,
  body: {
    type: `https://example.com/#${code}`,
    title: code,
    status,
    code,
    detail: 'There is no such grant for this job.',
    hint: 'Compare the claims of this job with the policy.',
    request_id: 'req_01KA0000000000000000000000',
    ...more,
  },
})

export const denied = (more: Readonly<Record<string, unknown>> = {}): Scripted =>
  problem(403, 'grant_refused', { decision_id: 'dec_01KA0000000000000000000000', ...more })
