import { request as httpsRequest } from 'node:https'
import { setDefaultCACertificates, getCACertificates } from 'node:tls'
import type { JWTPayload } from 'jose'
import { createRemoteJWKSet, decodeJwt, exportSPKI, importJWK, jwtVerify } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  goodClaims,
  ISSUER,
  makeKey,
  signToken,
  startIssuer,
  type ScriptedIssuer,
  type TestKey,
} from '../aws/fixture.ts'
import {
  startEntra,
  type EntraSettings,
  type FederatedCredential,
  type LocalEntra,
} from './index.ts'

const NOW = Date.parse('2026-11-22T01:27:00.500Z')
const SECONDS = Math.floor(NOW / 1000)
const TENANT = '6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11'
const OTHER_TENANT = '5c1d2e3f-4a5b-4c6d-8e7f-9a0b1c2d3e4f'
const CLIENT = 'b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b'
const BARE_CLIENT = '22222222-2222-4222-8222-222222222222'
const DISABLED_CLIENT = '33333333-3333-4333-8333-333333333333'
const STRANGER = '44444444-4444-4444-8444-444444444444'
const API = '55555555-5555-4555-8555-555555555555'
const SUBSCRIPTION = '0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a'
const FOREIGN_SUBSCRIPTION = '66666666-6666-4666-8666-666666666666'
const ARM_SCOPE = 'https://management.azure.com/.default'
const AUDIENCE = 'api://AzureADTokenExchange'

const CREDENTIAL: FederatedCredential = {
  name: 'tvm-payments-deploy',
  issuer: ISSUER,
  subject: 'grant:payments-deploy',
  audiences: [AUDIENCE],
}

const DISCOVERY = { issuer: ISSUER, jwks_uri: `${ISSUER}/.well-known/jwks.json` }

let rsa: TestKey
let otherRsa: TestKey
let ec: TestKey
let issuer: ScriptedIssuer
let entra: LocalEntra
let clock = NOW
const trusted = getCACertificates('default')

const settings = (): EntraSettings => ({
  now: () => clock,
  resolve: { [ISSUER]: issuer.url },
  issuerTimeout: 300,
  tenants: [
    {
      id: TENANT,
      applications: [
        { clientId: CLIENT, federatedCredentials: [CREDENTIAL] },
        { clientId: BARE_CLIENT },
        { clientId: DISABLED_CLIENT, disabled: true, federatedCredentials: [CREDENTIAL] },
        { clientId: STRANGER, federatedCredentials: [CREDENTIAL] },
      ],
      resources: [{ appId: API, identifierUris: ['https://risk.acme.com'], tokenVersion: 2 }],
      subscriptions: [{ id: SUBSCRIPTION, displayName: 'Payments', readers: [CLIENT] }],
    },
    {
      id: OTHER_TENANT,
      applications: [{ clientId: CLIENT, federatedCredentials: [CREDENTIAL] }],
      subscriptions: [{ id: FOREIGN_SUBSCRIPTION, displayName: 'Other', readers: [CLIENT] }],
      allowedIssuers: ['https://token.actions.githubusercontent.com'],
    },
  ],
})

beforeAll(async () => {
  ;[rsa, otherRsa, ec] = await Promise.all([
    makeKey('RS256', 'key-1'),
    makeKey('RS256', 'key-1'),
    makeKey('ES256', 'key-ec'),
  ])
  issuer = await startIssuer()
})

afterAll(() => {
  issuer.close()
  setDefaultCACertificates(trusted)
})

beforeEach(async () => {
  clock = NOW
  issuer.pages.clear()
  issuer.pages.set('/.well-known/openid-configuration', DISCOVERY)
  issuer.pages.set('/.well-known/jwks.json', { keys: [rsa.jwk, ec.jwk] })
  entra = await startEntra(settings())
  setDefaultCACertificates([...trusted, entra.ca])
})

afterEach(() => entra.close())

/** undefined takes a claim away. */
type Change = Readonly<Record<string, unknown>>

const CLAIMS = (change: Change = {}): JWTPayload => {
  const claims: Change = {
    iss: ISSUER,
    sub: CREDENTIAL.subject,
    aud: AUDIENCE,
    iat: SECONDS - 5,
    nbf: SECONDS - 5,
    exp: SECONDS + 60,
    jti: '01j0000000000000000000000b',
    ...change,
  }
  return claims
}

