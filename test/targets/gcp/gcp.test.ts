import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { GcpGrant } from '../../../server/policy/grant.ts'
import { gcpTarget, type GcpParts } from '../../../server/targets/gcp.ts'
import type { MintOrder, SealedGcp } from '../../../server/targets/target.ts'
import { targetConformance, type CloudAnswers, type Rig } from '../conformance.ts'
import {
  brokenSigner,
  memorySigner,
  NOW,
  order,
  payloadOf,
  principal,
  quickWorld,
} from '../orders.ts'
import {
  apiFailure,
  breakOff,
  echo,
  echoInPieces,
  good,
  hang,
  hangInBody,
  jobOf,
  raw,
  reset,
  scriptedGoogle,
  stsFailure,
  type Leg,
  type Play,
  type ScriptedGoogle,
} from './scripted-google.ts'

const ISSUER = 'https://tvm.example.com'
const signer = memorySigner()

const IMPERSONATING: GcpGrant = {
  provider: 'projects/123456/locations/global/workloadIdentityPools/tvm-pool/providers/tvm-broker',
  serviceAccount: 'deploy@acme-prod.iam.gserviceaccount.com',
  project: 'acme-prod',
  scopes: ['https://www.googleapis.com/auth/devstorage.read_write'],
  accessBoundary: null,
}
const DIRECT: GcpGrant = { ...IMPERSONATING, serviceAccount: null }
const BOUNDED: GcpGrant = {
  ...IMPERSONATING,
  accessBoundary: [
    {
      resource: '//storage.googleapis.com/projects/_/buckets/artifacts',
      permissions: ['inRole:roles/storage.objectCreator'],
      condition: "resource.name.startsWith('projects/_/buckets/artifacts/objects/99120/')",
    },
    {
      resource: '//storage.googleapis.com/projects/_/buckets/cache',
      permissions: ['inRole:roles/storage.objectViewer'],
      condition: null,
    },
  ],
}

const lying = (lie: Readonly<Record<string, unknown>>): Play => good(() => lie)
const html = '<html><body>Bad Gateway</body></html>'
const end = (ms: number): Play =>
  lying({ expireTime: new Date(NOW + ms).toISOString().replace('.000Z', 'Z') })

