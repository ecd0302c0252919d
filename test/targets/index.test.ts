import { inspect } from 'node:util'
import { decodeProtectedHeader } from 'jose'
import { describe, expect, it } from 'vitest'
import type { TargetSpecs } from '../../server/policy/grant.ts'
import { Secret } from '../../server/secret.ts'
import { makeTargets, mintAllWith, TARGET_NAMES, type Targets } from '../../server/targets/index.ts'
import type {
  Minted,
  MintOrder,
  MintRefusal,
  SealedAws,
  SealedToken,
} from '../../server/targets/target.ts'
import {
  AWS,
  grant,
  memorySigner,
  NOW,
  order,
  payloadOf,
  quickWorld,
  sessionId,
  TOKEN,
} from './orders.ts'
import { scriptedSts } from './scripted-sts.ts'

const CANARY = 'canary-of-a-credential'

const awsMade = (expiresAt = NOW + 900_000): Minted<SealedAws> => ({
  ok: true,
  reply: {
    access_key_id: 'ASIA0000000000000001',
    secret_access_key: new Secret(CANARY),
    session_token: new Secret(CANARY),
    account_id: AWS.accountId,
    role_arn: AWS.role,
    region: AWS.region,
    expires_at: '2026-11-22T01:15:00Z',
    revocable: 'expiry_only',
  },
  facts: { role: AWS.role },
  expiresAt,
  revocable: 'expiry_only',
})

const tokenMade = (expiresAt = NOW + 300_000): Minted<SealedToken> => ({
  ok: true,
  reply: {
    token: new Secret(CANARY),
    token_type: 'DPoP',
    audience: TOKEN.audience,
    scope: 'a',
    expires_at: '2026-11-22T01:05:00Z',
    revocable: 'expiry_only',
  },
  facts: {},
  expiresAt,
  revocable: 'expiry_only',
})

const refusal = (target: 'aws' | 'token', about: string): MintRefusal => ({
  ok: false,
  code: 'target_refused',
  target,
  about,
})

type AwsMint = (order: MintOrder) => Promise<Minted<SealedAws> | MintRefusal>
type TokenMint = (order: MintOrder) => Promise<Minted<SealedToken> | MintRefusal>

const targetsOf = (
  aws: AwsMint,
  token: TokenMint = () => Promise.resolve(tokenMade()),
): Targets => ({
  aws: { name: 'aws', revocable: 'expiry_only', mint: (_, given) => aws(given) },
  azure: {
    name: 'azure',
    revocable: 'expiry_only',
    mint: () => Promise.reject(new Error('not asked')),
  },
  gcp: {
    name: 'gcp',
    revocable: 'expiry_only',
    mint: () => Promise.reject(new Error('not asked')),
  },
  token: { name: 'token', revocable: 'expiry_only', mint: (_, given) => token(given) },
})

const both: TargetSpecs = { aws: AWS, token: TOKEN }

const asked = (name: string, specs: TargetSpecs, n: number) =>
  order(specs, { grant: grant(specs, name), sessionId: sessionId(n) })