/** A broker's token that is right in everything but `change`. */
const assertion = (change: Change = {}): Promise<string> =>
  signToken(CLAIMS(change), { ...rsa, alg: 'RS256', kid: 'key-1' })

type Form = Readonly<Record<string, string | null>>

/** The form of a call that is right in everything but `change`; null takes a parameter away. */
const formOf = async (change: Form = {}): Promise<URLSearchParams> => {
  const all: Form = {
    client_id: CLIENT,
    scope: ARM_SCOPE,
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: change['client_assertion'] ?? (await assertion()),
    ...change,
  }
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(all)) if (value !== null) form.append(name, value)
  return form
}

const post = (form: URLSearchParams | string, tenant = TENANT, init: RequestInit = {}) =>
  fetch(`${entra.url}/${tenant}/oauth2/v2.0/token`, { method: 'POST', body: form, ...init })

interface Body {
  readonly access_token?: string
  readonly expires_in?: number
  readonly error?: string
  readonly error_codes?: readonly number[]
  readonly error_description?: string
  readonly correlation_id?: string
}

const ask = async (change: Form = {}, tenant = TENANT) => {
  const response = await post(await formOf(change), tenant)
  return { status: response.status, body: (await response.json()) as Body }
}

const tokenFor = async (scope = ARM_SCOPE): Promise<string> => {
  const { body } = await ask({ scope })
  return body.access_token!
}

const subscription = (token: string | null, id = SUBSCRIPTION, query = '?api-version=2022-12-01') =>
  fetch(`${entra.url}/subscriptions/${id}${query}`, {
    headers: token === null ? {} : { authorization: `Bearer ${token}` },
  })

describe('Entra gives a token', () => {
  test('for an hour to an hour and a half, for the resource and the app', async () => {
    const { status, body } = await ask()
    expect(status).toBe(200)
    expect(body).toMatchObject({ token_type: 'Bearer' })
    expect(body.expires_in).toBeGreaterThanOrEqual(3600)
    expect(body.expires_in).toBeLessThanOrEqual(5400)
    const jwks = createRemoteJWKSet(new URL(`${entra.url}/${TENANT}/discovery/v2.0/keys`))
    const { payload } = await jwtVerify(body.access_token!, jwks, {
      issuer: `https://sts.windows.net/${TENANT}/`,
      audience: 'https://management.azure.com',
      currentDate: new Date(NOW),
    })
    expect(payload).toMatchObject({
      tid: TENANT,
      appid: CLIENT,
      ver: '1.0',
      idtyp: 'app',
      exp: SECONDS + body.expires_in!,
      uti: expect.stringMatching(/^[\w-]{22}$/) as string,
    })
  })

  test('of another lifetime and another uti each time', async () => {
    const tokens = await Promise.all(Array.from({ length: 8 }, () => tokenFor()))
    expect(new Set(tokens.map((token) => decodeJwt(token)['uti'])).size).toBe(8)
    expect(new Set(tokens.map((token) => decodeJwt(token).exp)).size).toBeGreaterThan(1)
  })

  test('of version 2.0 where the resource wants it, with its id as audience', async () => {
    const claims = decodeJwt(await tokenFor('https://risk.acme.com/.default'))
    expect(claims).toMatchObject({ aud: API, azp: CLIENT, ver: '2.0' })
    expect(claims['appid']).toBeUndefined()
  })

  test('to no cache, and notes the call without a secret', async () => {
    const id = '77777777-7777-4777-8777-777777777777'
    const form = await formOf()
    const response = await post(form, TENANT, { headers: { 'client-request-id': id } })
    expect(response.headers.get('cache-control')).toContain('no-store')
    const { access_token } = (await response.json()) as Body
    expect(entra.calls).toHaveLength(1)
    expect(entra.calls[0]).toMatchObject({
      operation: 'Token',
      status: 200,
      code: null,
      correlationId: id,
      about: { tenant: TENANT, client: CLIENT, scope: ARM_SCOPE, subject: CREDENTIAL.subject },
    })
    const noted = JSON.stringify(entra.calls)
    for (const secret of [access_token!, form.get('client_assertion')!])
      for (const part of secret.split('.')) expect(noted).not.toContain(part)
  })
})