const PLAYS = {
  'a token that STS finds stale': stsFailure(400, 'invalid_grant'),
  'a pool or provider that is away': stsFailure(400, 'invalid_target'),
  'an audience that is no provider': stsFailure(400, 'invalid_request'),
  'a condition that says no': stsFailure(401, 'unauthorized_client'),
  'a scope that STS does not know': stsFailure(400, 'invalid_scope'),
  'a service that is switched off': apiFailure(403, 'PERMISSION_DENIED'),
  'a binding that is missing': apiFailure(403, 'PERMISSION_DENIED'),
  'a service account that is away': apiFailure(404, 'NOT_FOUND'),
  'a service account that is disabled': apiFailure(400, 'FAILED_PRECONDITION'),
  'a lifetime that is too long': apiFailure(400, 'INVALID_ARGUMENT'),
  'a federated token that has ended': apiFailure(401, 'UNAUTHENTICATED'),
  'a code that nobody knows': stsFailure(400, 'something_new'),
  'a code that is no word': stsFailure(403, '<b>\n'),
  'a code from the prototype': apiFailure(403, '__proto__'),
  'a redirect': raw(307, '', { location: 'http://127.0.0.1:9/' }),
  'a page instead of an answer': raw(200, html),
  'an answer that is no object': raw(200, '"hello"'),
  'JSON null': raw(200, 'null'),
  'an empty answer': raw(200, ''),
  'an answer of 64 KiB and more': lying({ padding: ' '.repeat(65_600) }),
  'another kind of success': raw(202, '{}'),
  'status 408': raw(408, ''),
  'status 429': apiFailure(429, 'RESOURCE_EXHAUSTED'),
  'status 500': apiFailure(500, 'INTERNAL'),
  'status 502 with a page': raw(502, html),
  'status 503': apiFailure(503, 'UNAVAILABLE'),
  'status 503 with half a page': raw(503, '<html><bo'),
  'STS out of order for a while': stsFailure(400, 'temporarily_unavailable'),
  'a connection that breaks': reset,
  'an answer that breaks off': breakOff,
  'no answer at all': hang,
  'half an answer': hangInBody,
  'our token said back in an error': echo,
  'our token said back in pieces': echoInPieces,
  'a token for a minute and a second longer': lying({ expires_in: 961 }),
  'a token for an hour longer': lying({ expires_in: 4500 }),
  'a token that has ended': lying({ expires_in: 0 }),
  'a token of negative time': lying({ expires_in: -60 }),
  'a time that is no number': lying({ expires_in: '900' }),
  'no time': lying({ expires_in: undefined }),
  'no token': lying({ access_token: undefined }),
  'a token with a line break': lying({ access_token: 'ya29.abcdefghijklmnop\nPATH=x' }),
  'a token of 12,289 characters': lying({ access_token: 'a'.repeat(12_289) }),
  'the token that went in': good(({ shown }) => ({ access_token: shown })),
  'a refresh token': lying({ issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }),
  'a token of no kind': lying({ issued_token_type: undefined }),
  'a token that is no bearer token': lying({ token_type: 'DPoP' }),
  'a wider scope': lying({
    scope: `${IMPERSONATING.scopes[0]!} https://www.googleapis.com/auth/cloud-platform`,
  }),
  'a scope that is no text': lying({ scope: ['x'] }),
  'a minute and a second more': end(961_000),
  'an hour more': end(4_500_000),
  'an end in the past': end(-1000),
  'an end right now': end(0),
  'no end': lying({ expireTime: undefined }),
  'an end that is no time': lying({ expireTime: 'never' }),
  'an end without a zone': lying({ expireTime: '2026-11-22T01:15:00' }),
  'no access token': lying({ accessToken: undefined }),
  'an access token with a line break': lying({ accessToken: 'ya29.abcdefghijklmnop\nPATH=x' }),
  'the federated token': good(({ shown }) => ({ accessToken: shown })),
  'a minute less': lying({ expires_in: 840 }),
  'an end a minute earlier': end(840_000),
} as const satisfies Record<string, Play>

type Name = keyof typeof PLAYS

const names = (...list: readonly [Name, ...Name[]]): readonly [Name, ...Name[]] => list

const OF_ANY = {
  final: names(
    'a code that nobody knows',
    'a code that is no word',
    'a code from the prototype',
    'a redirect',
    'a page instead of an answer',
    'an answer that is no object',
    'JSON null',
    'an empty answer',
    'an answer of 64 KiB and more',
    'another kind of success',
  ),
  transient: names(
    'status 408',
    'status 429',
    'status 500',
    'status 502 with a page',
    'status 503',
    'status 503 with half a page',
    'a connection that breaks',
    'an answer that breaks off',
  ),
  hangs: names('no answer at all', 'half an answer'),
  echoes: names('our token said back in an error', 'our token said back in pieces'),
} as const

const OF_STS = {
  final: names(
    'a token that STS finds stale',
    'a pool or provider that is away',
    'an audience that is no provider',
    'a condition that says no',
    'a scope that STS does not know',
    'a service that is switched off',
    ...OF_ANY.final,
  ),
  transient: names('STS out of order for a while', ...OF_ANY.transient),
  lies: names(
    'no token',
    'a token with a line break',
    'a token of 12,289 characters',
    'the token that went in',
    'a refresh token',
    'a token of no kind',
    'a token that is no bearer token',
    'a token for a minute and a second longer',
    'a token for an hour longer',
    'a token that has ended',
    'a token of negative time',
    'a time that is no number',
  ),
} as const

