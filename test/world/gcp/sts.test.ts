import { createHmac } from 'node:crypto'
import { exportSPKI, importJWK, type CryptoKey } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { DISCOVERY, ISSUER, makeKey, signToken } from '../aws/fixture.ts'
import {
  ACCOUNT,
  AUDIENCE,
  cutDown,
  exchange,
  federate,
  generate,
  goodClaims,
  JOB,
  accountToken,
  MEMBER,
  openScene,
  PLATFORM,
  POOL,
  PROVIDER,
  say,
  TYPE,
  type Said,
  type Scene,
} from './fixture.ts'
import { GcpError, tvmProvider, type Fault, type ProviderInput } from './index.ts'

const START = Date.parse('2026-11-22T01:27:00.500Z')
const SECONDS = Math.floor(START / 1000)

let now = START
let scene: Scene

beforeEach(async () => {
  now = START
  scene = await openScene({ now: () => now })
})

afterEach(() => scene.close())

const refused = (code: string) => ({ status: 400, body: { error: code } })

describe('STS takes the broker’s token', () => {
  test('and gives a federated token that ends with it', async () => {
    const { status, body } = await federate(scene, now)
    expect(status).toBe(200)
    expect(body).toEqual({
      access_token: expect.stringMatching(/^ya29\.d\.[\w-]{100,}$/) as string,
      issued_token_type: `${TYPE}:access_token`,
      token_type: 'Bearer',
      expires_in: 59,
    })
    expect(scene.gcp.calls.at(-1)).toMatchObject({
      operation: 'ExchangeToken',
      about: { provider: PROVIDER, subject: JOB, scope: PLATFORM },
    })
  })

  test.each([
    ['an hour, however long the token lives', 7200, 3600],
    ['ten minutes with a token of ten minutes', 600, 599],
  ])('for %s', async (_, life, expires_in) => {
    expect(await federate(scene, now, { exp: SECONDS + life })).toMatchObject({
      body: { expires_in },
    })
  })

  test('named with https: too', async () => {
    expect(await federate(scene, now, { aud: `https:${AUDIENCE}` })).toMatchObject({ status: 200 })
  })

  test('signed with ES256', async () => {
    const key = await makeKey('ES256', 'key-ec')
    scene.issuer.pages.set('/.well-known/jwks.json', { keys: [scene.key.jwk, key.jwk] })
    const token = await signToken(goodClaims(now), { ...key, alg: 'ES256', kid: 'key-ec' })
    expect(await federate(scene, now, {}, { subject_token: token })).toMatchObject({ status: 200 })
  })

  test('without asking the issuer where its keys are uploaded', async () => {
    scene.gcp.createProvider({
      ...tvmProvider({ pool: 'tvm-pool', id: 'uploaded', issuerUri: ISSUER }),
      jwksJson: JSON.stringify({ keys: [scene.key.jwk] }),
    })
    scene.issuer.close()
    const audience = `//iam.googleapis.com/${POOL}/providers/uploaded`
    expect(await federate(scene, now, { aud: audience }, { audience })).toMatchObject({
      status: 200,
    })
  })
})

describe('STS refuses the token of', () => {
  test.each<[string, Readonly<Record<string, unknown>>]>([
    ['another issuer', { iss: 'https://evil.example.com' }],
    ['an issuer with a slash more', { iss: `${ISSUER}/` }],
    ['no issuer', { iss: undefined }],
    ['another audience', { aud: 'sts.amazonaws.com' }],
    ['another provider', { aud: `//iam.googleapis.com/${POOL}/providers/other-one` }],
    ['several audiences', { aud: [AUDIENCE, 'https://other.example.com'] }],
    ['no audience', { aud: undefined }],
    ['no subject', { sub: undefined }],
    ['a subject that is no text', { sub: 7 }],
    ['a time to come', { iat: SECONDS + 1 }],
    ['a time to come, by nbf', { nbf: SECONDS + 1 }],
    ['no time', { iat: undefined }],
    ['a time in text', { iat: String(SECONDS) }],
    ['no end', { exp: undefined }],
    ['a time that is over', { exp: SECONDS }],
    ['a day', { exp: SECONDS - 5 + 86_400 }],
    ['no job, which is mapped', { job: undefined }],
    ['a job that is a number', { job: 7 }],
    ['a job that is empty', { job: '' }],
    ['a job of 128 bytes', { job: 'é'.repeat(64) }],
    ['mapped attributes over 8 KB', { repository_id: 'x'.repeat(8200) }],
  ])('%s', async (_, claims) => {
    expect(await federate(scene, now, claims)).toMatchObject(refused('invalid_grant'))
    expect(scene.gcp.calls.at(-1)).toMatchObject({ code: 'invalid_grant' })
  })

  test('a job of 127 bytes not', async () => {
    expect(await federate(scene, now, { job: `x${'é'.repeat(63)}` })).toMatchObject({ status: 200 })
  })

  test('a subject that the condition rejects', async () => {
    expect(await federate(scene, now, { sub: 'grant:other' })).toMatchObject({
      status: 400,
      body: {
        error: 'unauthorized_client',
        error_description: 'The given credential is rejected by the attribute condition.',
      },
    })
  })
})

