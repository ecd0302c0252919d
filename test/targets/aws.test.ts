import { createHash } from 'node:crypto'
import dns from 'node:dns'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { AwsGrant } from '../../server/policy/grant.ts'
import { awsTarget } from '../../server/targets/aws.ts'
import type { MintOrder, SealedAws } from '../../server/targets/target.ts'
import { targetConformance, type CloudAnswers, type Rig } from './conformance.ts'
import {
  AWS,
  brokenSigner,
  memorySigner,
  NOW,
  order,
  principal,
  quickWorld,
  sessionId,
} from './orders.ts'
import {
  breakOff,
  echoToken,
  failure,
  good,
  hang,
  hangInBody,
  raw,
  reset,
  scriptedSts,
  stsTime,
  type Assumed,
  type Play,
  type ScriptedSts,
} from './scripted-sts.ts'

const ISSUER = 'https://tvm.example.com'
const signer = memorySigner()

const lying = (lie: Partial<Assumed>): Play => good(() => lie)
const html = '<html><body>Bad Gateway</body></html>'

const PLAYS = {
  'a token that STS finds invalid': failure(400, 'InvalidIdentityToken'),
  'a token that STS finds expired': failure(400, 'ExpiredTokenException'),
  'a claim that STS rejects': failure(403, 'IDPRejectedClaim'),
  'a trust policy that says no': failure(403, 'AccessDenied'),
  'a duration beyond that of the role': failure(400, 'ValidationError'),
  'a malformed session policy': failure(400, 'MalformedPolicyDocument'),
  'too large a session': failure(400, 'PackedPolicyTooLarge'),
  'a region that is switched off': failure(403, 'RegionDisabledException'),
  'a code that nobody knows': failure(400, 'SomethingNew'),
  'a code that is no word': failure(403, '__proto__'),
  'a redirect': raw(307, '', { location: 'http://127.0.0.1:9/' }),
  'a page instead of an answer': raw(200, html),
  'an answer that is not XML': raw(200, 'hello <'),
  'an empty answer': raw(200, ''),
  'Throttling, which comes as status 400': failure(400, 'Throttling'),
  'IDPCommunicationError, which comes as status 400': failure(400, 'IDPCommunicationError'),
  'status 429 from something before STS': raw(429, 'slow down'),
  'status 500': failure(500, 'InternalFailure'),
  'status 502 with a page': raw(502, html),
  'status 503 with half a page': raw(503, '<html><bo'),
  'a connection that breaks': reset,
  'an answer that breaks off': breakOff,
  'no answer at all': hang,
  'half an answer': hangInBody,
  'credentials for an hour longer': lying({ expiration: stsTime(NOW + 4_500_000) }),
  'credentials for a minute and a second longer': lying({ expiration: stsTime(NOW + 961_000) }),
  'credentials that have ended': lying({ expiration: stsTime(NOW - 1000) }),
  'credentials without an end': lying({ expiration: null }),
  'an end that is no time': lying({ expiration: 'never' }),
  'another role': lying({ arn: 'arn:aws:sts::111122223333:assumed-role/admin/tvm' }),
  'the role of another account': good(({ form }) => ({
    arn: `arn:aws:sts::999999999999:assumed-role/payments-deploy/${form.get('RoleSessionName')!}`,
  })),
  'another session name': lying({
    arn: 'arn:aws:sts::111122223333:assumed-role/payments-deploy/somebody',
  }),
  'no role named': lying({ arn: null }),
  'no source identity': lying({ sourceIdentity: null }),
  "another session's source identity": lying({ sourceIdentity: sessionId(99) }),
  'no access key': lying({ accessKeyId: null }),
  'no secret key': lying({ secretAccessKey: null }),
  'no session token': lying({ sessionToken: null }),
  'a secret with a line break': lying({ secretAccessKey: 'abcdefghijklmnop\nAWS_REGION=x' }),
  'our token said back in an error': echoToken,
  'a time that is a minute shorter': lying({ expiration: stsTime(NOW + 840_000) }),
} as const satisfies Record<string, Play>

type Name = keyof typeof PLAYS

const names = (...list: readonly [Name, ...Name[]]): readonly [string, ...string[]] => list

