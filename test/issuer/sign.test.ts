import { inspect } from 'node:util'
import { JwtVerifier } from 'aws-jwt-verify'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { cloudDiscovery, jwks, tokenDiscovery } from '../../server/issuer/discovery.ts'
import {
  runOf,
  signAccessToken,
  signCloudToken,
  type AccessToken,
  type CloudToken,
} from '../../server/issuer/sign.ts'
import type { Signer } from '../../server/issuer/signer.ts'
import { memorySigner, NOW, payloadOf, principal } from '../targets/orders.ts'

const signer = memorySigner()
const ISSUER = 'https://tvm.example.com'

const token = (changes: Partial<CloudToken> = {}): CloudToken => ({
  issuer: ISSUER,
  audience: 'sts.amazonaws.com',
  grant: 'payments-deploy',
  job: 'github/99120/19582107001/1/55881234001',
  repositoryId: '99120',
  jti: 'the-jti',
  now: NOW + 999,
  ...changes,
})

const aws = {
  tags: { 'tvm:grant': 'payments-deploy', team: 'payments' },
  transitive: ['tvm:grant'],
  sourceIdentity: 'ses_01KAM3Q8ZK0000000000000001',
  roles: ['arn:aws:iam::111122223333:role/tvm/payments-deploy'],
} as const

const accessToken: AccessToken = {
  issuer: `${ISSUER}/tokens`,
  audience: 'https://risk.acme.internal',
  scope: ['risk:score:write'],
  grant: 'payments-deploy',
  principal: principal(),
  sessionId: 'ses_01KAM3Q8ZK0000000000000001',
  decisionId: 'dec_01KAM3Q8ZK0000000000000001',
  revision: 'the-revision',
  jti: 'the-jti',
  now: NOW,
  exp: NOW / 1000 + 300,
}

describe('a token for a cloud', () => {
  it('verifies with jose, and says what it says and no more', async () => {
    const signed = await signCloudToken(signer, token())
    const { payload, protectedHeader } = await jwtVerify(
      signed.reveal(),
      createLocalJWKSet({ keys: [...jwks(signer).keys] }),
      { issuer: ISSUER, audience: 'sts.amazonaws.com', typ: 'JWT', currentDate: new Date(NOW) },
    )
    expect(protectedHeader).toEqual({ alg: 'RS256', typ: 'JWT', kid: signer.publicKeys()[0]!.kid })
    expect(payload).toEqual({
      iss: ISSUER,
      sub: 'grant:payments-deploy',
      aud: 'sts.amazonaws.com',
      iat: NOW / 1000 - 5,
      nbf: NOW / 1000 - 5,
      exp: NOW / 1000 + 60,
      jti: 'the-jti',
      grant: 'payments-deploy',
      job: 'github/99120/19582107001/1/55881234001',
      repository_id: '99120',
    })
  })

  it('verifies in a library that is not ours', async () => {
    const signed = await signCloudToken(signer, token({ now: Date.now() }))
    const verifier = JwtVerifier.create({ issuer: ISSUER, audience: 'sts.amazonaws.com' })
    verifier.cacheJwks({ keys: jwks(signer).keys.map((key) => ({ ...key })) })
    expect(verifier.verifySync(signed.reveal())).toMatchObject({ sub: 'grant:payments-deploy' })
  })

  it('does not verify once a character is changed', async () => {
    const [header, , signature] = (await signCloudToken(signer, token())).reveal().split('.')
    const other = (await signCloudToken(signer, token({ grant: 'other' }))).reveal().split('.')[1]
    await expect(
      jwtVerify(
        `${header!}.${other!}.${signature!}`,
        createLocalJWKSet({ keys: [...jwks(signer).keys] }),
        { currentDate: new Date(NOW) },
      ),
    ).rejects.toThrow(/signature/)
  })

  it('carries for AWS each tag as an array of one string', async () => {
    const payload = payloadOf((await signCloudToken(signer, token({ aws }))).reveal())
    expect(payload).toMatchObject({
      'https://aws.amazon.com/tags': {
        principal_tags: { 'tvm:grant': ['payments-deploy'], team: ['payments'] },
        transitive_tag_keys: ['tvm:grant'],
      },
      'https://aws.amazon.com/source_identity': aws.sourceIdentity,
      'https://aws.amazon.com/roles': aws.roles,
    })
  })

  it('keeps a tag whose name means something to JavaScript', async () => {
    const tags = JSON.parse('{"__proto__": "x", "constructor": "y"}') as Record<string, string>
    const signed = await signCloudToken(signer, token({ aws: { ...aws, tags } }))
    expect(Buffer.from(signed.reveal().split('.')[1]!, 'base64url').toString()).toContain(
      '"principal_tags":{"__proto__":["x"],"constructor":["y"]}',
    )
  })

  it('does not print', async () => {
    const signed = await signCloudToken(signer, token())
    expect([inspect(signed), JSON.stringify(signed), String(signed)].join()).not.toContain('eyJ')
  })

  it('is not made by a signer without a key, nor by one that fails', async () => {
    const empty: Signer = { ...signer, publicKeys: () => [] }
    const failing: Signer = { ...signer, sign: () => Promise.reject(new Error('away')) }
    await expect(signCloudToken(empty, token())).rejects.toThrow('no key')
    await expect(signCloudToken(failing, token())).rejects.toThrow('away')
  })
})