describe('STS refuses a signature', () => {
  const forged = async (token: string) => {
    expect(await federate(scene, now, {}, { subject_token: token })).toMatchObject(
      refused('invalid_grant'),
    )
  }

  test('of another key of that name', async () => {
    const key = await makeKey('RS256', 'key-1')
    await forged(await signToken(goodClaims(now), { ...key, alg: 'RS256', kid: 'key-1' }))
  })

  test('of a key that is not published', async () => {
    await forged(await signToken(goodClaims(now), { ...scene.key, alg: 'RS256', kid: 'key-2' }))
  })

  test('that names no key', async () => {
    await forged(await signToken(goodClaims(now), { ...scene.key, alg: 'RS256' }))
  })

  test.each(['RS384', 'PS256'])('by %s', async (alg) => {
    const key = await makeKey(alg, 'key-1')
    scene.issuer.pages.set('/.well-known/jwks.json', { keys: [{ ...key.jwk, alg: undefined }] })
    await forged(await signToken(goodClaims(now), { ...key, alg, kid: 'key-1' }))
  })

  test('by HS256 over the public key', async () => {
    const pem = await exportSPKI((await importJWK(scene.key.jwk, 'RS256')) as CryptoKey)
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const input = `${part({ alg: 'HS256', kid: 'key-1' })}.${part(goodClaims(now))}`
    await forged(`${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`)
  })

  test('that there is none', async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    await forged(`${part({ alg: 'none', kid: 'key-1' })}.${part(goodClaims(now))}.`)
  })

  test.each([
    ['claims were changed after it', (token: string) => token.replace(/\.(.)/, '.f')],
    ['padding', (token: string) => `${token}=`],
    ['a fourth part', (token: string) => `${token}.x`],
    ['a part less', (token: string) => token.replace(/\.[^.]*$/, '')],
    ['nothing', () => ''],
  ])('when %s', async (_, change) => {
    const good = await signToken(goodClaims(now), { ...scene.key, alg: 'RS256', kid: 'key-1' })
    await forged(change(good))
  })
})

describe('STS refuses an issuer that', () => {
  const KEYS = '/.well-known/jwks.json'
  const CONFIGURATION = '/.well-known/openid-configuration'

  test.each<[string, string, (jwk: object) => unknown]>([
    ['has no discovery', CONFIGURATION, () => 404],
    ['is out of order', CONFIGURATION, () => 503],
    ['does not answer', CONFIGURATION, () => 'hang'],
    ['leads elsewhere', CONFIGURATION, () => new URL('http://127.0.0.1:9/')],
    ['calls itself otherwise', CONFIGURATION, () => ({ ...DISCOVERY, issuer: `${ISSUER}/` })],
    [
      'has its keys on http',
      CONFIGURATION,
      () => ({ ...DISCOVERY, jwks_uri: 'http://x.example/' }),
    ],
    ['has its keys nowhere', CONFIGURATION, () => ({ ...DISCOVERY, jwks_uri: undefined })],
    ['has no keys', KEYS, () => ({ keys: [] })],
    ['publishes a certificate', KEYS, (jwk) => ({ keys: [{ ...jwk, x5c: ['MII'] }] })],
    ['publishes a thumbprint', KEYS, (jwk) => ({ keys: [{ ...jwk, x5t: 'abc' }] })],
    ['publishes a private key', KEYS, (jwk) => ({ keys: [{ ...jwk, d: 'abc' }] })],
    ['publishes key_ops', KEYS, (jwk) => ({ keys: [{ ...jwk, key_ops: ['verify'] }] })],
    ['publishes a key to encrypt', KEYS, (jwk) => ({ keys: [{ ...jwk, use: 'enc' }] })],
    ['publishes a key twice', KEYS, (jwk) => ({ keys: [jwk, jwk] })],
    ['publishes a key without name', KEYS, (jwk) => ({ keys: [{ ...jwk, kid: undefined }] })],
  ])('%s', async (_, path, page) => {
    scene.issuer.pages.set(path, page(scene.key.jwk))
    expect(await federate(scene, now)).toMatchObject(refused('invalid_grant'))
  })
})