const answers: CloudAnswers = {
  final: names(
    'a token that STS finds invalid',
    'a token that STS finds expired',
    'a claim that STS rejects',
    'a trust policy that says no',
    'a duration beyond that of the role',
    'a malformed session policy',
    'too large a session',
    'a region that is switched off',
    'a code that nobody knows',
    'a code that is no word',
    'a redirect',
    'a page instead of an answer',
    'an answer that is not XML',
    'an empty answer',
  ),
  transient: names(
    'Throttling, which comes as status 400',
    'IDPCommunicationError, which comes as status 400',
    'status 429 from something before STS',
    'status 500',
    'status 502 with a page',
    'status 503 with half a page',
    'a connection that breaks',
    'an answer that breaks off',
  ),
  hangs: names('no answer at all', 'half an answer'),
  lies: names(
    'credentials for an hour longer',
    'credentials for a minute and a second longer',
    'credentials that have ended',
    'credentials without an end',
    'an end that is no time',
    'another role',
    'the role of another account',
    'another session name',
    'no role named',
    'no source identity',
    "another session's source identity",
    'no access key',
    'no secret key',
    'no session token',
    'a secret with a line break',
  ),
  echoes: names('our token said back in an error'),
  shorter: 'a time that is a minute shorter',
}

const open = async (): Promise<Rig<AwsGrant, SealedAws>> => {
  const sts = await scriptedSts()
  return {
    target: ({ world, limit, signer: kind }) =>
      awsTarget({
        signer: kind === 'works' ? signer : brokenSigner,
        issuerUrl: ISSUER,
        endpoint: sts.url,
        world,
        limit,
      }),
    specs: { aws: AWS },
    spec: AWS,
    secrets: (reply) => [reply.secret_access_key, reply.session_token],
    holder: (reply) => reply.session_token.reveal().split('-token-of-')[1] ?? '',
    cloud: {
      next: (...given) => sts.next(...given.map((name) => PLAYS[name as Name])),
      requests: () => sts.requests.length,
      shown: () => sts.requests.map(({ form }) => form.get('WebIdentityToken')!),
    },
    close: () => sts.close(),
  }
}

targetConformance<AwsGrant, SealedAws>('aws', { open, cloud: answers })

