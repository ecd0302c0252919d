import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { cloudDiscovery, DISCOVERY_PATH, jwks, JWKS_PATH } from '../../server/issuer/discovery.ts'
import type { AzureGrant } from '../../server/policy/grant.ts'
import { azureTarget, type AzureParts } from '../../server/targets/azure.ts'
import type { MintOrder, SealedAzure } from '../../server/targets/target.ts'
import { startEntra, type LocalEntra } from '../world/entra/index.ts'
import { targetConformance, type CloudAnswers, type Rig } from './conformance.ts'
import {
  breakOff,
  echoAssertion,
  failure,
  good,
  hang,
  hangInBody,
  json,
  jwt,
  lying,
  raw,
  reset,
  scriptedEntra,
  TRACE,
  type Play,
  type ScriptedEntra,
} from './azure/scripted-entra.ts'
import { brokenSigner, grant, memorySigner, NOW, order, payloadOf, quickWorld } from './orders.ts'

const ISSUER = 'https://tvm.example.com'
const TENANT = '6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11'
const CLIENT = 'b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b'
const OTHER = '11111111-2222-4333-8444-555555555555'
const SUBSCRIPTION = '0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a'
const ARM_SCOPE = 'https://management.azure.com/.default'
const VAULT_SCOPE = 'https://vault.azure.net/.default'
const AZURE: AzureGrant = {
  tenant: TENANT,
  client: CLIENT,
  subscription: SUBSCRIPTION,
  scopes: [ARM_SCOPE],
}

const signer = memorySigner()
const netWorld = () => ({ ...quickWorld(), fetch })
const html = '<html><body>Bad Gateway</body></html>'
const living = (seconds: number): Play =>
  lying({ expires_in: seconds, claims: { exp: NOW / 1000 + seconds } })

const PLAYS = {
  'an issuer that no credential names': failure(401, 700211),
  'a subject that no credential names': failure(401, 700213),
  'a subject in other case': failure(401, 7002138),
  'an audience that no credential names': failure(401, 700212),
  'no credential that fits, in the older form': failure(400, 70021),
  'no credential at all': failure(401, 70025),
  'an app that is not there': failure(400, 700016),
  'an assertion out of its time': failure(401, 700024),
  'a key that Entra does not know': failure(401, 7000272),
  'an issuer of Entra': failure(401, 700222),
  'an issuer that the tenant forbids': failure(401, 700238),
  'an app of another cloud': failure(400, 900382),
  'a scope that is not valid': failure(400, 70011),
  'a resource that is not there': failure(400, 500011),
  'a code that nobody knows': failure(400, 123456789),
  'a code that is no number': json(400, { error: 'invalid_request', error_codes: ['x'] }),
  'an error that is no word': json(400, { error: '<b>', error_description: 7 }),
  'a redirect': raw(307, '', { location: 'http://127.0.0.1:9/' }),
  'a page instead of an answer': raw(200, html),
  'an answer that is not JSON': raw(200, 'hello {'),
  'an empty answer': raw(200, ''),
  'an answer of null': raw(200, 'null'),
  'an answer without end in sight': lying({ padding: 'x'.repeat(70_000) }),
  'a member named twice': raw(
    200,
    '{"token_type":"Bearer","token_type":"Bearer","expires_in":900,"access_token":"opaque"}',
  ),
  'Entra cannot fetch our keys': failure(400, 90061),
  'Entra cannot fetch our keys, by the other code': failure(400, 50166),
  'Entra is busy': failure(400, 90033),
  'OAuth says temporarily unavailable': json(400, { error: 'temporarily_unavailable' }),
  'status 429': raw(429, 'slow down', { 'retry-after': '10' }),
  'status 429 with a code that nobody knows': failure(429, 900561),
  'status 500': raw(500, ''),
  'status 502 with a page': raw(502, html),
  'status 503 with half a page': raw(503, '<html><bo'),
  'a connection that breaks': reset,
  'an answer that breaks off': breakOff,
  'no answer at all': hang,
  'half an answer': hangInBody,
  'a token that lives an hour longer than accepted': living(4500),
  'a token that lives a minute and a second longer than accepted': living(961),
  'a token that has ended': lying({ claims: { exp: NOW / 1000 - 1 } }),
  'a token that lives longer than its expires_in': lying({ claims: { exp: NOW / 1000 + 4500 } }),
  'a token whose end is text': lying({ claims: { exp: 'soon' } }),
  'a token without an end': lying({ claims: { exp: null } }),
  'no expires_in': lying({ expires_in: undefined }),
  'an expires_in of text': lying({ expires_in: '900' }),
  'an expires_in of nothing': lying({ expires_in: 0 }),
  'a token of another tenant': lying({ claims: { tid: OTHER } }),
  'a token without a tenant': lying({ claims: { tid: null } }),
  'a token of another app': lying({ claims: { appid: OTHER } }),
  'a token of another app, in version 2.0': lying({ claims: { appid: null, azp: OTHER } }),
  'a token without an app': lying({ claims: { appid: null } }),
  'a token for another resource': lying({ claims: { aud: 'https://graph.microsoft.com' } }),
  'a token for a longer resource': lying({ claims: { aud: 'https://management.azure.com.evil' } }),
  'a token for two resources': lying({ claims: { aud: ['https://management.azure.com'] } }),
  'a token for none': lying({ claims: { aud: null } }),
  'three parts that are no JWT': lying({ access_token: 'abcdefghijkl.bm90IGpzb24.mnop' }),
  'claims that are a list': lying({ access_token: jwt([]) }),
  'no token': lying({ access_token: undefined }),
  'a token with a line break': lying({ access_token: 'abcdefghijklmnop\nPATH=/tmp' }),
  'a token of another type': lying({ token_type: 'pop' }),
  'our assertion said back in an error': echoAssertion,
  'a time that is a minute shorter': living(840),
} as const satisfies Record<string, Play>