describe('Entra refuses an assertion', () => {
  test.each<[string, number, Change]>([
    ['of another issuer', 700211, { iss: 'https://evil.example' }],
    ['of the issuer with a trailing slash', 700211, { iss: `${ISSUER}/` }],
    ['of the issuer in capitals', 700211, { iss: ISSUER.toUpperCase() }],
    ['of Entra itself', 700222, { iss: `https://sts.windows.net/${TENANT}/` }],
    ['of another subject', 700213, { sub: 'grant:payments-test' }],
    ['of a longer subject', 700213, { sub: 'grant:payments-deploy2' }],
    ['of a subject with a wildcard', 700213, { sub: 'grant:*' }],
    ['of the subject in capitals', 7002138, { sub: 'grant:Payments-Deploy' }],
    ['for another audience', 700212, { aud: 'sts.amazonaws.com' }],
    ['for the audience in other case', 700212, { aud: 'api://azureadtokenexchange' }],
    ['for two audiences', 50027, { aud: [AUDIENCE, 'x'] }],
    ['for a list of one', 50027, { aud: [AUDIENCE] }],
    ['that has expired', 700024, { exp: SECONDS }],
    ['that is not valid yet', 700024, { nbf: SECONDS + 1 }],
    ['that was issued in the future', 700024, { iat: SECONDS + 1 }],
    ['without exp', 50027, { exp: undefined }],
    ['without nbf', 50027, { nbf: undefined }],
    ['without sub', 50027, { sub: undefined }],
    ['without jti', 50027, { jti: undefined }],
  ])('%s', async (_, code, change) => {
    const { status, body } = await ask({ client_assertion: await assertion(change) })
    expect(body).toMatchObject({ error: 'invalid_client', error_codes: [code] })
    expect(body.error_description).toMatch(new RegExp(`^AADSTS${code}: .* Trace ID: `))
    expect(status).toBe(401)
  })

  test.each<[string, number, () => Promise<string> | string]>([
    [
      'signed with another key under the kid of ours',
      50013,
      () => signed(otherRsa, 'RS256', 'key-1'),
    ],
    ['signed with a kid that is not published', 7000272, () => signed(rsa, 'RS256', 'key-2')],
    ['signed without a kid', 50027, () => signToken(CLAIMS(), { ...rsa, alg: 'RS256' })],
    ['signed ES256', 50027, () => signed(ec, 'ES256', 'key-ec')],
    ['signed PS256', 50027, pss],
    ['signed HS256 with the public key', 50027, hmac],
    ['that names an EC key for RS256', 7000272, () => signed(rsa, 'RS256', 'key-ec')],
    ['not signed at all', 50027, unsigned],
    ['with a signature cut short', 50013, shortened],
    ['with padding', 50027, async () => `${await assertion()}=`],
    ['that is no JWT', 50027, () => 'hello'],
    [
      'with a payload that is a list',
      50027,
      () => `${part({ alg: 'RS256', kid: 'key-1' })}.${part([])}.YQ`,
    ],
  ])('%s', async (_, code, make) => {
    const { body } = await ask({ client_assertion: await make() })
    expect(body.error_codes).toEqual([code])
  })

  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = (key: TestKey, alg: string, kid: string) =>
    signToken(CLAIMS(), { privateKey: key.privateKey, alg, kid })
  async function pss(): Promise<string> {
    const { privateKey } = await makeKey('PS256', 'key-1')
    return signToken(CLAIMS(), { privateKey, alg: 'PS256', kid: 'key-1' })
  }
  async function hmac(): Promise<string> {
    const key = await importJWK(rsa.jwk, 'RS256')
    if (key instanceof Uint8Array) throw new Error('not a public key')
    const privateKey = new TextEncoder().encode(await exportSPKI(key))
    return signToken(CLAIMS(), { privateKey, alg: 'HS256', kid: 'key-1' })
  }
  async function shortened(): Promise<string> {
    const [header, payload, signature = ''] = (await assertion()).split('.')
    const short = Buffer.from(signature, 'base64url').subarray(1).toString('base64url')
    return [header, payload, short].join('.')
  }
  function unsigned(): string {
    return `${part({ alg: 'none', kid: 'key-1' })}.${part(CLAIMS())}.YQ`
  }

  test('of AWS, which the broker makes too', async () => {
    const forAws = await signToken(goodClaims(NOW), { ...rsa, alg: 'RS256', kid: 'key-1' })
    expect((await ask({ client_assertion: forAws })).body.error_codes).toEqual([700212])
  })

  test('where the tenant allows other issuers only', async () => {
    expect((await ask({}, OTHER_TENANT)).body.error_codes).toEqual([700238])
  })

  test('as soon as the federated credential is gone, and takes one as soon as it is there', async () => {
    entra.deleteFederatedCredential(TENANT, CLIENT, CREDENTIAL.name)
    expect((await ask()).body.error_codes).toEqual([70025])
    entra.createFederatedCredential(TENANT, CLIENT, CREDENTIAL)
    expect((await ask()).status).toBe(200)
  })
})

