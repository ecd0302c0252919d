import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  X509Certificate,
  type JsonWebKey,
} from 'node:crypto'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Fault } from './fault.ts'
import { startGitHub, type Endpoint, type LocalGitHub } from './github.ts'
import { idOf, type Job, type JobOptions } from './job.ts'

const NOW = Date.UTC(2026, 10, 22, 12)
const SECONDS = NOW / 1000
const BROKER = 'https://tvm.example.com/jkt/abc?x=1&y'

let now = NOW
let github: LocalGitHub

beforeAll(async () => {
  github = await startGitHub({ now: () => now })
})
afterEach(async () => {
  now = NOW
  github.honest()
  github.mend()
  await github.speak()
})
afterAll(() => github.close())

interface Jwks {
  readonly keys: readonly (Readonly<Record<string, string>> & { readonly x5c?: string[] })[]
}

const jwks = async (): Promise<Jwks> => (await (await fetch(github.jwksUri)).json()) as Jwks

/** As an action asks: the audience appended to the URL it was given. */
const ask = (job: Job, audience: string | null = BROKER, signal?: AbortSignal): Promise<Response> =>
  fetch(job.requestUrl + (audience === null ? '' : `&audience=${encodeURIComponent(audience)}`), {
    headers: { authorization: `bearer ${job.requestToken}` },
    redirect: 'manual',
    ...(signal && { signal }),
  })

const askedToken = async (job: Job, audience: string | null = BROKER): Promise<string> =>
  ((await (await ask(job, audience)).json()) as { value: string }).value

const verify = (token: string, from = github) =>
  jwtVerify(token, createRemoteJWKSet(new URL(from.jwksUri)), {
    issuer: 'https://token.actions.githubusercontent.com',
    audience: BROKER,
    algorithms: ['RS256'],
    typ: 'JWT',
    currentDate: new Date(now),
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti'],
  })