const direct: CloudAnswers = {
  ...OF_ANY,
  ...OF_STS,
  lies: names(...OF_STS.lies, 'no time', 'a wider scope', 'a scope that is no text'),
  shorter: 'a minute less',
}

const impersonating: CloudAnswers = {
  ...OF_ANY,
  final: names(
    'a binding that is missing',
    'a service account that is away',
    'a service account that is disabled',
    'a lifetime that is too long',
    'a federated token that has ended',
    ...OF_ANY.final,
  ),
  lies: names(
    'a minute and a second more',
    'an hour more',
    'an end in the past',
    'an end right now',
    'no end',
    'an end that is no time',
    'an end without a zone',
    'no access token',
    'an access token with a line break',
    'the federated token',
  ),
  shorter: 'an end a minute earlier',
}

const bounded: CloudAnswers = { ...OF_ANY, ...OF_STS, shorter: 'a minute less' }

const partsOf = (google: ScriptedGoogle, more: Partial<GcpParts> = {}): GcpParts => ({
  signer,
  issuerUrl: ISSUER,
  endpoint: google.url,
  ...more,
  world: { ...quickWorld(), ...more.world, fetch },
})

/** The leg under test answers as the suite says; the others always well. */
const rigOf = (spec: GcpGrant, leg: Leg) => async (): Promise<Rig<GcpGrant, SealedGcp>> => {
  const google = await scriptedGoogle()
  const sessions = new Map<string, string>()
  return {
    target: ({ world, limit, signer: kind }) => {
      const parts = { world, limit, signer: kind === 'works' ? signer : brokenSigner }
      const target = gcpTarget(partsOf(google, parts))
      const mint: typeof target.mint = (section, given) => {
        sessions.set(given.principal.job, given.sessionId)
        return target.mint(section, given)
      }
      return { ...target, mint }
    },
    specs: { gcp: spec },
    spec,
    secrets: (reply) => [reply.access_token],
    holder: (reply) => sessions.get(jobOf(reply.access_token.reveal())) ?? '',
    cloud: {
      next: (...given) => google.next(leg, ...given.map((name) => PLAYS[name as Name])),
      requests: () => google.of(leg).length,
      shown: () => google.requests.map(({ shown }) => shown),
    },
    close: () => google.close(),
  }
}

describe('with direct federation', () => {
  targetConformance<GcpGrant, SealedGcp>('gcp', { open: rigOf(DIRECT, 'federate'), cloud: direct })
})

describe('as a service account', () => {
  targetConformance<GcpGrant, SealedGcp>('gcp', {
    open: rigOf(IMPERSONATING, 'impersonate'),
    cloud: impersonating,
  })
})

describe('as a service account within a boundary', () => {
  targetConformance<GcpGrant, SealedGcp>('gcp', { open: rigOf(BOUNDED, 'bound'), cloud: bounded })
})

let google: ScriptedGoogle
beforeEach(async () => {
  google = await scriptedGoogle()
})
afterEach(() => google.close())

const mint = (
  spec: GcpGrant = IMPERSONATING,
  changes: Partial<MintOrder> = {},
  more: Partial<GcpParts> = {},
) => gcpTarget(partsOf(google, more)).mint(spec, order({ gcp: spec }, changes))