describe('STS refuses a request', () => {
  const GRANT_TYPE = 'unsupported_grant_type'
  test.each<[string, string, Readonly<Record<string, string | null>>]>([
    ['of another grant type', GRANT_TYPE, { grant_type: 'client_credentials' }],
    ['without grant type', GRANT_TYPE, { grant_type: null }],
    ['for a refresh token', 'invalid_request', { requested_token_type: `${TYPE}:refresh_token` }],
    ['for nothing', 'invalid_request', { requested_token_type: null }],
    ['with a SAML assertion', 'invalid_request', { subject_token_type: `${TYPE}:saml2` }],
    ['without kind of token', 'invalid_request', { subject_token_type: null }],
    [
      'with a JWT that it calls an access token',
      'invalid_grant',
      {
        subject_token_type: `${TYPE}:access_token`,
        audience: null,
        scope: null,
      },
    ],
    ['without scope', 'invalid_scope', { scope: null }],
    ['with a scope that is no URL', 'invalid_scope', { scope: 'cloud-platform' }],
    ['without audience', 'invalid_request', { audience: null }],
    ['with the audience of the JWT in https', 'invalid_request', { audience: `https:${AUDIENCE}` }],
    ['with an audience that is no provider', 'invalid_request', { audience: PROVIDER }],
    ['with a provider that is not there', 'invalid_target', { audience: `${AUDIENCE}x` }],
    [
      'with a pool that is not there',
      'invalid_target',
      {
        audience: AUDIENCE.replace('tvm-pool', 'other-pool'),
      },
    ],
    [
      'with the provider of another project',
      'invalid_target',
      {
        audience: AUDIENCE.replace('123456789012', '210987654321'),
      },
    ],
    ['with a parameter that nobody knows', 'invalid_request', { actor_token: 'x' }],
  ])('%s', async (_, code, parameters) => {
    expect(await federate(scene, now, {}, parameters)).toMatchObject(refused(code))
  })

  test.each([
    ['in JSON', { body: '{}', headers: { 'content-type': 'application/json' } }],
    [
      'with a repeated parameter',
      {
        body: new URLSearchParams([
          ['scope', 'a'],
          ['scope', 'b'],
        ]),
      },
    ],
  ])('%s', async (_, init) => {
    const said = await say(`${scene.gcp.url}/v1/token`, { method: 'POST', ...init })
    expect(said).toMatchObject(refused('invalid_request'))
  })

  test.each([
    ['a pool', 'tvm-pool'],
    ['a provider', PROVIDER],
  ])('to %s that is disabled, until it is enabled again', async (_, what) => {
    scene.gcp.disable(what)
    expect(await federate(scene, now)).toMatchObject(refused('invalid_target'))
    scene.gcp.disable(what, false)
    expect(await federate(scene, now)).toMatchObject({ status: 200 })
  })
})