type Name = keyof typeof PLAYS

const names = (first: Name, last: Name): readonly [string, ...string[]] => {
  const all = Object.keys(PLAYS)
  return all.slice(all.indexOf(first), all.indexOf(last) + 1) as [string, ...string[]]
}

const answers: CloudAnswers = {
  final: names('an issuer that no credential names', 'a member named twice'),
  transient: names('Entra cannot fetch our keys', 'an answer that breaks off'),
  hangs: names('no answer at all', 'half an answer'),
  lies: names('a token that lives an hour longer than accepted', 'a token of another type'),
  echoes: ['our assertion said back in an error'],
  shorter: 'a time that is a minute shorter',
}

/** An Entra whose tokens live exactly as long as each order: the suite's sentences about time hold for whoever can be held to them. */
const open = async (): Promise<Rig<AzureGrant, SealedAzure>> => {
  const entra = await scriptedEntra()
  const sessions = new Map<unknown, string>()
  return {
    target: ({ world, limit, signer: kind }) => {
      const target = azureTarget({
        signer: kind === 'works' ? signer : brokenSigner,
        issuerUrl: ISSUER,
        authority: entra.url,
        world: { ...world, fetch },
        limit,
      })
      const mint = (spec: AzureGrant, given: MintOrder) => {
        entra.lifetime = given.ttl
        sessions.set(given.principal.job, given.sessionId)
        return target.mint(spec, given)
      }
      return { ...target, mint }
    },
    specs: { azure: AZURE },
    spec: AZURE,
    secrets: (reply) => reply.tokens.map((token) => token.access_token),
    holder: (reply) =>
      sessions.get(payloadOf(reply.tokens[0]!.access_token.reveal())['job']) ?? 'nobody',
    cloud: {
      next: (...given) => entra.next(...given.map((name) => PLAYS[name as Name])),
      requests: () => entra.requests.length,
      shown: () => entra.requests.map(({ form }) => form.get('client_assertion')!),
    },
    close: () => entra.close(),
  }
}