describe('what Google is asked', () => {
  const asked = async (leg: Leg, spec: GcpGrant, changes: Partial<MintOrder> = {}) => {
    expect(await mint(spec, changes)).toMatchObject({ ok: true })
    expect(google.of(leg)).toHaveLength(1)
    return google.of(leg)[0]!
  }

  it('is to trade our token for that of the provider, to act as the account and for nothing else', async () => {
    const { path, form, headers } = await asked('federate', IMPERSONATING)
    expect(path).toBe('/v1/token')
    expect(headers['content-type']).toBe('application/x-www-form-urlencoded')
    expect(headers).not.toHaveProperty('authorization')
    expect(Object.fromEntries(form)).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      subject_token: expect.any(String) as string,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      audience: `//iam.googleapis.com/${IMPERSONATING.provider}`,
      scope: 'https://www.googleapis.com/auth/cloud-platform',
    })
  })

  it('is the scopes of the grant where no account stands between', async () => {
    const scopes = [...DIRECT.scopes, 'https://www.googleapis.com/auth/sqlservice.admin']
    const { form } = await asked('federate', { ...DIRECT, scopes })
    expect(form.get('scope')).toBe(scopes.join(' '))
    expect(google.requests).toHaveLength(1)
  })

  it('is a token of a minute, for this provider and this job', async () => {
    const { shown } = await asked('federate', IMPERSONATING)
    expect(payloadOf(shown)).toMatchObject({
      iss: ISSUER,
      aud: `//iam.googleapis.com/${IMPERSONATING.provider}`,
      sub: 'grant:payments-deploy',
      grant: 'payments-deploy',
      job: 'github/99120/19582107001/1/55881234001',
      repository_id: '99120',
      iat: NOW / 1000 - 5,
      exp: NOW / 1000 + 60,
    })
  })

  it.each([60, 900, 3600])(
    'is a token of %i s with direct federation, since Google’s ends with it',
    async (ttl) => {
      const { shown } = await asked('federate', DIRECT, { ttl })
      expect(payloadOf(shown)).toMatchObject({ exp: NOW / 1000 + ttl, iat: NOW / 1000 - 5 })
      expect(await mint(DIRECT, { ttl })).toMatchObject({ expiresAt: NOW + ttl * 1000 })
    },
  )

  it.each([1, 60, 900, 3600])('is the account’s token for %i s and its scopes', async (ttl) => {
    const { path, headers, body, shown } = await asked('impersonate', IMPERSONATING, { ttl })
    expect(path).toBe(
      `/v1/projects/-/serviceAccounts/${IMPERSONATING.serviceAccount!}:generateAccessToken`,
    )
    expect(headers['content-type']).toBe('application/json')
    expect(shown).toContain('federated-of-')
    expect(JSON.parse(body)).toEqual({ scope: IMPERSONATING.scopes, lifetime: `${ttl}s` })
  })

  it.each([
    ['half a second', 500, '900s'],
    ['three seconds', 3000, '897s'],
  ])('is no later an end when the exchange has taken %s', async (_, late, lifetime) => {
    const world = { ...quickWorld(), now: () => NOW + late }
    expect(await mint(IMPERSONATING, {}, { world })).toMatchObject({ ok: true })
    expect(JSON.parse(google.of('impersonate')[0]!.body)).toMatchObject({ lifetime })
  })

  it('is no token at all when the order is over before the account is asked', async () => {
    const world = { ...quickWorld(), now: () => NOW + 900_000 }
    expect(await mint(IMPERSONATING, {}, { world })).toMatchObject({ code: 'target_unavailable' })
    expect(google.of('impersonate')).toHaveLength(0)
  })

  it('is to cut the account’s token down to the boundary', async () => {
    const { path, form, shown } = await asked('bound', BOUNDED)
    expect(path).toBe('/v1/token')
    expect(shown).toContain('acting-of-')
    expect(Object.fromEntries(form)).toEqual({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      subject_token: shown,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      options: expect.any(String) as string,
    })
    expect(JSON.parse(form.get('options')!)).toEqual({
      accessBoundary: {
        accessBoundaryRules: [
          {
            availableResource: '//storage.googleapis.com/projects/_/buckets/artifacts',
            availablePermissions: ['inRole:roles/storage.objectCreator'],
            availabilityCondition: { expression: BOUNDED.accessBoundary![0]!.condition },
          },
          {
            availableResource: '//storage.googleapis.com/projects/_/buckets/cache',
            availablePermissions: ['inRole:roles/storage.objectViewer'],
          },
        ],
      },
    })
  })

  it('is nothing for a job whose name is longer than a subject may be', async () => {
    const fits = { ...principal(), job: `github/${'é'.repeat(60)}` }
    expect(await mint(IMPERSONATING, { principal: fits })).toMatchObject({ ok: true })
    const longer = { ...fits, job: `${fits.job}x` }
    expect(await mint(IMPERSONATING, { principal: longer })).toMatchObject({
      ok: false,
      code: 'target_refused',
      about: 'SubjectTooLong',
    })
    expect(google.of('federate')).toHaveLength(1)
  })
})