describe('Entra asks the issuer for its keys, and refuses', () => {
  test.each<[string, number, string, unknown]>([
    ['no discovery', 90061, 'openid-configuration', 404],
    ['a broken discovery', 90061, 'openid-configuration', Buffer.from('{')],
    ['a redirect', 90061, 'openid-configuration', new URL('http://127.0.0.1:9/')],
    ['no answer', 90061, 'openid-configuration', 'hang'],
    [
      'the discovery of another',
      90061,
      'openid-configuration',
      { ...DISCOVERY, issuer: 'https://x.y' },
    ],
    ['keys over http', 90061, 'openid-configuration', { ...DISCOVERY, jwks_uri: 'http://a.b/c' }],
    ['keys elsewhere', 90061, 'openid-configuration', { ...DISCOVERY, jwks_uri: 'https://a.b/c' }],
    ['no keys', 90061, 'jwks.json', {}],
    ['an error', 90061, 'jwks.json', 500],
    ['an empty list', 7000272, 'jwks.json', { keys: [] }],
  ])('%s', async (_, code, page, content) => {
    issuer.pages.set(`/.well-known/${page}`, content)
    expect((await ask()).body.error_codes).toEqual([code])
  })

  test('the 101st key, and takes the 100th', async () => {
    const others = (n: number) =>
      Array.from({ length: n }, (_, i) => ({ ...rsa.jwk, kid: `k${i}` }))
    issuer.pages.set('/.well-known/jwks.json', { keys: [...others(99), rsa.jwk] })
    expect((await ask()).status).toBe(200)
    issuer.pages.set('/.well-known/jwks.json', { keys: [...others(100), rsa.jwk] })
    expect((await ask()).body.error_codes).toEqual([7000272])
  })

  test('a key that is for encryption', async () => {
    issuer.pages.set('/.well-known/jwks.json', { keys: [{ ...rsa.jwk, use: 'enc' }] })
    expect((await ask()).body.error_codes).toEqual([7000272])
  })
})