targetConformance<AzureGrant, SealedAzure>('azure', {
  open,
  cloud: answers,
})

/** An order of a grant that accepts what Entra decides. */
const accepting = (acceptLifetime: number | null, changes: Partial<MintOrder> = {}): MintOrder =>
  order({}, { grant: { ...grant({}), acceptLifetime }, ...changes })

describe('what Entra is asked', () => {
  let entra: ScriptedEntra
  beforeEach(async () => {
    entra = await scriptedEntra()
  })
  afterEach(() => entra.close())

  const target = (parts: Partial<AzureParts> = {}) =>
    azureTarget({ signer, issuerUrl: ISSUER, authority: entra.url, world: netWorld(), ...parts })
  const mint = (spec: AzureGrant = AZURE, given = accepting(5400)) => target().mint(spec, given)

  it('is one token for one resource, by client assertion', async () => {
    expect(await mint()).toMatchObject({ ok: true })
    const [request] = entra.requests
    expect(request!.path).toBe(`/${TENANT}/oauth2/v2.0/token`)
    expect(request!.headers['content-type']).toMatch(/^application\/x-www-form-urlencoded/)
    expect(Object.fromEntries(request!.form)).toEqual({
      client_id: CLIENT,
      scope: ARM_SCOPE,
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: expect.any(String) as string,
    })
  })

  it('is shown a token of ours for this grant and this cloud, without a claim of AWS', async () => {
    await mint()
    const { claims } = entra.requests[0]!
    expect(claims).toMatchObject({
      iss: ISSUER,
      sub: 'grant:payments-deploy',
      aud: 'api://AzureADTokenExchange',
      exp: NOW / 1000 + 60,
      repository_id: '99120',
    })
    expect(Object.keys(claims).filter((name) => name.includes('amazon'))).toEqual([])
  })

  it('is asked for each scope on its own, with an assertion of its own', async () => {
    const spec = { ...AZURE, scopes: [ARM_SCOPE, VAULT_SCOPE] }
    const minted = await mint(spec)
    expect(minted).toMatchObject({
      ok: true,
      reply: { tokens: [{ scope: ARM_SCOPE }, { scope: VAULT_SCOPE }] },
    })
    expect(entra.requests.map(({ form }) => form.get('scope')).sort()).toEqual(spec.scopes)
    expect(new Set(entra.requests.map(({ claims }) => claims['jti'])).size).toBe(2)
    const ids = entra.requests.map(({ headers }) => headers['client-request-id'])
    expect(new Set(ids).size).toBe(2)
  })

  it('gives all tokens of a grant or none', async () => {
    const refuseVault: Play = (response, request) =>
      request.form.get('scope') === VAULT_SCOPE
        ? failure(400, 500011)(response, request)
        : good()(response, request)
    entra.next(refuseVault, refuseVault)
    expect(await mint({ ...AZURE, scopes: [ARM_SCOPE, VAULT_SCOPE] })).toMatchObject({
      ok: false,
      code: 'target_refused',
      about: 'AADSTS500011',
    })
  })

  it('is asked the same assertion again after what may pass', async () => {
    entra.next(raw(503, ''))
    await mint()
    const [first, second] = entra.requests
    expect(second!.form.get('client_assertion')).toBe(first!.form.get('client_assertion'))
  })

  it('gives each exchange a token of its own: nothing is kept between two', async () => {
    const shared = target()
    await shared.mint(AZURE, accepting(5400))
    await shared.mint(AZURE, accepting(5400))
    expect(entra.requests).toHaveLength(2)
  })

  it.each([
    ['the code', failure(401, 700213), 'AADSTS700213'],
    [
      'the code of the description where there is no list',
      json(400, { error: 'invalid_request', error_description: 'AADSTS70021: no' }),
      'AADSTS70021',
    ],
    [
      'the word of OAuth where there is no code',
      json(400, { error: 'invalid_request' }),
      'invalid_request',
    ],
    ['no word of a form that is none', json(400, { error: 'a<b>\n' }), 'UnreadableAnswer'],
    ['no code of ten digits', json(400, { error_codes: [1234567890] }), 'UnreadableAnswer'],
    ['a connection that breaks', reset, 'NetworkError'],
    ['another resource', lying({ claims: { aud: VAULT_SCOPE } }), 'TokenForAnotherResource'],
    ['no end', lying({ claims: { exp: null } }), 'TokenWithoutEnd'],
    ['a lifetime', living(5461), 'LifetimeNotAccepted'],
  ])('says what it was about: %s', async (_, play, about) => {
    entra.next(play, play, play)
    expect(await mint()).toMatchObject({ ok: false, about })
  })

  it.each([
    ['the subject', 700213, 'grant:<name>'],
    ['the audience', 700212, 'api://AzureADTokenExchange'],
    ['the issuer', 700211, 'issuer_url'],
    ['the clock', 700024, 'clock'],
    ['the JWKS', 7000272, 'JWKS'],
    ['an unreachable issuer', 90061, 'must be public'],
  ])('tells the operator what to check: %s', async (_, code, words) => {
    const play = failure(400, code)
    entra.next(play, play, play)
    const refusal = await mint()
    expect(refusal).toMatchObject({ ok: false, about: `AADSTS${code}` })
    expect(refusal.ok ? '' : refusal.cause).toContain(words)
    expect(refusal.ok ? '' : refusal.cause).toContain(
      `trace ${TRACE}: AADSTS${code}: as the test says.)`,
    )
  })

  it('waits longer before each further try', async () => {
    const waiting = quickWorld()
    const random = (bytes: number) => new Uint8Array(bytes).fill(255)
    entra.next(raw(429, ''), raw(429, ''))
    const slow = target({ world: { ...waiting, fetch, random } })
    expect(await slow.mint(AZURE, accepting(5400))).toMatchObject({ ok: true })
    expect(waiting.pauses).toEqual([200, 400])
  })

  it('leaves time for another try when one hangs', async () => {
    entra.next(hang)
    expect(await target({ limit: 1000 }).mint(AZURE, accepting(5400))).toMatchObject({ ok: true })
    expect(entra.requests).toHaveLength(2)
  })

  it('is not kept waiting by a connection that nobody listens to any more', async () => {
    const closed = Promise.withResolvers<string>()
    entra.next((response) => void response.on('close', () => closed.resolve('closed')))
    const calledOff = new AbortController()
    const minting = mint(AZURE, accepting(5400, { signal: calledOff.signal }))
    await vi.waitUntil(() => entra.requests.length > 0)
    calledOff.abort()
    expect(await minting).toMatchObject({ about: 'Timeout' })
    expect(await closed.promise).toBe('closed')
  })

  it('is asked at no other address than its own', async () => {
    const elsewhere = await scriptedEntra()
    entra.next(raw(307, '', { location: `${elsewhere.url}/${TENANT}/oauth2/v2.0/token` }))
    expect(await mint()).toMatchObject({ ok: false, code: 'target_refused' })
    expect(elsewhere.requests).toHaveLength(0)
    await elsewhere.close()
  })

  it('is refused by a connection to nobody', async () => {
    await entra.close()
    expect(await mint()).toMatchObject({ code: 'target_unavailable', about: 'NetworkError' })
  })

  it('takes what the grant accepts, tells the true end, and not that of the ttl', async () => {
    entra.next(living(5400))
    expect(await mint()).toMatchObject({
      ok: true,
      expiresAt: NOW + 5_400_000,
      revocable: 'expiry_only',
      reply: {
        expires_at: '2026-11-22T02:30:00Z',
        tokens: [{ expires_at: '2026-11-22T02:30:00Z' }],
        revocable: 'expiry_only',
      },
    })
  })

  it('accepts nothing beyond the ttl where the grant accepts nothing', async () => {
    entra.next(living(3600))
    expect(await mint(AZURE, accepting(null))).toMatchObject({ about: 'LifetimeNotAccepted' })
  })

  it('tells the end of the last token as the end of all', async () => {
    entra.next(living(4000), living(5000))
    const minted = await mint({ ...AZURE, scopes: [ARM_SCOPE, VAULT_SCOPE] })
    expect(minted).toMatchObject({ ok: true, expiresAt: NOW + 5_000_000 })
    const ends = minted.ok ? minted.reply.tokens.map((token) => token.expires_at).sort() : []
    expect(ends).toEqual(['2026-11-22T02:06:40Z', '2026-11-22T02:23:20Z'])
  })

  it.each([
    ['a trailing slash', ARM_SCOPE, { aud: 'https://management.azure.com/' }],
    ['the id of the resource for its URI', VAULT_SCOPE, { aud: OTHER }],
    ['version 2.0', ARM_SCOPE, { appid: null, azp: CLIENT, aud: OTHER, ver: '2.0' }],
    ['a resource by its id', `${OTHER}/.default`, { aud: OTHER }],
  ])('takes a token with %s', async (_, scope, claims) => {
    entra.next(lying({ claims }))
    expect(await mint({ ...AZURE, scopes: [scope] })).toMatchObject({ ok: true })
  })

  it('takes no other id for a resource by its id', async () => {
    entra.next(lying({ claims: { aud: CLIENT } }))
    expect(await mint({ ...AZURE, scopes: [`${OTHER}/.default`] })).toMatchObject({
      about: 'TokenForAnotherResource',
    })
  })

  it('takes a token that is none of ours to read, for the time that Entra says', async () => {
    entra.next(lying({ access_token: 'opaque-to-all-but-its-resource', expires_in: 3599 }))
    expect(await mint()).toMatchObject({
      ok: true,
      expiresAt: NOW + 3_599_000,
      facts: { tokens: [{ uti: null, audience: null }] },
    })
  })

  it('tells the job and the audit what was made', async () => {
    const minted = await mint()
    const [request] = entra.requests
    const token = minted.ok ? minted.reply.tokens[0]!.access_token.reveal() : ''
    expect(minted).toMatchObject({
      reply: { tenant_id: TENANT, client_id: CLIENT, subscription_id: SUBSCRIPTION },
      facts: {
        tenant: TENANT,
        client: CLIENT,
        subscription: SUBSCRIPTION,
        tokens: [
          {
            scope: ARM_SCOPE,
            audience: 'https://management.azure.com',
            uti: 'sP4GDAr4UE2zx8kBgWcMAA',
            correlation_id: request!.headers['client-request-id'],
            token_sha256: createHash('sha256').update(token).digest('hex'),
            expiration: '2026-11-22T01:15:00Z',
          },
        ],
      },
    })
    expect(request!.headers['client-request-id']).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    )
  })
})