describe('IAM Credentials', () => {
  const federated = async (claims = {}, parameters = {}) =>
    (await federate(scene, now, claims, parameters)).body['access_token'] as string
  const denied = (status: number, code: string) => ({ status, body: { error: { status: code } } })

  test('gives the account’s token for as long as asked', async () => {
    const { status, body } = await generate(scene.gcp, await federated())
    expect(status).toBe(200)
    expect(body).toEqual({
      accessToken: expect.stringMatching(/^ya29\.c\./) as string,
      expireTime: '2026-11-22T01:42:00Z',
    })
    expect(scene.gcp.calls.at(-1)).toMatchObject({ about: { account: ACCOUNT, lifetime: '900s' } })
  })

  test('gives an hour when nobody says how long', async () => {
    expect(await generate(scene.gcp, await federated(), { scope: [PLATFORM] })).toMatchObject({
      body: { expireTime: '2026-11-22T02:27:00Z' },
    })
  })

  test.each<[string, unknown]>([
    ['more than an hour', { scope: [PLATFORM], lifetime: '3601s' }],
    ['no time', { scope: [PLATFORM], lifetime: '0s' }],
    ['a time without unit', { scope: [PLATFORM], lifetime: '900' }],
    ['a time that is a number', { scope: [PLATFORM], lifetime: 900 }],
    ['no scope', { lifetime: '900s' }],
    ['an empty list of scopes', { scope: [], lifetime: '900s' }],
    ['a scope that is no URL', { scope: ['cloud-platform'] }],
    ['scopes in one text', { scope: PLATFORM }],
    ['delegates', { scope: [PLATFORM], delegates: ['projects/-/serviceAccounts/x'] }],
    ['an unknown member', { scope: [PLATFORM], ttl: '900s' }],
    ['no JSON', 'scope=x'],
  ])('refuses %s', async (_, body) => {
    expect(await generate(scene.gcp, await federated(), body)).toMatchObject(
      denied(400, 'INVALID_ARGUMENT'),
    )
  })

  test.each([
    [`projects/acme-prod/serviceAccounts/${ACCOUNT}`, 400, 'INVALID_ARGUMENT'],
    [
      'projects/-/serviceAccounts/other@acme-prod.iam.gserviceaccount.com',
      403,
      'PERMISSION_DENIED',
    ],
  ])('refuses the account %s', async (name, status, code) => {
    expect(await generate(scene.gcp, await federated(), undefined, name)).toMatchObject(
      denied(status, code),
    )
  })

  test('refuses whoever holds another grant', async () => {
    const other = { grant: 'other', sub: 'grant:other' }
    expect(await generate(scene.gcp, await federated(other))).toMatchObject({
      status: 403,
      body: {
        error: {
          code: 403,
          status: 'PERMISSION_DENIED',
          message:
            "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
        },
      },
    })
  })

  test.each<[string, string, number]>([
    ['the subject', `principal://iam.googleapis.com/${POOL}/subject/${JOB}`, 200],
    ['another subject', `principal://iam.googleapis.com/${POOL}/subject/${JOB}0`, 403],
    ['the whole pool', `principalSet://iam.googleapis.com/${POOL}/*`, 200],
    ['another pool', `principalSet://iam.googleapis.com/${POOL}-2/*`, 403],
    [
      'an attribute',
      `principalSet://iam.googleapis.com/${POOL}/attribute.repository_id/99120`,
      200,
    ],
    [
      'another value',
      `principalSet://iam.googleapis.com/${POOL}/attribute.repository_id/9912`,
      403,
    ],
  ])('knows %s in a binding', async (_, member, status) => {
    scene.gcp.unbind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member: MEMBER })
    scene.gcp.bind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member })
    expect((await generate(scene.gcp, await federated())).status).toBe(status)
  })

  test('refuses a role that does not hold the permission', async () => {
    scene.gcp.unbind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member: MEMBER })
    scene.gcp.bind(ACCOUNT, { role: 'roles/iam.serviceAccountUser', member: MEMBER })
    expect(await generate(scene.gcp, await federated())).toMatchObject(
      denied(403, 'PERMISSION_DENIED'),
    )
  })

  test('refuses an account that is disabled', async () => {
    const token = await federated()
    scene.gcp.disable(ACCOUNT)
    expect(await generate(scene.gcp, token)).toMatchObject(denied(400, 'FAILED_PRECONDITION'))
  })

  test('refuses a federated token without the scope', async () => {
    const token = await federated({}, { scope: `${PLATFORM}.read-only` })
    expect(await generate(scene.gcp, token)).toMatchObject(denied(403, 'PERMISSION_DENIED'))
  })

  test('refuses a federated token that has ended, and whose pool is disabled', async () => {
    const token = await federated()
    scene.gcp.disable('tvm-pool')
    expect(await generate(scene.gcp, token)).toMatchObject(denied(401, 'UNAUTHENTICATED'))
    scene.gcp.disable('tvm-pool', false)
    expect((await generate(scene.gcp, token)).status).toBe(200)
    now += 59_000
    expect(await generate(scene.gcp, token)).toMatchObject(denied(401, 'UNAUTHENTICATED'))
  })

  test('takes a federated token whose provider has been disabled since, as Google does', async () => {
    const token = await federated()
    scene.gcp.disable(PROVIDER)
    expect((await generate(scene.gcp, token)).status).toBe(200)
  })

  test.each(['', 'x', 'ya29.c.unknown'])('refuses the bearer token %j', async (token) => {
    expect(await generate(scene.gcp, token)).toMatchObject(denied(401, 'UNAUTHENTICATED'))
  })
})