describe('Entra refuses a request', () => {
  test.each<[string, number, string, Form]>([
    ['of an app that is not there', 700016, 'unauthorized_client', { client_id: API }],
    ['of an app by its name', 700016, 'unauthorized_client', { client_id: 'payments' }],
    ['of a disabled app', 7000112, 'unauthorized_client', { client_id: DISABLED_CLIENT }],
    ['of an app without a credential', 70025, 'invalid_client', { client_id: BARE_CLIENT }],
    ['without client_id', 900144, 'invalid_request', { client_id: null }],
    ['without grant_type', 900144, 'invalid_request', { grant_type: null }],
    ['for another grant', 70003, 'unsupported_grant_type', { grant_type: 'password' }],
    ['without assertion', 7000216, 'invalid_client', { client_assertion: null }],
    ['without its type', 7000216, 'invalid_client', { client_assertion_type: null }],
    ['with a secret as well', 90100, 'invalid_request', { client_secret: 'x' }],
    ['without scope', 900144, 'invalid_request', { scope: null }],
    ['for an empty scope', 70011, 'invalid_scope', { scope: ' ' }],
    ['for two resources', 70011, 'invalid_scope', { scope: `${ARM_SCOPE} ${ARM_SCOPE}` }],
    ['without .default', 1002012, 'invalid_scope', { scope: 'https://management.azure.com' }],
    [
      'for a resource that is not there',
      500011,
      'invalid_resource',
      { scope: 'https://a.b/.default' },
    ],
  ])('%s', async (_, code, error, change) => {
    const { status, body } = await ask(change)
    expect(body).toMatchObject({ error, error_codes: [code] })
    expect(status).toBe(error === 'invalid_client' ? 401 : 400)
  })

  test.each([
    ['to common', 'common', 50059],
    ['to organizations', 'organizations', 50059],
    ['to a domain', 'acme.onmicrosoft.com', 90002],
    ['to a tenant that is not there', STRANGER, 90002],
  ])('%s', async (_, tenant, code) => {
    expect((await ask({}, tenant)).body.error_codes).toEqual([code])
  })

  test('that says a parameter twice', async () => {
    const form = await formOf()
    form.append('scope', ARM_SCOPE)
    expect(await (await post(form)).json()).toMatchObject({ error_codes: [90100] })
  })

  test('in JSON, and by GET', async () => {
    const json = await post('{}', TENANT, { headers: { 'content-type': 'application/json' } })
    expect(await json.json()).toMatchObject({ error_codes: [900144] })
    const get = await fetch(`${entra.url}/${TENANT}/oauth2/v2.0/token`)
    expect(await get.json()).toMatchObject({ error_codes: [900561] })
  })

  test('in plain HTTP or under a certificate that nobody trusts', async () => {
    await expect(fetch(entra.url.replace('https', 'http'))).rejects.toThrow()
    const { promise, resolve } = Promise.withResolvers<string>()
    httpsRequest(entra.url, { ca: [], agent: false })
      .on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
      .end()
    expect(await promise).toMatch(/^(?:SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_VERIFY_LEAF_SIGNATURE)$/)
    expect(entra.calls).toEqual([])
  })
})

describe('Graph refuses a federated credential', () => {
  test.each<[string, Partial<FederatedCredential>]>([
    ['without audience', { audiences: [] }],
    ['with two audiences', { audiences: [AUDIENCE, 'x'] }],
    ['with a subject of 601 characters', { subject: 'x'.repeat(601) }],
    ['with an empty subject', { subject: '' }],
    ['with an issuer of http', { issuer: 'http://tvm.example.com' }],
    ['with an issuer that has a query', { issuer: `${ISSUER}?x` }],
    ['with a name of two characters', { name: 'ab' }],
    ['with a name that no URL takes', { name: 'a b c' }],
    ['with a name that is taken', { name: CREDENTIAL.name, subject: 'grant:x' }],
    ['with an issuer and subject that are taken', { subject: CREDENTIAL.subject }],
  ])('%s', (_, change) => {
    const input = { ...CREDENTIAL, name: 'another', subject: 'grant:another', ...change }
    expect(() => entra.createFederatedCredential(TENANT, CLIENT, input)).toThrow()
  })

  test('that is the 21st', () => {
    const add = (i: number) =>
      entra.createFederatedCredential(TENANT, BARE_CLIENT, {
        ...CREDENTIAL,
        name: `tvm-${i}`,
        subject: `grant:g${i}`,
      })
    for (let i = 0; i < 20; i++) add(i)
    expect(() => add(20)).toThrow('at most 20')
  })

  test('of the loopback, unless it is told to be unlike Entra', async () => {
    const loopback = { ...CREDENTIAL, name: 'local', issuer: 'http://127.0.0.1:8080' }
    expect(() => entra.createFederatedCredential(TENANT, CLIENT, loopback)).toThrow()
    const lax = await startEntra({ ...settings(), acceptHttpLoopbackIssuersUnlikeEntra: true })
    expect(() => lax.createFederatedCredential(TENANT, CLIENT, loopback)).not.toThrow()
    await lax.close()
  })
})