/** The broker's two documents, as the world sees them. */
const publish = async () => {
  const server = createServer((request, response) => {
    const page = { [DISCOVERY_PATH]: cloudDiscovery(ISSUER), [JWKS_PATH]: jwks(signer) }[
      request.url ?? ''
    ]
    response.writeHead(page === undefined ? 404 : 200).end(JSON.stringify(page))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => server.close(),
  }
}

describe('with an Entra that judges', () => {
  let entra: LocalEntra
  let issuer: Awaited<ReturnType<typeof publish>>
  const trusted = getCACertificates('default')
  const credential = {
    name: 'tvm-payments-deploy',
    issuer: ISSUER,
    subject: 'grant:payments-deploy',
    audiences: ['api://AzureADTokenExchange'],
  }
  beforeAll(async () => {
    issuer = await publish()
    entra = await startEntra({
      now: () => NOW,
      resolve: { [ISSUER]: issuer.url },
      tenants: [
        {
          id: TENANT,
          applications: [{ clientId: CLIENT, federatedCredentials: [credential] }],
          subscriptions: [{ id: SUBSCRIPTION, displayName: 'Payments', readers: [CLIENT] }],
        },
      ],
    })
  })
  beforeEach(() => setDefaultCACertificates([...trusted, entra.ca]))
  afterAll(async () => {
    setDefaultCACertificates(trusted)
    await entra.close()
    issuer.close()
  })

  const mint = (given = accepting(5400), parts: Partial<AzureParts> = {}) =>
    azureTarget({
      signer,
      issuerUrl: ISSUER,
      authority: entra.url,
      world: netWorld(),
      ...parts,
    }).mint(AZURE, given)
  const readSubscription = (token: string) =>
    fetch(`${entra.url}/subscriptions/${SUBSCRIPTION}?api-version=2022-12-01`, {
      headers: { authorization: `Bearer ${token}` },
    })

  it('gives a token that Azure Resource Manager takes, and that its log can be searched for', async () => {
    const minted = await mint()
    if (!minted.ok) throw new Error(`${minted.about ?? ''} ${minted.cause ?? ''}`)
    const answer = await readSubscription(minted.reply.tokens[0]!.access_token.reveal())
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ subscriptionId: SUBSCRIPTION, tenantId: TENANT })
    const [token, arm] = entra.calls.slice(-2)
    expect(minted.facts).toMatchObject({
      tokens: [{ uti: token!.about['uti'], correlation_id: token!.correlationId }],
    })
    expect(arm!.about['uti']).toBe(token!.about['uti'])
    expect(minted.expiresAt).toBeGreaterThanOrEqual(NOW + 3_600_000)
    expect(minted.expiresAt).toBeLessThanOrEqual(NOW + 5_400_000)
  })

  it.each<[string, string, Partial<AzureParts>, Partial<MintOrder>]>([
    [
      'another grant',
      'AADSTS700213',
      {},
      { grant: { ...grant({}, 'payments-test'), acceptLifetime: 5400 } },
    ],
    ['another issuer', 'AADSTS700211', { issuerUrl: `${ISSUER}/` }, {}],
    ['a key that the issuer does not publish', 'AADSTS7000272', { signer: memorySigner() }, {}],
    ['a clock that is an hour behind', 'AADSTS700024', {}, { now: NOW - 3_600_000 }],
  ])('is refused by %s', async (_, about, parts, changes) => {
    expect(await mint(accepting(5400, changes), parts)).toMatchObject({
      ok: false,
      code: 'target_refused',
      about,
    })
  })

  it('is not asked over a connection that it cannot prove to be its own', async () => {
    setDefaultCACertificates(trusted)
    const before = entra.calls.length
    // Connections that are open already were proved before.
    const fresh = await startEntra({ now: () => NOW, resolve: {}, tenants: [{ id: TENANT }] })
    expect(await mint(accepting(5400), { authority: fresh.url })).toMatchObject({
      code: 'target_refused',
      about: 'CallFailed',
    })
    expect(fresh.calls).toEqual([])
    expect(entra.calls).toHaveLength(before)
    await fresh.close()
  })

  it('is asked again when it was busy', async () => {
    entra.failNext({ operation: 'Token', kind: 'error', code: 90033, status: 503 })
    expect(await mint()).toMatchObject({ ok: true })
  })
})

it('asks the public cloud where no other is configured', async () => {
  const asked: string[] = []
  const spy: typeof fetch = (input) => {
    asked.push(input instanceof Request ? input.url : String(input))
    return Promise.reject(new Error('this test has no network'))
  }
  const world = { ...quickWorld(), fetch: spy }
  const target = azureTarget({ signer, issuerUrl: ISSUER, authority: null, world })
  expect(await target.mint(AZURE, accepting(5400))).toMatchObject({ about: 'CallFailed' })
  expect(asked).toEqual([`https://login.microsoftonline.com/${TENANT}/oauth2/v2.0/token`])
})
