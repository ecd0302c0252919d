import { JwtVerifier } from 'aws-jwt-verify'
import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PublicJwk } from '../../server/issuer/signer.ts'
import { assumeRole, ROLE } from '../world/aws/fixture.ts'
import { ask, makeKey } from '../world/caller.ts'
import { createGrantRole, DEPLOY_POLICY, ISSUER_URL, type LocalWorld } from '../world/world.ts'
import { startGate, type Gate } from './gate.ts'
import { openWorld } from './open.ts'

const AUDIENCE = 'https://risk.acme.internal'
const POLICIES = {
  'both.yaml': `${DEPLOY_POLICY}    token: {audience: "${AUDIENCE}", scope: [risk:score:write, risk:score:read]}
`,
}

let gate: Gate
let world: LocalWorld
beforeAll(async () => {
  gate = await startGate()
  world = await openWorld({
    policies: POLICIES,
    config: { aws_endpoint: gate.url, token_audiences: [AUDIENCE] },
  })
  gate.open(world.aws.url)
  createGrantRole(world.aws, 'other')
})
afterAll(async () => {
  await world.close()
  await gate.close()
})

const read = async (path: string): Promise<Readonly<Record<string, unknown>>> => {
  const response = await fetch(world.url + path)
  expect(response.headers.get('content-type')).toBe('application/json')
  return (await response.json()) as Readonly<Record<string, unknown>>
}

const keysOf = async (path: string): Promise<readonly PublicJwk[]> =>
  (await read(path))['keys'] as readonly PublicJwk[]

const CLOUD_KEYS = '/.well-known/jwks.json'
const TOKEN_KEYS = '/tokens/.well-known/jwks.json'

/** One exchange: what the job got of the token issuer, and what AWS got of the cloud issuer. */
const exchange = async () => {
  const key = await makeKey()
  const { reply } = await ask(world, { key })
  const cloud = new URLSearchParams(gate.bodies.at(-1)).get('WebIdentityToken') ?? ''
  return { key, access: reply.sessions[0]?.targets.token?.token ?? '', cloud }
}

const privateKey = (name: string): KeyObject =>
  createPrivateKey(readFileSync(join(world.folder, 'data/keys', name)))

/** What AWS says to a token: the name of its error, or `taken`. */
const atAws = async (token: string, role = ROLE): Promise<string> => {
  const asked = assumeRole(world.aws.url, { WebIdentityToken: token, RoleArn: role })
  return asked.then(
    () => 'taken',
    (error: unknown) => (error as Error).name.replace(/Exception$/, ''),
  )
}

const atBroker = async (token: string): Promise<string> => {
  const { status, problem } = await ask(world, { token })
  return `${status} ${problem.code}`
}

describe('what is published', () => {
  test.each([CLOUD_KEYS, TOKEN_KEYS])('%s holds one key with exactly six members', async (path) => {
    const document = await read(path)
    expect(Object.keys(document)).toEqual(['keys'])
    const [key, ...more] = await keysOf(path)
    expect(more).toEqual([])
    expect(Object.keys(key ?? {})).toEqual(['kty', 'alg', 'use', 'kid', 'n', 'e'])
    expect(key).toMatchObject({ kty: 'RSA', alg: 'RS256', use: 'sig', e: 'AQAB' })
  })

  test('the two issuers have different keys', async () => {
    const [[cloud], [tokens]] = await Promise.all([keysOf(CLOUD_KEYS), keysOf(TOKEN_KEYS)])
    expect(cloud?.n).not.toBe(tokens?.n)
    expect(cloud?.kid).not.toBe(tokens?.kid)
  })

  test('the discovery of the cloud issuer', async () => {
    expect(await read('/.well-known/openid-configuration')).toEqual({
      issuer: ISSUER_URL,
      jwks_uri: `${ISSUER_URL}/.well-known/jwks.json`,
      id_token_signing_alg_values_supported: ['RS256'],
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      claims_supported: expect.arrayContaining([
        'sub',
        'aud',
        'grant',
        'job',
        'repository_id',
      ]) as unknown,
    })
  })

  test('the discovery of the token issuer, which promises no endpoint that is not there', async () => {
    expect(await read('/tokens/.well-known/openid-configuration')).toEqual({
      issuer: `${world.url}/tokens`,
      jwks_uri: `${world.url}/tokens/.well-known/jwks.json`,
      id_token_signing_alg_values_supported: ['RS256'],
      response_types_supported: ['token'],
      subject_types_supported: ['public'],
      claims_supported: expect.arrayContaining(['sub', 'aud', 'cnf', 'act', 'scope']) as unknown,
      grant_types_supported: ['urn:ietf:params:oauth:grant-type:token-exchange'],
      token_endpoint_auth_methods_supported: ['none'],
      dpop_signing_alg_values_supported: ['ES256'],
    })
  })
})