describe('STS cuts a token down', () => {
  const RULE = {
    availableResource: '//storage.googleapis.com/projects/_/buckets/artifacts',
    availablePermissions: ['inRole:roles/storage.objectViewer'],
  }
  const options = (...rules: readonly unknown[]) => ({
    accessBoundary: { accessBoundaryRules: rules },
  })

  test('and says no end, since it stays that of the token that went in', async () => {
    const said = await cutDown(scene.gcp, await accountToken(scene, now), options(RULE))
    expect(said).toEqual({
      status: 200,
      body: {
        access_token: expect.stringMatching(/^ya29\.dr\./) as string,
        issued_token_type: `${TYPE}:access_token`,
        token_type: 'Bearer',
      },
    })
  })

  test.each<[string, unknown]>([
    ['no rules', options()],
    ['eleven rules', options(...Array.from({ length: 11 }, () => RULE))],
    ['no boundary', {}],
    ['no JSON', 'x'],
    ['a member more', { ...options(RULE), userProject: 'x' }],
    ['another service', options({ ...RULE, availableResource: '//bigquery.googleapis.com/x' })],
    ['every bucket', options({ ...RULE, availableResource: `${RULE.availableResource}*` })],
    ['no permission', options({ ...RULE, availablePermissions: [] })],
    ['a permission', options({ ...RULE, availablePermissions: ['storage.objects.get'] })],
    ['a role without inRole', options({ ...RULE, availablePermissions: ['roles/storage.admin'] })],
    [
      'a role of another service',
      options({
        ...RULE,
        availablePermissions: ['inRole:roles/iam.workloadIdentityUser'],
      }),
    ],
    [
      'a role that is not there',
      options({
        ...RULE,
        availablePermissions: ['inRole:roles/storage.nothing'],
      }),
    ],
    [
      'a condition that is no expression',
      options({
        ...RULE,
        availabilityCondition: { expression: 'resource.name.startsWith(' },
      }),
    ],
    [
      'a condition about something else',
      options({
        ...RULE,
        availabilityCondition: { expression: "request.time == 'x'" },
      }),
    ],
    [
      'a boundary that is too long',
      options({
        ...RULE,
        availabilityCondition: { expression: `resource.name == '${'x'.repeat(2000)}'` },
      }),
    ],
  ])('but not to %s', async (_, given) => {
    expect(await cutDown(scene.gcp, await accountToken(scene, now), given)).toMatchObject(
      refused('invalid_request'),
    )
  })

  test('but only that of an account, once, and while it lives', async () => {
    const federated = (await federate(scene, now)).body['access_token'] as string
    expect(await cutDown(scene.gcp, federated, options(RULE))).toMatchObject(
      refused('invalid_request'),
    )
    const token = await accountToken(scene, now)
    const once = (await cutDown(scene.gcp, token, options(RULE))).body['access_token'] as string
    expect(await cutDown(scene.gcp, once, options(RULE))).toMatchObject(refused('invalid_request'))
    const member = `serviceAccount:${ACCOUNT}`
    scene.gcp.bind(ACCOUNT, { role: 'roles/iam.serviceAccountTokenCreator', member })
    expect(await generate(scene.gcp, once)).toMatchObject({ status: 403 })
    expect(await generate(scene.gcp, token)).toMatchObject({ status: 200 })
    now += 900_000
    expect(await cutDown(scene.gcp, token, options(RULE))).toMatchObject(refused('invalid_grant'))
  })

  test('but not with a scope or an audience', async () => {
    const token = await accountToken(scene, now)
    for (const more of [{ scope: PLATFORM }, { audience: AUDIENCE }])
      expect(await cutDown(scene.gcp, token, options(RULE), more)).toMatchObject(
        refused('invalid_request'),
      )
  })
})