describe('what AWS is asked', () => {
  let sts: ScriptedSts
  beforeEach(async () => {
    sts = await scriptedSts()
  })
  afterEach(() => sts.close())

  const world = quickWorld()
  const mint = (spec: AwsGrant = AWS, changes: Partial<MintOrder> = {}) =>
    awsTarget({ signer, issuerUrl: ISSUER, endpoint: sts.url, world }).mint(
      spec,
      order({ aws: spec }, changes),
    )
  const asked = async (spec: AwsGrant = AWS, changes: Partial<MintOrder> = {}) => {
    expect(await mint(spec, changes)).toMatchObject({ ok: true })
    return Object.fromEntries(sts.requests[0]!.form)
  }

  it('is exactly one role, for one job, with a policy of its own', async () => {
    expect(await asked()).toEqual({
      Action: 'AssumeRoleWithWebIdentity',
      Version: '2011-06-15',
      RoleArn: AWS.role,
      RoleSessionName: 'tvm-payments-55881234001',
      DurationSeconds: '900',
      WebIdentityToken: expect.any(String) as string,
      Policy: expect.any(String) as string,
    })
  })

  it('is the managed policies too, where the grant names some', async () => {
    const managedPolicies = ['arn:aws:iam::aws:policy/ReadOnlyAccess']
    const form = await asked({ ...AWS, managedPolicies })
    expect(form['PolicyArns.member.1.arn']).toBe(managedPolicies[0])
  })

  it.each([
    ['no less than STS gives', 60, '900'],
    ['what the order says', 3600, '3600'],
  ])('is a duration of %s', async (_, ttl, seconds) => {
    expect((await asked(AWS, { ttl }))['DurationSeconds']).toBe(seconds)
  })

  it('holds a short time by a deny in the session policy', async () => {
    const { Policy } = await asked(AWS, { ttl: 60 })
    expect(JSON.parse(Policy!)).toMatchObject({
      Statement: expect.arrayContaining([
        expect.objectContaining({
          Effect: 'Deny',
          Condition: { DateGreaterThan: { 'aws:CurrentTime': '2026-11-22T01:01:00Z' } },
        }),
      ]) as unknown,
    })
  })

  it('names the values of this job in the session policy', async () => {
    const { Policy } = await asked()
    expect(Policy).toContain('arn:aws:s3:::artifacts/99120/*')
  })

  it('is nothing where a template value cannot stand in a policy', async () => {
    const sessionPolicy = {
      Version: '2012-10-17',
      Statement: [{ Effect: 'Allow', Action: 's3:GetObject', Resource: '${claims.environment}' }],
    } as const
    const refused = { ok: false, code: 'template_value_refused', target: 'aws' }
    const changed = { principal: principal({ environment: 'a*b' }) }
    expect(await mint({ ...AWS, sessionPolicy }, changed)).toMatchObject(refused)
    const lacking = { principal: principal({ environment: null }) }
    expect(await mint({ ...AWS, sessionPolicy }, lacking)).toMatchObject(refused)
    expect(sts.requests).toHaveLength(0)
  })

  it('pins the credentials to the address of the request', async () => {
    const { Policy } = await asked({ ...AWS, pinSourceIp: true })
    expect(Policy).toContain('203.0.113.7')
  })

  it('leaves the address out where nothing is pinned', async () => {
    const { Policy } = await asked()
    expect(Policy).not.toContain('203.0.113.7')
  })

  it('pins to the blocks that the grant names, wherever the request came from', async () => {
    const spec = { ...AWS, pinSourceIp: ['198.51.100.0/24'] }
    const { Policy } = await asked(spec, { address: '10.0.0.7' })
    expect(Policy).toContain('198.51.100.0/24')
  })

  it.each([
    ['there is none', null],
    ['it is loopback', '127.0.0.1'],
    ['it is private', '10.20.30.40'],
    ['it is IPv6', '2001:db8::7'],
  ])('is nothing where the address should be pinned and %s', async (_, address) => {
    expect(await mint({ ...AWS, pinSourceIp: true }, { address })).toMatchObject({
      ok: false,
      code: 'address_unpinnable',
      target: 'aws',
    })
    expect(sts.requests).toHaveLength(0)
  })

  it('tells the job and the audit what was made', async () => {
    const minted = await mint()
    expect(minted).toMatchObject({
      reply: {
        access_key_id: 'ASIA0000000000000001',
        account_id: '111122223333',
        role_arn: AWS.role,
        region: 'eu-west-1',
        expires_at: '2026-11-22T01:15:00Z',
      },
      facts: {
        role: AWS.role,
        session_name: 'tvm-payments-55881234001',
        access_key_sha256: createHash('sha256').update('ASIA0000000000000001').digest('hex'),
        expiration: '2026-11-22T01:15:00Z',
        duration_seconds: 900,
        session_policy_sha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        packed_policy_size: 34,
        session_token_utilization: 21,
        aws_request_id: 'b1f2-77',
      },
    })
  })

  it.each([
    ["the cloud's code", failure(403, 'AccessDenied'), 'AccessDenied'],
    ['a code of a form that is not a word', failure(403, 'a<b>\n'), 'UnreadableAnswer'],
    ['too long a code', failure(403, 'A'.repeat(65)), 'UnreadableAnswer'],
    ['a connection that breaks', reset, 'NetworkError'],
    ['another role', lying({ arn: null }), 'AnswerForAnotherRole'],
  ])('says what it was about: %s', async (_, play, about) => {
    sts.next(play, play, play)
    expect(await mint()).toMatchObject({ ok: false, about })
  })

  it('waits longer before each further try', async () => {
    const waiting = quickWorld()
    const always = { ...waiting, random: (bytes: number) => new Uint8Array(bytes).fill(255) }
    sts.next(failure(400, 'Throttling'), failure(400, 'Throttling'))
    const target = awsTarget({ signer, issuerUrl: ISSUER, endpoint: sts.url, world: always })
    expect(await target.mint(AWS, order({ aws: AWS }))).toMatchObject({ ok: true })
    expect(waiting.pauses).toEqual([200, 400])
  })

  it('is refused by a connection to nobody', async () => {
    await sts.close()
    expect(await mint()).toMatchObject({ code: 'target_unavailable', about: 'NetworkError' })
  })
})

describe('where AWS is asked', () => {
  it('is the endpoint of the region, whatever the environment of the broker says', async () => {
    const elsewhere = await scriptedSts()
    const lookup = vi.spyOn(dns, 'lookup').mockImplementation((...given: readonly unknown[]) => {
      const answer = given.at(-1) as (error: Error) => void
      answer(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
    })
    vi.stubEnv('AWS_ENDPOINT_URL', elsewhere.url)
    try {
      const parts = { signer, issuerUrl: ISSUER, endpoint: null, world: quickWorld() }
      expect(await awsTarget(parts).mint(AWS, order({ aws: AWS }))).toMatchObject({
        code: 'target_unavailable',
        about: 'NetworkError',
      })
      expect(lookup.mock.calls.map(([name]) => name)).toEqual(
        Array.from({ length: 3 }, () => 'sts.eu-west-1.amazonaws.com'),
      )
      expect(elsewhere.requests).toHaveLength(0)
    } finally {
      vi.unstubAllEnvs()
      lookup.mockRestore()
      await elsewhere.close()
    }
  })
})