describe('an honest token', () => {
  it('verifies against the served keys and carries what GitHub says of a job', async () => {
    const job = github.job({ environment: 'production', properties: { env_tier: 'gold' } })
    const { payload, protectedHeader } = await verify(await askedToken(job))
    expect(payload).toEqual({
      jti: expect.stringMatching(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/) as string,
      iss: 'https://token.actions.githubusercontent.com',
      aud: BROKER,
      sub: 'repo:acme@8841/payments@99120:environment:production',
      iat: SECONDS,
      nbf: SECONDS - 600,
      exp: SECONDS + 300,
      actor: 'octocat',
      actor_id: '583231',
      base_ref: '',
      check_run_id: expect.stringMatching(/^517252\d{5}$/) as string,
      environment: 'production',
      environment_node_id: expect.stringMatching(/^EN_/) as string,
      event_name: 'push',
      head_ref: '',
      job_workflow_ref: 'acme/payments/.github/workflows/deploy.yml@refs/heads/main',
      job_workflow_sha: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
      ref: 'refs/heads/main',
      ref_protected: 'true',
      ref_type: 'branch',
      repo_property_env_tier: 'gold',
      repository: 'acme/payments',
      repository_id: '99120',
      repository_owner: 'acme',
      repository_owner_id: '8841',
      repository_visibility: 'private',
      run_attempt: '1',
      run_id: expect.stringMatching(/^181709\d{5}$/) as string,
      run_number: expect.stringMatching(/^\d+$/) as string,
      runner_environment: 'github-hosted',
      sha: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
      workflow: 'deploy',
      workflow_ref: 'acme/payments/.github/workflows/deploy.yml@refs/heads/main',
      workflow_sha: expect.stringMatching(/^[0-9a-f]{40}$/) as string,
    })
    expect(protectedHeader).toEqual({
      typ: 'JWT',
      alg: 'RS256',
      kid: github.keys.current,
      x5t: Buffer.from(github.keys.current, 'hex').toString('base64url'),
    })
  })

  it('is for the owner when no audience is asked for', async () => {
    const token = await askedToken(github.job(), null)
    expect(decodeJwt(token).aud).toBe('https://github.com/acme')
    expect(github.audiences.at(-1)).toBeNull()
  })

  it('is another one each time, of another job under another id', async () => {
    const job = github.job()
    const tokens = [await askedToken(job), await askedToken(job), github.token(github.job())]
    const claims = tokens.map((token) => decodeJwt(token))
    expect(new Set(claims.map(({ jti }) => jti)).size).toBe(3)
    expect(new Set(claims.map((each) => each['check_run_id'])).size).toBe(2)
  })

  it.each<readonly [string, JobOptions, Readonly<Record<string, unknown>>]>([
    ['old subject', { subject: 'legacy' }, { sub: 'repo:acme/payments:ref:refs/heads/main' }],
    [
      'environment with a colon',
      { subject: 'legacy', environment: 'eu:prod' },
      { sub: 'repo:acme/payments:environment:eu%3Aprod', environment: 'eu:prod' },
    ],
    [
      'pull request',
      { event: 'pull_request', headRef: 'fix' },
      {
        sub: 'repo:acme@8841/payments@99120:pull_request',
        ref: 'refs/pull/7/merge',
        ref_protected: 'false',
        head_ref: 'fix',
        base_ref: 'main',
        workflow_ref: 'acme/payments/.github/workflows/deploy.yml@refs/pull/7/merge',
      },
    ],
    [
      'pull_request_target, which carries the base branch',
      { event: 'pull_request_target', headRef: 'evil', fork: 'octo-org/payments' },
      { ref: 'refs/heads/main', head_ref: 'evil', base_ref: 'main', actor: 'octo-org' },
    ],
    [
      'tag',
      { ref: 'refs/tags/v1' },
      {
        ref_type: 'tag',
        ref_protected: 'false',
        sub: 'repo:acme@8841/payments@99120:ref:refs/tags/v1',
      },
    ],
    ['server without check_run_id', { checkRunId: null }, { check_run_id: undefined }],
    [
      'other repository',
      { repository: 'octo-org/api' },
      { repository_id: idOf('octo-org/api'), repository_owner_id: idOf('octo-org') },
    ],
    [
      'reusable workflow',
      { jobWorkflowRef: 'a/b/.github/workflows/c.yml@v1' },
      {
        job_workflow_ref: 'a/b/.github/workflows/c.yml@v1',
        workflow_ref: 'acme/payments/.github/workflows/deploy.yml@refs/heads/main',
      },
    ],
    [
      'enterprise',
      { enterprise: { slug: 'acme', id: '2' } },
      { enterprise: 'acme', enterprise_id: '2' },
    ],
    [
      'claims laid over',
      { claims: { sha: undefined, aud: ['a', 'b'] } },
      { sha: undefined, aud: ['a', 'b'] },
    ],
  ])('of a %s says so', (_, options, expected) => {
    const claims = decodeJwt(github.token(github.job(options)))
    expect(Object.fromEntries(Object.keys(expected).map((name) => [name, claims[name]]))).toEqual(
      expected,
    )
  })
})

describe('keys', () => {
  it('are several, one of them certified, and none of them private', async () => {
    const { keys } = await jwks()
    expect(keys.map(({ kid }) => kid)).toEqual(github.keys.kids)
    expect(keys).toHaveLength(3)
    const names = keys.map((key) => Object.keys(key).sort().join(' '))
    expect(names).toEqual([
      'alg e kid kty n use x5c x5t',
      'alg e kid kty n use',
      'alg e kid kty n use',
    ])
  })

  it('of a certificate are named by it', async () => {
    const [key] = (await jwks()).keys
    const certificate = Buffer.from(key?.x5c?.[0] ?? '', 'base64')
    const { publicKey } = new X509Certificate(certificate)
    expect(createHash('sha1').update(certificate).digest('base64url')).toBe(key?.['x5t'])
    expect(publicKey.export({ format: 'jwk' }).n).toBe(key?.['n'])
    expect(new X509Certificate(certificate).verify(publicKey)).toBe(true)
  })

  it('rotate: a new one is published, signs when told, and an old one goes', async () => {
    const rotating = await startGitHub({ now: () => now })
    const old = rotating.token(rotating.job(), { audience: BROKER })
    const oldKid = rotating.keys.current
    const kid = await rotating.keys.add()
    expect(rotating.keys.current).toBe(oldKid)
    rotating.keys.use(kid)
    rotating.keys.drop(oldKid)
    const token = rotating.token(rotating.job(), { audience: BROKER })
    expect(decodeProtectedHeader(token)).toEqual({ typ: 'JWT', alg: 'RS256', kid })
    await expect(verify(token, rotating)).resolves.toHaveProperty('payload.aud', BROKER)
    await expect(verify(old, rotating)).rejects.toThrow('no applicable key')
    await rotating.close()
  })
})