describe('IAM refuses to set up', () => {
  const provider = (change: Partial<ProviderInput>) => () =>
    scene.gcp.createProvider({
      ...tvmProvider({ pool: 'tvm-pool', id: 'another', issuerUri: ISSUER }),
      ...change,
    })
  const mapping = (more: Readonly<Record<string, string>>) =>
    provider({ attributeMapping: { 'google.subject': 'assertion.sub', ...more } })

  test.each<[string, () => unknown]>([
    ['a pool of three characters', () => scene.gcp.createPool('tvm')],
    ['a pool of 33 characters', () => scene.gcp.createPool('x'.repeat(33))],
    ['a pool in Google’s name', () => scene.gcp.createPool('gcp-pool')],
    ['a pool twice', () => scene.gcp.createPool('tvm-pool')],
    ['a provider of three characters', provider({ id: 'tvm' })],
    ['a provider twice', provider({ id: 'tvm-broker' })],
    ['a provider in no pool', provider({ pool: 'nowhere' })],
    ['an issuer without https', provider({ issuerUri: 'http://tvm.example.com' })],
    ['an issuer with a query', provider({ issuerUri: `${ISSUER}/?x` })],
    ['no subject', provider({ attributeMapping: { 'attribute.grant': 'assertion.grant' } })],
    ['an attribute in capitals', mapping({ 'attribute.Grant': 'assertion.grant' })],
    ['groups', mapping({ 'google.groups': 'assertion.grant' })],
    ['a mapping that is no expression', mapping({ 'attribute.grant': 'assertion.' })],
    ['a mapping of something else', mapping({ 'attribute.grant': 'google.subject' })],
    ['a condition of something else', provider({ attributeCondition: "request.x == 'y'" })],
    ['eleven audiences', provider({ allowedAudiences: Array.from({ length: 11 }, String) })],
    ['keys that are none', provider({ jwksJson: '{}' })],
    [
      'keys with a certificate',
      () => provider({ jwksJson: JSON.stringify({ keys: [{ ...scene.key.jwk, x5c: 'MII' }] }) })(),
    ],
    ['an account of another domain', () => scene.gcp.createServiceAccount('deploy@acme.com')],
    ['an account twice', () => scene.gcp.createServiceAccount(ACCOUNT)],
    ['a bucket in capitals', () => scene.gcp.createBucket('Artifacts')],
    [
      'a binding of nothing',
      () => scene.gcp.bind('nothing', { role: 'roles/storage.admin', member: MEMBER }),
    ],
    [
      'a binding of a role that is not there',
      () => scene.gcp.bind('artifacts', { role: 'roles/owner', member: MEMBER }),
    ],
    [
      'a binding of everybody',
      () => scene.gcp.bind('artifacts', { role: 'roles/storage.admin', member: 'allUsers' }),
    ],
  ])('%s', (_, setUp) => {
    expect(setUp).toThrow(GcpError)
  })
})

describe('a fault that was ordered', () => {
  const fail = async (fault: Fault): Promise<Said> => {
    scene.gcp.failNext(fault)
    return federate(scene, now)
  }

  test.each<[Fault, Said]>([
    [
      { kind: 'error', code: 'invalid_target', message: 'as ordered' },
      { status: 400, body: { error: 'invalid_target', error_description: 'as ordered' } },
    ],
    [
      { kind: 'error', code: 'temporarily_unavailable' },
      {
        status: 503,
        body: { error: 'temporarily_unavailable', error_description: 'temporarily_unavailable' },
      },
    ],
    [
      { kind: 'body', body: '{"a":1}', status: 502 },
      { status: 502, body: { a: 1 } },
    ],
  ])('comes once: %j', async (fault, said) => {
    expect(await fail(fault)).toEqual(said)
    expect(await federate(scene, now)).toMatchObject({ status: 200 })
  })

  test.each(['reset', 'half'] as const)('breaks the connection: %s', async (kind) => {
    await expect(fail({ kind })).rejects.toThrow()
  })

  test('keeps silent', async () => {
    scene.gcp.failNext({ kind: 'hang' })
    const asking = fetch(`${scene.gcp.url}/v1/token`, {
      method: 'POST',
      signal: AbortSignal.timeout(100),
    })
    await expect(asking).rejects.toThrow()
    expect(scene.gcp.calls.at(-1)).toMatchObject({ status: null, code: null })
  })

  test('waits for its operation', async () => {
    scene.gcp.failNext({ kind: 'error', operation: 'GenerateAccessToken', code: 'UNAVAILABLE' })
    const { status, body } = await federate(scene, now)
    expect(status).toBe(200)
    expect(await generate(scene.gcp, body['access_token'] as string)).toMatchObject({
      status: 503,
      body: { error: { code: 503, status: 'UNAVAILABLE' } },
    })
  })
})

test('an unknown path is nobody’s', async () => {
  expect(await say(`${scene.gcp.url}/v1/other`, { method: 'POST' })).toMatchObject({ status: 401 })
  expect((await exchange(scene.gcp, {})).status).toBe(400)
})