describe('Azure Resource Manager', () => {
  test('shows a subscription to an app that may read it', async () => {
    const response = await subscription(await tokenFor())
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({
      id: `/subscriptions/${SUBSCRIPTION}`,
      tenantId: TENANT,
      displayName: 'Payments',
    })
  })

  const wrongParts = async (index: number, change: (part: string) => string): Promise<string> => {
    const parts = (await tokenFor()).split('.')
    parts[index] = change(parts[index]!)
    return parts.join('.')
  }
  const claims = (payload: string) =>
    JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
  const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

  test.each<[string, number, string, () => Promise<Response>]>([
    ['no token', 401, 'AuthenticationFailed', () => subscription(null)],
    ['no JWT', 401, 'InvalidAuthenticationToken', () => subscription('hello')],
    [
      "the broker's own token",
      401,
      'InvalidAuthenticationToken',
      async () => subscription(await assertion()),
    ],
    [
      'a longer exp',
      401,
      'InvalidAuthenticationToken',
      async () =>
        subscription(
          await wrongParts(1, (payload) => encoded({ ...claims(payload), exp: SECONDS + 99_999 })),
        ),
    ],
    [
      'alg none',
      401,
      'InvalidAuthenticationToken',
      async () => subscription(await wrongParts(0, () => encoded({ alg: 'none' }))),
    ],
    [
      'a header that is no JSON',
      401,
      'InvalidAuthenticationToken',
      async () => subscription(await wrongParts(0, () => 'abc')),
    ],
    [
      'a token for another resource',
      401,
      'InvalidAuthenticationTokenAudience',
      async () => subscription(await tokenFor('https://risk.acme.com/.default')),
    ],
    [
      'a token of another tenant',
      401,
      'InvalidAuthenticationTokenTenant',
      async () => subscription(await tokenFor(), FOREIGN_SUBSCRIPTION),
    ],
    [
      'an app without a role on it',
      403,
      'AuthorizationFailed',
      async () => subscription((await ask({ client_id: STRANGER })).body.access_token!),
    ],
    [
      'no api-version',
      400,
      'MissingApiVersionParameter',
      async () => subscription(await tokenFor(), SUBSCRIPTION, ''),
    ],
    [
      'a subscription that is not there',
      404,
      'SubscriptionNotFound',
      async () => subscription(await tokenFor(), API),
    ],
  ])('refuses %s', async (_, status, code, call) => {
    const response = await call()
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { code } })
    expect(response.headers.has('www-authenticate')).toBe(status === 401)
  })

  test('refuses a token once it has ended, whatever became of its app', async () => {
    const token = await tokenFor()
    entra.deleteFederatedCredential(TENANT, CLIENT, CREDENTIAL.name)
    clock = NOW + 3_599_000
    expect((await subscription(token)).status).toBe(200)
    clock = NOW + 5_400_000
    expect(await (await subscription(token)).json()).toMatchObject({
      error: { code: 'ExpiredAuthenticationToken' },
    })
  })
})

describe('a fault', () => {
  test('of an operation waits for it', async () => {
    entra.failNext({ operation: 'GetSubscription', kind: 'status', status: 503 })
    const token = await tokenFor()
    expect((await subscription(token)).status).toBe(503)
    expect((await subscription(token)).status).toBe(200)
  })

  test.each<[string, Parameters<LocalEntra['failNext']>[0], number]>([
    ['an error of Entra', { kind: 'error', code: 90033 }, 400],
    ['an error under another status', { kind: 'error', code: 90033, status: 503 }, 503],
    ['throttling', { kind: 'status', status: 429, headers: { 'retry-after': '5' } }, 429],
  ])('is %s', async (_, fault, status) => {
    entra.failNext(fault)
    expect((await post(await formOf())).status).toBe(status)
  })

  test.each<[string, Parameters<LocalEntra['failNext']>[0]]>([
    ['a connection that is cut', { kind: 'reset' }],
    ['half an answer', { kind: 'half' }],
  ])('is %s', async (_, fault) => {
    entra.failNext(fault)
    await expect(post(await formOf()).then((response) => response.text())).rejects.toThrow()
    expect(entra.calls[0]).toMatchObject({ status: null })
  })

  test('is no answer until the client gives up', async () => {
    entra.failNext({ kind: 'hang' })
    const signal = AbortSignal.timeout(200)
    await expect(post(await formOf(), TENANT, { signal })).rejects.toThrow()
  })
})
