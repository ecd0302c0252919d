import { JwtVerifier } from 'aws-jwt-verify'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { jwks } from '../../server/issuer/discovery.ts'
import type { TokenGrant } from '../../server/policy/grant.ts'
import type { MintOrder, SealedToken } from '../../server/targets/target.ts'
import { tokenTarget } from '../../server/targets/token.ts'
import { targetConformance } from './conformance.ts'
import {
  brokenSigner,
  memorySigner,
  NOW,
  order,
  payloadOf,
  principal,
  quickWorld,
  sessionId,
  TOKEN,
} from './orders.ts'

const ISSUER = 'https://broker.acme.dev/tokens'
const signer = memorySigner()
const audiences = ['https://risk.acme.internal']

targetConformance<TokenGrant, SealedToken>('token', {
  cloud: { none: 'its credentials are a signature of ours' },
  open: () =>
    Promise.resolve({
      target: ({ world, signer: kind }) =>
        tokenTarget({
          signer: kind === 'works' ? signer : brokenSigner,
          issuerUrl: ISSUER,
          audiences,
          world,
        }),
      specs: { token: TOKEN },
      spec: TOKEN,
      secrets: (reply) => [reply.token],
      holder: (reply) => String(payloadOf(reply.token.reveal())['session_id']),
      close: () => Promise.resolve(),
    }),
})

describe('a token for a service', () => {
  const target = tokenTarget({ signer, issuerUrl: ISSUER, audiences, world: quickWorld() })
  const minted = async (spec: TokenGrant = TOKEN, changes: Partial<MintOrder> = {}) => {
    const result = await target.mint(spec, order({ token: spec }, changes))
    if (!result.ok) throw new Error(result.code)
    return result
  }
  const claims = async (spec: TokenGrant = TOKEN, changes: Partial<MintOrder> = {}) =>
    payloadOf((await minted(spec, changes)).reply.token.reveal())

  it.each([
    ['an audience that the operator did not list', 'https://other.acme.internal'],
    ['an audience that begins like a listed one', 'https://risk.acme.internal/x'],
    ['the audience of a cloud', 'sts.amazonaws.com'],
  ])('is refused for %s', async (_, audience) => {
    const spec = { ...TOKEN, audience }
    expect(await target.mint(spec, order({ token: spec }))).toMatchObject({
      ok: false,
      code: 'target_refused',
      target: 'token',
      about: 'AudienceNotListed',
    })
  })

  it('verifies as an access token of RFC 9068', async () => {
    const { reply } = await minted()
    const { payload, protectedHeader } = await jwtVerify(
      reply.token.reveal(),
      createLocalJWKSet({ keys: [...jwks(signer).keys] }),
      {
        issuer: ISSUER,
        audience: TOKEN.audience,
        typ: 'at+jwt',
        algorithms: ['RS256'],
        requiredClaims: ['exp', 'iat', 'jti', 'client_id', 'sub'],
        currentDate: new Date(NOW),
      },
    )
    expect(protectedHeader).toEqual({
      alg: 'RS256',
      typ: 'at+jwt',
      kid: signer.publicKeys()[0]!.kid,
    })
    expect(payload).toEqual({
      iss: ISSUER,
      sub: 'job:github/99120/19582107001/1/55881234001',
      aud: TOKEN.audience,
      iat: NOW / 1000 - 5,
      nbf: NOW / 1000 - 5,
      exp: NOW / 1000 + 300,
      jti: expect.stringMatching(/^[\w-]{22}$/) as string,
      client_id: 'grant:payments-deploy',
      scope: 'risk:score:write risk:score:read',
      cnf: { jkt: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' },
      act: { sub: 'actor:github:583231' },
      issuer: 'github',
      repository_id: '99120',
      repository: 'acme/payments',
      ref: 'refs/heads/main',
      environment: 'production',
      run: '19582107001/1',
      sha: '3f786850e387550fdab836ed7e6dc881de23001b',
      grant: 'payments-deploy',
      session_id: sessionId(1),
      decision_id: 'dec_01KAM3Q8ZK0000000000000001',
      revision: '9a0364b9e99bb480dd25e1f0284c8555d2f9a0b1',
    })
  })

  it('verifies in a library that is not ours', async () => {
    const now = Date.now()
    const { reply } = await minted(TOKEN, { now, expiresAt: now + 900_000 })
    const verifier = JwtVerifier.create({ issuer: ISSUER, audience: TOKEN.audience })
    verifier.cacheJwks({ keys: jwks(signer).keys.map((key) => ({ ...key })) })
    expect(verifier.verifySync(reply.token.reveal())).toMatchObject({ iss: ISSUER })
  })

  it('is bound to the key that the job proved', async () => {
    expect((await minted()).reply.token_type).toBe('DPoP')
  })

  it('is a bearer token where the job proved none', async () => {
    const bearer = { principal: principal({}, null) }
    expect((await minted(TOKEN, bearer)).reply.token_type).toBe('Bearer')
    expect(await claims(TOKEN, bearer)).not.toHaveProperty('cnf')
  })

  it('has no claim for what the job does not have', async () => {
    const bare = { principal: principal({ environment: null, actor_id: null, sha: null }) }
    const said = Object.keys(await claims({ ...TOKEN, scope: [] }, bare))
    for (const absent of ['environment', 'act', 'sha', 'scope']) expect(said).not.toContain(absent)
  })

  it.each([
    ['the grant, where that is shorter', { ...TOKEN, ttl: 60 }, {}, 60],
    ['the order, where that is shorter', TOKEN, { ttl: 30 }, 30],
    ['the end of the order, in whole seconds', TOKEN, { expiresAt: NOW + 20_900 }, 20],
  ])('lives as long as %s', async (_, spec, changes, seconds) => {
    const { expiresAt, reply } = await minted(spec, changes)
    expect(expiresAt).toBe(NOW + seconds * 1000)
    expect(payloadOf(reply.token.reveal())['exp']).toBe(NOW / 1000 + seconds)
  })

  it('has an id of its own', async () => {
    expect((await claims())['jti']).not.toBe((await claims())['jti'])
  })
})