describe('minting everything', () => {
  it('gives each grant what its own targets made', async () => {
    const minted = await mintAllWith(targetsOf(() => Promise.resolve(awsMade())))([
      asked('deploy', both, 1),
      asked('read', { aws: AWS }, 2),
    ])
    expect(minted).toMatchObject({
      ok: true,
      grants: [
        { grant: 'deploy', sessionId: sessionId(1), expiresAt: NOW + 300_000 },
        { grant: 'read', sessionId: sessionId(2), expiresAt: NOW + 900_000 },
      ],
      outcomes: [
        { grant: 'deploy', sessionId: sessionId(1), target: 'aws', result: { ok: true } },
        { grant: 'deploy', sessionId: sessionId(1), target: 'token', result: { ok: true } },
        { grant: 'read', sessionId: sessionId(2), target: 'aws', result: { ok: true } },
      ],
    })
    expect(minted.ok && minted.grants.map(({ replies }) => Object.keys(replies))).toEqual([
      ['aws', 'token'],
      ['aws'],
    ])
  })

  it('gives nothing where one target of one grant refuses, and tells every outcome', async () => {
    const aws: AwsMint = ({ grant: { name } }) =>
      Promise.resolve(name === 'read' ? refusal('aws', 'AccessDenied') : awsMade())
    const minted = await mintAllWith(targetsOf(aws))([
      asked('deploy', both, 1),
      asked('read', { aws: AWS }, 2),
    ])
    expect(minted).not.toHaveProperty('grants')
    expect(minted).toMatchObject({
      ok: false,
      refusal: { code: 'target_refused', target: 'aws', about: 'AccessDenied' },
    })
    expect(minted.outcomes.map(({ result }) => result.ok)).toEqual([true, true, false])
  })

  it('tells the first refusal in the order asked, whichever came first', async () => {
    const aws: AwsMint = async ({ grant: { name } }) => {
      if (name === 'deploy') await new Promise((resolve) => setImmediate(resolve))
      return refusal('aws', name)
    }
    const minted = await mintAllWith(targetsOf(aws))([
      asked('deploy', { aws: AWS }, 1),
      asked('read', { aws: AWS }, 2),
    ])
    expect(minted).toMatchObject({ ok: false, refusal: { about: 'deploy' } })
  })

  it('asks all targets side by side', async () => {
    let meet: () => void = () => undefined
    const met = new Promise<void>((resolve) => {
      meet = resolve
    })
    const aws: AwsMint = () => met.then(() => awsMade())
    const token: TokenMint = () => {
      meet()
      return Promise.resolve(tokenMade())
    }
    const minted = await mintAllWith(targetsOf(aws, token), 20_000)([asked('deploy', both, 1)])
    expect(minted.ok).toBe(true)
  })

  it('does not wait for a target that never answers, nor for one that ignores its signal', async () => {
    let signalled: AbortSignal | undefined
    const aws: AwsMint = ({ signal }) => {
      signalled = signal
      return new Promise(() => undefined)
    }
    const minted = await mintAllWith(targetsOf(aws), 50)([asked('deploy', both, 1)])
    expect(minted).toMatchObject({
      ok: false,
      refusal: { code: 'target_unavailable', target: 'aws', about: 'Timeout' },
      outcomes: [{ result: { ok: false } }, { result: { ok: true } }],
    })
    expect(signalled?.aborted).toBe(true)
  })

  it.each<[string, AwsMint]>([
    ['rejects', () => Promise.reject(new TypeError(`cannot read ${CANARY}\n    at ${CANARY}`))],
    [
      'throws',
      () => {
        throw new TypeError(CANARY)
      },
    ],
    [
      'rejects with what is no error',
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the point of this row
      () => Promise.reject({ token: CANARY }),
    ],
  ])('takes a target that %s for unavailable, and keeps its words to itself', async (_, aws) => {
    const minted = await mintAllWith(targetsOf(aws))([asked('deploy', both, 1)])
    expect(minted).toMatchObject({
      ok: false,
      refusal: { code: 'target_unavailable', target: 'aws', about: 'TargetBroken' },
    })
    expect(inspect(minted, { depth: Infinity })).not.toContain(CANARY)
    expect(JSON.stringify(minted)).not.toContain(CANARY)
  })

  it('says where a broken target broke', async () => {
    const minted = await mintAllWith(targetsOf(() => Promise.reject(new TypeError('x'))))([
      asked('deploy', both, 1),
    ])
    expect(minted.ok ? '' : minted.refusal.cause).toMatch(/^TypeError at .*index\.test\.ts/)
  })
})

describe('the list of targets', () => {
  const signer = memorySigner()
  const tokenSigner = memorySigner()
  const made = (endpoint: string | null) =>
    makeTargets({
      signer,
      tokenSigner,
      issuerUrl: 'https://tvm.example.com',
      tokenIssuerUrl: 'https://broker.acme.dev/tokens',
      world: quickWorld(),
      aws: { endpoint },
      azure: { authority: null },
      gcp: { endpoint: null },
      token: { audiences: [TOKEN.audience] },
    })

  it('makes every target under its own name', () => {
    expect(Object.entries(made(null)).map(([key, { name }]) => [key, name])).toEqual(
      TARGET_NAMES.map((name) => [name, name]),
    )
  })

  it('gives each issuer its own key and name', async () => {
    const sts = await scriptedSts()
    try {
      const minted = await mintAllWith(made(sts.url))([asked('deploy', both, 1)])
      if (!minted.ok) throw new Error(inspect(minted))
      const service = minted.grants[0]!.replies.token!.token.reveal()
      const cloud = sts.requests[0]!.form.get('WebIdentityToken')!
      expect(decodeProtectedHeader(service).kid).toBe(tokenSigner.publicKeys()[0]!.kid)
      expect(decodeProtectedHeader(cloud).kid).toBe(signer.publicKeys()[0]!.kid)
      expect(payloadOf(service)['iss']).toBe('https://broker.acme.dev/tokens')
      expect(payloadOf(cloud)['iss']).toBe('https://tvm.example.com')
    } finally {
      await sts.close()
    }
  })
})