describe('a lie', () => {
  it.each<readonly [string, Parameters<LocalGitHub['lie']>[0], string]>([
    ['wrong key under the right kid', { key: 'wrong' }, 'signature verification failed'],
    ['token of an hour ago', { shift: -3600 }, '"exp" claim timestamp check failed'],
    ['token of tomorrow', { shift: 86_400 }, '"nbf" claim timestamp check failed'],
    ['token that is over at once', { lifetime: 0 }, '"exp" claim timestamp check failed'],
    ['missing claim', { claims: { jti: undefined } }, 'missing required "jti" claim'],
    ['foreign issuer', { claims: { iss: 'https://evil.example' } }, 'unexpected "iss" claim value'],
    ['unknown kid', { header: { kid: 'k' } }, 'no applicable key'],
    ['no typ', { header: { typ: undefined } }, 'unexpected "typ" JWT header value'],
  ])('is told: %s; until it is honest again', async (_, lie, message) => {
    const job = github.job()
    github.lie(lie)
    await expect(askedToken(job).then((token) => verify(token))).rejects.toThrow(message)
    github.honest()
    await expect(askedToken(job).then((token) => verify(token))).resolves.toBeDefined()
  })

  it('takes every kind of value, __proto__ among the claims too', async () => {
    github.lie({ claims: { run_id: 5, ref: ['a'], sha: null, ['__proto__']: { admin: 'yes' } } })
    const [, payload = ''] = (await askedToken(github.job())).split('.')
    const text = Buffer.from(payload, 'base64url').toString()
    expect(text).toContain('"run_id":5')
    expect(text).toContain('"ref":["a"]')
    expect(text).toContain('"sha":null')
    expect(text).toContain('"__proto__":{"admin":"yes"}')
  })
})

describe('the raw signer', () => {
  const claims = { iss: 'https://token.actions.githubusercontent.com', aud: BROKER }

  it('signs as GitHub unless told otherwise', async () => {
    const text = `{"iss":"x","iss":"${claims.iss}","aud":"${BROKER}","sub":"s","exp":${SECONDS + 9},"nbf":1,"iat":1,"jti":"j"}`
    const { payload } = await verify(github.sign(text))
    expect(payload.iss).toBe(claims.iss)
  })

  it('makes an unsigned token', () => {
    const token = github.sign(claims, {}, { algorithm: 'none' })
    expect(decodeProtectedHeader(token).alg).toBe('none')
    expect(token).toMatch(/^[\w-]+\.[\w-]+\.$/)
  })

  it("makes an HMAC under the public key's PEM, which a careless verifier takes", async () => {
    const token = github.sign(claims, {}, { algorithm: 'HS256' })
    const jwk = (await jwks()).keys[0] ?? {}
    const pem = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
    await expect(jwtVerify(token, Buffer.from(pem))).resolves.toHaveProperty('payload', claims)
  })

  it.each(['RS384', 'RS512', 'PS256'] as const)('makes a true %s signature', async (algorithm) => {
    const { kty, n, e } = (await jwks()).keys[0] ?? {}
    const key = createPublicKey({ key: { kty, n, e } as JsonWebKey, format: 'jwk' })
    const token = github.sign(claims, {}, { algorithm })
    await expect(jwtVerify(token, key)).resolves.toHaveProperty('payload', claims)
  })

  it('signs with a key of any kind that it is given', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const header = { jwk: publicKey.export({ format: 'jwk' }) }
    const token = github.sign(claims, header, { algorithm: 'ES256', key: privateKey })
    await expect(jwtVerify(token, publicKey)).resolves.toHaveProperty(
      'protectedHeader.alg',
      'ES256',
    )
  })

  it('signs with a key that GitHub never had', async () => {
    const token = github.sign(claims, {}, { key: 'foreign' })
    await expect(verify(token)).rejects.toThrow('signature verification failed')
  })
})