describe('discovery', () => {
  it('is what clouds read of the cloud issuer', async () => {
    const document = cloudDiscovery(ISSUER)
    expect(document).toEqual({
      issuer: ISSUER,
      jwks_uri: 'https://tvm.example.com/.well-known/jwks.json',
      id_token_signing_alg_values_supported: ['RS256'],
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      claims_supported: expect.any(Array) as unknown,
    })
    const payload = payloadOf((await signCloudToken(signer, token())).reveal())
    expect([...document.claims_supported].sort()).toEqual(Object.keys(payload).sort())
  })

  it('is what services read of the token issuer', async () => {
    const document = tokenDiscovery(`${ISSUER}/tokens`)
    expect(document).toEqual({
      issuer: 'https://tvm.example.com/tokens',
      jwks_uri: 'https://tvm.example.com/tokens/.well-known/jwks.json',
      id_token_signing_alg_values_supported: ['RS256'],
      response_types_supported: ['token'],
      subject_types_supported: ['public'],
      claims_supported: expect.any(Array) as unknown,
      grant_types_supported: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      token_endpoint_auth_methods_supported: ['none'],
      dpop_signing_alg_values_supported: ['ES256'],
    })
    const payload = payloadOf((await signAccessToken(signer, accessToken)).reveal())
    expect([...document.claims_supported].sort()).toEqual(Object.keys(payload).sort())
  })

  it('publishes six members of a key, whatever the signer shows', () => {
    const key = { ...signer.publicKeys()[0]!, key_ops: ['verify'], x5c: ['x'], d: 'private' }
    const published = jwks({ ...signer, publicKeys: () => [key] })
    expect(Object.keys(published.keys[0]!)).toEqual(['kty', 'alg', 'use', 'kid', 'n', 'e'])
  })

  it('publishes every key of the signer, the signing one first', () => {
    const [first, second] = [signer.publicKeys()[0]!, memorySigner().publicKeys()[0]!]
    const published = jwks({ ...signer, publicKeys: () => [first, second] })
    expect(published.keys).toEqual([first, second])
  })
})

describe('the run of a job', () => {
  it('is its id and attempt', () => {
    expect(runOf(principal())).toBe('19582107001/1')
  })

  it('is not known where one of the two is missing', () => {
    expect(runOf({ ...principal(), claims: { run_id: '1' } })).toBeUndefined()
  })
})