describe('what comes of it', () => {
  it('is told to the job and to the audit', async () => {
    const minted = await mint(BOUNDED)
    if (!minted.ok) throw new Error('refused')
    const text = minted.reply.access_token.reveal()
    expect(text).toContain('bounded-of-')
    expect(minted).toMatchObject({
      reply: {
        project_id: 'acme-prod',
        service_account: IMPERSONATING.serviceAccount,
        scopes: IMPERSONATING.scopes,
        expires_at: '2026-11-22T01:15:00Z',
        revocable: 'expiry_only',
      },
      facts: {
        provider: IMPERSONATING.provider,
        subject: 'github/99120/19582107001/1/55881234001',
        service_account: IMPERSONATING.serviceAccount,
        project: 'acme-prod',
        scopes: IMPERSONATING.scopes,
        access_boundary_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        access_token_sha256: createHash('sha256').update(text).digest('hex'),
        expiration: '2026-11-22T01:15:00Z',
      },
    })
  })

  it('is an end that is true for Google’s clock in the audit, and within the order for the job', async () => {
    google.next('impersonate', end(930_500))
    expect(await mint()).toMatchObject({
      expiresAt: NOW + 900_000,
      facts: { expiration: '2026-11-22T01:15:30Z', access_boundary_sha256: null },
    })
  })

  it('is never the token of an earlier leg', async () => {
    const acting = await mint()
    expect(acting.ok && acting.reply.access_token.reveal()).toContain('acting-of-')
    google.next('bound', ...Array.from({ length: 3 }, () => apiFailure(503, 'UNAVAILABLE')))
    const failed = await mint(BOUNDED)
    expect(failed).toMatchObject({ ok: false, code: 'target_unavailable', about: 'UNAVAILABLE' })
    expect(failed).not.toHaveProperty('reply')
  })

  it.each<[string, Play, string, string]>([
    ['the code of STS', stsFailure(400, 'invalid_target'), 'target_refused', 'invalid_target'],
    [
      'the code of every other API',
      apiFailure(403, 'PERMISSION_DENIED'),
      'target_refused',
      'PERMISSION_DENIED',
    ],
    [
      'a code of a form that is none',
      stsFailure(403, 'a<b>\n'),
      'target_refused',
      'UnreadableAnswer',
    ],
    ['too long a code', stsFailure(403, 'a'.repeat(65)), 'target_refused', 'UnreadableAnswer'],
    ['a connection that breaks', reset, 'target_unavailable', 'NetworkError'],
    ['a redirect', raw(302, '', { location: '/' }), 'target_refused', 'UnreadableAnswer'],
    [
      'a kind of token that was not asked for',
      lying({ issued_token_type: 'x' }),
      'target_refused',
      'AnswerOfAnotherKind',
    ],
  ])('is a refusal about %s', async (_, play, code, about) => {
    google.next('federate', play, play, play)
    expect(await mint()).toMatchObject({ ok: false, target: 'gcp', code, about })
  })

  it.each(OF_STS.transient)('does not hang on a first leg that may pass: %s', async (name) => {
    google.next('federate', PLAYS[name], PLAYS[name])
    expect(await mint(BOUNDED)).toMatchObject({ ok: true })
    expect(google.requests.map(({ leg }) => leg)).toEqual([
      ...['federate', 'federate', 'federate'],
      ...['impersonate', 'bound'],
    ])
  })

  it.each(['a wider scope', 'the token that went in', 'a token of no kind'] as const)(
    'is nothing where the first of several legs lies: %s',
    async (name) => {
      google.next('federate', PLAYS[name])
      expect(await mint(BOUNDED)).toMatchObject({ ok: false, code: 'target_refused' })
      expect(google.requests).toHaveLength(1)
    },
  )

  it('keeps Google’s sentence for the operator, without what looks like a token', async () => {
    const message = `Permission 'iam.serviceAccounts.getAccessToken' denied ${'x'.repeat(40)}\u0007.`
    google.next('impersonate', apiFailure(403, 'PERMISSION_DENIED', message))
    expect(await mint()).toMatchObject({
      cause: "HTTP 403: Permission 'iam.serviceAccounts.getAccessToken' denied [cut] .",
    })
  })

  it('keeps Google from saying a token back, however it is written', async () => {
    const token = 'ya29.short.in-pieces.of-little-length'
    google.next('federate', lying({ access_token: token }))
    google.next('impersonate', apiFailure(403, 'PERMISSION_DENIED', `not for ${token}!`))
    expect(await mint()).toMatchObject({ cause: 'HTTP 403: not for [cut]!' })
  })

  it('waits longer before each further try', async () => {
    const world = quickWorld()
    const always = { ...world, random: (bytes: number) => new Uint8Array(bytes).fill(255) }
    google.next('federate', apiFailure(429, 'RESOURCE_EXHAUSTED'), raw(503, ''))
    expect(await mint(DIRECT, {}, { world: always })).toMatchObject({ ok: true })
    expect(world.pauses).toEqual([200, 400])
  })

  it('is refused by a connection to nobody', async () => {
    await google.close()
    expect(await mint()).toMatchObject({ code: 'target_unavailable', about: 'NetworkError' })
  })
})