describe('the token endpoint', () => {
  it('answers with the token and its length', async () => {
    const response = await ask(github.job())
    const body = (await response.json()) as { count: number; value: string }
    expect(response.status).toBe(200)
    expect(body.count).toBe(body.value.length)
    expect(Object.keys(body).sort()).toEqual(['count', 'value'])
  })

  it('knows its job by the bearer token alone', async () => {
    const [one, other] = [github.job(), github.job()]
    const before = github.audiences.length
    const mixed = { ...one, requestToken: other.requestToken }
    expect((await ask(mixed)).status).toBe(401)
    expect((await fetch(one.requestUrl)).status).toBe(401)
    expect(
      (await ask({ ...one, requestUrl: `${github.url}/runtime/x/idtoken/y?a=b` })).status,
    ).toBe(404)
    expect(github.audiences).toHaveLength(before)
  })

  it('lets a job ask for six hours and ten minutes', async () => {
    const job = github.job()
    now += (6 * 60 + 10) * 60_000 - 1
    expect((await ask(job)).status).toBe(200)
    now += 1
    expect((await ask(job)).status).toBe(401)
  })

  it.each<readonly [string, JobOptions]>([
    ['without id-token: write', { idToken: false }],
    ['of a pull request from a fork', { event: 'pull_request', fork: 'octo-org/payments' }],
  ])('is none for a job %s', async (_, options) => {
    const job = github.job(options)
    expect(job.env).toEqual({})
    expect((await ask(job)).status).toBe(404)
  })

  it('is there for pull_request_target, a fork or not', async () => {
    const job = github.job({ event: 'pull_request_target', fork: 'octo-org/payments' })
    expect((await ask(job)).status).toBe(200)
  })

  it('tells a job where it is', () => {
    const job = github.job()
    expect(job.env).toEqual({
      ACTIONS_ID_TOKEN_REQUEST_URL: job.requestUrl,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: job.requestToken,
    })
    expect(job.requestUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/runtime\/[^?]+\?api-version=2\.0$/)
  })
})

/** What a client gets: status and body, or the name of what went wrong. */
const outcomeOf = async (url: string, token: string, ms: number): Promise<string> => {
  try {
    const headers = { authorization: `Bearer ${token}` }
    const signal = AbortSignal.timeout(ms)
    const response = await fetch(url, { headers, redirect: 'manual', signal })
    return `${response.status} ${await response.text()}`
  } catch (error) {
    const { name, cause } = error as Error & { cause?: { code?: string } }
    return cause?.code ?? name
  }
}

/** A whole JSON object, spaces before it or not. */
const TRUE_ANSWER = /^200 \{.*\}$/s

