import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { DIALECTS } from '../../server/identity/dialects.ts'
import type { Claims, Principal } from '../../server/identity/principal.ts'
import { publicJwk } from '../../server/issuer/keys.ts'
import type { Signer } from '../../server/issuer/signer.ts'
import type { AwsGrant, Grant, TargetSpecs, TokenGrant } from '../../server/policy/grant.ts'
import type { MintOrder } from '../../server/targets/target.ts'
import type { World } from '../../server/world.ts'

/** 2026-11-22T01:00:00Z. Nothing in a target's verdicts reads another clock. */
export const NOW = Date.UTC(2026, 10, 22, 1, 0, 0)

/** A world whose pauses take no time, and which notes them. */
export const quickWorld = (): World & { readonly pauses: number[] } => {
  const pauses: number[] = []
  return {
    now: () => NOW,
    random: (bytes) => randomBytes(bytes),
    fetch: () => Promise.reject(new Error('this test has no network')),
    sleep: (ms) => {
      pauses.push(ms)
      return Promise.resolve()
    },
    pauses,
  }
}

export const memorySigner = (): Signer => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const keys = [publicJwk(privateKey)]
  return {
    publicKeys: () => keys,
    sign: (data) => Promise.resolve(sign('sha256', data, privateKey)),
  }
}

export const brokenSigner: Signer = {
  publicKeys: () => memorySigner().publicKeys(),
  sign: () => Promise.reject(new Error('the KMS is away')),
}

const CLAIMS = {
  repository: 'acme/payments',
  repository_id: '99120',
  repository_owner: 'acme',
  repository_owner_id: '8841',
  repository_visibility: 'private',
  actor: 'octocat',
  actor_id: '583231',
  event_name: 'push',
  ref: 'refs/heads/main',
  sha: '3f786850e387550fdab836ed7e6dc881de23001b',
  environment: 'production',
  run_id: '19582107001',
  run_attempt: '1',
  check_run_id: '55881234001',
}

/** The principal of a job; `changes` sets claims, null takes one away. */
export const principal = (
  changes: Readonly<Record<string, string | null>> = {},
  jkt: string | null = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs',
): Principal => {
  const set: Readonly<Record<string, string | null>> = { ...CLAIMS, ...changes }
  const claims: Claims = Object.fromEntries(
    Object.entries(set).flatMap(([name, value]) => (value === null ? [] : [[name, value]])),
  )
  const job = claims['check_run_id'] ?? `jkt:${jkt ?? ''}`
  return {
    issuer: 'github',
    dialect: DIALECTS.github,
    claims,
    repositoryId: claims['repository_id']!,
    ownerId: claims['repository_owner_id']!,
    job: `github/${claims['repository_id']!}/${claims['run_id']!}/${claims['run_attempt']!}/${job}`,
    jkt,
    jti: 'the-jti',
    proofJti: jkt === null ? null : 'the-proof-jti',
    kid: 'the-kid',
    tokenHash: 'the-token-hash',
    replayableUntil: NOW + 600_000,
  }
}

export const AWS: AwsGrant = {
  role: 'arn:aws:iam::111122223333:role/tvm/payments-deploy',
  accountId: '111122223333',
  region: 'eu-west-1',
  sessionPolicy: {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Action: 's3:PutObject',
        Resource: 'arn:aws:s3:::artifacts/${claims.repository_id}/*',
      },
    ],
  },
  managedPolicies: [],
  tags: { team: 'payments' },
  pinSourceIp: false,
  chaining: false,
}

export const TOKEN: TokenGrant = {
  audience: 'https://risk.acme.internal',
  scope: ['risk:score:write', 'risk:score:read'],
  ttl: 300,
}

const place = { file: 'payments/deploy.yaml', line: 5, column: 3 }

export const grant = (targets: TargetSpecs, name = 'payments-deploy'): Grant => ({
  name,
  description: 'Deploy the payments service',
  owner: 'team-payments',
  issuer: 'github',
  at: place,
  allow: [{ lines: [], at: place }],
  deny: [],
  bearer: false,
  require: [],
  ttl: 900,
  session: 900,
  acceptLifetime: null,
  targets,
})

/** Ids of distinct sessions, in their real form. */
export const sessionId = (n: number): string => `ses_01KAM3Q8ZK${String(n).padStart(16, '0')}`

export const order = (targets: TargetSpecs, changes: Partial<MintOrder> = {}): MintOrder => {
  const ttl = changes.ttl ?? 900
  return {
    grant: grant(targets),
    principal: principal(),
    sessionId: sessionId(1),
    decisionId: 'dec_01KAM3Q8ZK0000000000000001',
    revision: '9a0364b9e99bb480dd25e1f0284c8555d2f9a0b1',
    ttl,
    now: NOW,
    expiresAt: NOW + ttl * 1000,
    address: '203.0.113.7',
    signal: new AbortController().signal,
    ...changes,
  }
}

/** The payload of a JWT, unverified: for looking at what was sent. */
export const payloadOf = (jwt: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString('utf8')) as Record<
    string,
    unknown
  >