describe('where Google is asked', () => {
  const hostsOf = async (spec: GcpGrant): Promise<readonly string[]> => {
    const hosts: string[] = []
    const noting: typeof fetch = (input, init) => {
      const url = new URL(input)
      hosts.push(url.origin)
      return fetch(`${google.url}${url.pathname}`, init)
    }
    const world = { ...quickWorld(), fetch: noting }
    const target = gcpTarget({ signer, issuerUrl: ISSUER, endpoint: null, world })
    expect(await target.mint(spec, order({}))).toMatchObject({ ok: true })
    return hosts
  }

  it('is Google’s own hosts when nobody says otherwise', async () => {
    expect(await hostsOf(BOUNDED)).toEqual([
      'https://sts.googleapis.com',
      'https://iamcredentials.googleapis.com',
      'https://sts.googleapis.com',
    ])
  })
})

describe('another way to ask for the account’s token', () => {
  it('takes the place of the POST, and is asked the same', async () => {
    const asks: unknown[] = []
    const generateAccessToken: GcpParts['generateAccessToken'] = (asked) => {
      asks.push(asked)
      return Promise.resolve({
        ok: false,
        target: 'gcp',
        code: 'target_refused',
        about: 'PERMISSION_DENIED',
      })
    }
    expect(await mint(IMPERSONATING, {}, { generateAccessToken })).toMatchObject({
      about: 'PERMISSION_DENIED',
    })
    expect(asks).toMatchObject([
      { email: IMPERSONATING.serviceAccount, scopes: IMPERSONATING.scopes, lifetime: 900 },
    ])
    expect(google.requests.map(({ leg }) => leg)).toEqual(['federate'])
  })

  it('is bound by our time even if it knows none', async () => {
    const generateAccessToken: GcpParts['generateAccessToken'] = () => new Promise(() => undefined)
    expect(await mint(IMPERSONATING, {}, { generateAccessToken, limit: 150 })).toMatchObject({
      code: 'target_unavailable',
      about: 'Timeout',
    })
  })
})