describe.each<readonly [Exclude<Endpoint, 'other'>]>([['token'], ['jwks'], ['discovery']])(
  'the %s endpoint',
  (endpoint) => {
    const get = (ms = 20_000): Promise<string> => {
      const job = github.job()
      const urls = { token: job.requestUrl, jwks: github.jwksUri, discovery: github.discoveryUri }
      return outcomeOf(urls[endpoint], job.requestToken, ms)
    }

    it.each<readonly [string, Fault, RegExp, number]>([
      ['500', { kind: 'status', status: 500 }, /^500 fault 500$/, 20_000],
      ['an empty 429', { kind: 'status', status: 429, body: '' }, /^429 $/, 20_000],
      ['garbage', { kind: 'garbage' }, /^200 <!doctype html>/, 20_000],
      ['strange JSON', { kind: 'json', body: { value: 5 } }, /^200 \{"value":5\}$/, 20_000],
      ['a redirect', { kind: 'redirect', to: 'http://127.0.0.1:9/' }, /^302 $/, 20_000],
      ['half an answer and a cut', { kind: 'half' }, /^UND_ERR_SOCKET$/, 20_000],
      ['half an answer', { kind: 'cut' }, /^200 \{.*[^}]$/s, 20_000],
      ['a reset', { kind: 'reset' }, /^(ECONNRESET|UND_ERR_SOCKET)$/, 20_000],
      ['too much', { kind: 'oversize', bytes: 300_000 }, /^200 {300001}\{.*\}$/s, 20_000],
      ['silence', { kind: 'hang' }, /^TimeoutError$/, 200],
      ['a drip', { kind: 'drip', everyMs: 20 }, /^TimeoutError$/, 200],
      ['an answer that comes too late', { kind: 'slow', ms: 5_000 }, /^TimeoutError$/, 200],
      ['an answer that comes late', { kind: 'slow', ms: 20 }, TRUE_ANSWER, 20_000],
    ])('answers with %s as often as told, then truly', async (_, fault, expected, ms) => {
      const before = github.requests[endpoint]
      github.fail(endpoint, fault, 2)
      expect(await get(ms)).toMatch(expected)
      expect(await get(ms)).toMatch(expected)
      expect(await get()).toMatch(TRUE_ANSWER)
      expect(github.requests[endpoint]).toBe(before + 3)
    })

    it('fails until it is mended, several orders one after another', async () => {
      github.fail(endpoint, { kind: 'status', status: 500 }, 1)
      github.fail(endpoint, { kind: 'status', status: 503 })
      expect([await get(), await get(), await get()]).toEqual([
        '500 fault 500',
        '503 fault 503',
        '503 fault 503',
      ])
      github.mend(endpoint)
      expect(await get()).toMatch(TRUE_ANSWER)
    })

    it('goes silent and comes back at the same address', async () => {
      const before = github.requests[endpoint]
      await github.silence()
      // A kept connection is cut, a new one refused.
      expect(await get()).toMatch(/^(ECONNREFUSED|ECONNRESET|UND_ERR_SOCKET)$/)
      expect(await get()).toBe('ECONNREFUSED')
      await github.speak()
      expect(await get()).toMatch(TRUE_ANSWER)
      await github.silence('hang')
      expect(await get(200)).toBe('TimeoutError')
      await github.speak()
      expect(await get()).toMatch(TRUE_ANSWER)
      expect(github.requests[endpoint]).toBe(before + 3)
    })
  },
)

describe('discovery', () => {
  it('names the issuer and its keys', async () => {
    const document = (await (await fetch(github.discoveryUri)).json()) as Record<string, unknown>
    expect(document).toMatchObject({
      issuer: 'https://token.actions.githubusercontent.com',
      jwks_uri: github.jwksUri,
      id_token_signing_alg_values_supported: ['RS256'],
    })
    expect(document['claims_supported']).toContain('check_run_id')
  })

  it.each([
    ['an enterprise', 'https://token.actions.githubusercontent.com/octo-corp', '/octo-corp', ''],
    [
      'an Enterprise Server',
      'https://github.acme.example/_services/token',
      '/_services/token',
      '/_services/token',
    ],
  ])('of %s stands below its path', async (_, issuer, path, keys) => {
    const other = await startGitHub({ now: () => NOW, issuer, backdate: 300 })
    try {
      expect(other.jwksUri).toBe(`${other.url}${keys}/.well-known/jwks`)
      expect(other.discoveryUri).toBe(`${other.url}${path}/.well-known/openid-configuration`)
      expect(await (await fetch(other.discoveryUri)).json()).toMatchObject({ issuer })
      const token = other.token(other.job())
      expect(decodeJwt(token)).toMatchObject({ iss: issuer, nbf: SECONDS - 300 })
    } finally {
      await other.close()
    }
  })
})

describe('the event', () => {
  it('of a pull request from a fork tells where it comes from', () => {
    const { event } = github.job({ event: 'pull_request', fork: 'octo-org/payments', headRef: 'x' })
    expect(event).toMatchObject({
      number: 7,
      pull_request: {
        head: { ref: 'x', repo: { full_name: 'octo-org/payments', fork: true } },
        base: { ref: 'main', repo: { full_name: 'acme/payments', fork: false } },
      },
      repository: { id: 99120, full_name: 'acme/payments', owner: { id: 8841 }, private: true },
      sender: { login: 'octo-org' },
    })
  })

  it('of a push names the commit of the claims', () => {
    const job = github.job()
    expect(job.event).toMatchObject({ ref: 'refs/heads/main', after: job.claims['sha'] })
  })
})