describe('a token for a service', () => {
  test('holds before jose, which reads the discovery', async () => {
    const { access, key } = await exchange()
    const { issuer, jwks_uri } = await read('/tokens/.well-known/openid-configuration')
    const { payload } = await jwtVerify(access, createRemoteJWKSet(new URL(String(jwks_uri))), {
      issuer: String(issuer),
      audience: AUDIENCE,
      typ: 'at+jwt',
      algorithms: ['RS256'],
      requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id'],
    })
    expect(payload).toMatchObject({
      sub: expect.stringMatching(/^job:github\/99120\//) as string,
      cnf: { jkt: key.thumbprint },
      act: { sub: 'actor:github:583231' },
      scope: 'risk:score:write risk:score:read',
    })
  })

  test('holds before aws-jwt-verify, and for no other audience', async () => {
    const { access } = await exchange()
    const jwks = { keys: [...(await keysOf(TOKEN_KEYS))] }
    const verifierFor = (audience: string) => {
      const verifier = JwtVerifier.create({
        issuer: `${world.url}/tokens`,
        audience,
        jwksUri: `${world.url}${TOKEN_KEYS}`,
      })
      verifier.cacheJwks(jwks as unknown as Parameters<typeof verifier.cacheJwks>[0])
      return verifier
    }
    expect(verifierFor(AUDIENCE).verifySync(access)).toMatchObject({ grant: 'payments-deploy' })
    expect(() => verifierFor('https://other.acme.internal').verifySync(access)).toThrow(
      /[Aa]udience/,
    )
  })

  test('does not hold under the keys of the cloud issuer', async () => {
    const { access } = await exchange()
    const keys = createRemoteJWKSet(new URL(world.url + CLOUD_KEYS))
    await expect(jwtVerify(access, keys)).rejects.toThrow(/no applicable key/)
  })

  test('is no identity token for the broker', async () => {
    const { access } = await exchange()
    expect(await atBroker(access)).toBe('401 token_issuer_unknown')
  })

  test('is nothing that AWS takes', async () => {
    expect(await atAws((await exchange()).access)).toBe('InvalidIdentityToken')
  })
})

describe('the cloud issuer', () => {
  test('made what AWS takes: the tests below differ from it in one thing each', async () => {
    const { cloud } = await exchange()
    expect(await atAws(cloud)).toBe('taken')
  })

  test('lets its token live a minute', async () => {
    const { cloud } = await exchange()
    const { exp = 0 } = decodeJwt(cloud)
    expect(exp * 1000 - world.clock.now()).toBeLessThanOrEqual(60_000)
  })

  test('ties its token to one role', async () => {
    const { cloud } = await exchange()
    expect(await atAws(cloud, ROLE.replace('payments-deploy', 'other'))).not.toBe('taken')
  })

  test('is not spoken for by the key of the token issuer, under either key id', async () => {
    const { cloud } = await exchange()
    const [[own], [other]] = await Promise.all([keysOf(CLOUD_KEYS), keysOf(TOKEN_KEYS)])
    for (const kid of [own?.kid ?? '', other?.kid ?? '']) {
      const forged = await new SignJWT(decodeJwt(cloud))
        .setProtectedHeader({ ...decodeProtectedHeader(cloud), alg: 'RS256', kid })
        .sign(privateKey('tokens.pem'))
      expect(await atAws(forged)).toBe('InvalidIdentityToken')
    }
    const honest = await new SignJWT(decodeJwt(cloud))
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT', kid: own?.kid ?? '' })
      .sign(privateKey('cloud.pem'))
    expect(await atAws(honest)).toBe('taken')
  })

  test('makes no identity token for the broker', async () => {
    expect(await atBroker((await exchange()).cloud)).toBe('401 token_issuer_unknown')
  })
})

describe('a token of GitHub', () => {
  const job = () => world.github.job({ environment: 'production' })

  test('that is for the broker is nothing that AWS takes', async () => {
    const { thumbprint } = await makeKey()
    const audience = `${world.url}/jkt/${thumbprint}`
    expect(await atAws(world.github.token(job(), { audience }))).toBe('InvalidIdentityToken')
  })

  test('that is for AWS is nothing that the broker takes', async () => {
    const token = world.github.token(job(), { audience: 'sts.amazonaws.com' })
    expect(await atBroker(token)).toBe('401 token_audience_refused')
  })

  test('that calls itself one of our issuers is nobody’s', async () => {
    for (const iss of [ISSUER_URL, `${world.url}/tokens`, world.url]) {
      const token = world.github.token(job(), { audience: world.url, claims: { iss } })
      expect(await atBroker(token)).toBe('401 token_issuer_unknown')
    }
  })
})
