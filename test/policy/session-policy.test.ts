import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AwsGrant, SessionPolicy } from '../../server/policy/grant.ts'
import {
  composeSessionPolicy,
  longestSessionPolicy,
  sessionPolicySize,
} from '../../server/policy/session-policy.ts'
import { fillTemplates, templatesIn } from '../../server/policy/template.ts'
import { claimsWith, ROLE } from './make.ts'

const grantWith = (changes: Partial<AwsGrant> = {}): AwsGrant => ({
  role: ROLE,
  accountId: '111122223333',
  region: 'eu-west-1',
  sessionPolicy: null,
  managedPolicies: [],
  tags: {},
  pinSourceIp: false,
  chaining: false,
  ...changes,
})

const OWN: SessionPolicy = {
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Action: ['s3:PutObject'],
      Resource: 'arn:aws:s3:::artifacts/${claims.repository_id}/${claims.ref}/*',
      Condition: { StringEquals: { 's3:x-amz-acl': ['a', '${claims.sha}'] } },
    },
  ],
}
const MANAGED = ['arn:aws:iam::111122223333:policy/x']
const EXPIRES = Date.parse('2026-11-22T01:27:00.999Z')
const EXPIRY_DENY = {
  Effect: 'Deny',
  Action: '*',
  Resource: '*',
  Condition: { DateGreaterThan: { 'aws:CurrentTime': '2026-11-22T01:27:00Z' } },
}
const CHAINING_DENY = { Effect: 'Deny', Action: 'sts:AssumeRole', Resource: '*' }
const ADDRESS_DENY = {
  Effect: 'Deny',
  Action: '*',
  Resource: '*',
  Condition: {
    NotIpAddress: { 'aws:SourceIp': ['203.0.113.7/32'] },
    Bool: { 'aws:ViaAWSService': 'false' },
  },
}

const composed = (
  grant: AwsGrant,
  filled: SessionPolicy | null,
  addresses: readonly string[] | null = null,
): unknown => JSON.parse(composeSessionPolicy(grant, filled, { expiresAt: EXPIRES, addresses }))

const withStatements = (...Statement: unknown[]): unknown => ({ Version: '2012-10-17', Statement })
const EVERYTHING = { Effect: 'Allow', Action: '*', Resource: '*' }

describe('the composed session policy', () => {
  it('of a grant without bound allows what the role may, until the expiry', () => {
    expect(composed(grantWith(), null)).toEqual(withStatements(EVERYTHING, EXPIRY_DENY))
  })

  it('of a grant with its own policy allows that, and no other role', () => {
    const wanted = withStatements(...OWN.Statement, EXPIRY_DENY, CHAINING_DENY)
    expect(composed(grantWith({ sessionPolicy: OWN }), OWN)).toEqual(wanted)
  })

  it('of a grant with managed policies alone holds no Allow that would widen them', () => {
    const wanted = withStatements(EXPIRY_DENY, CHAINING_DENY)
    expect(composed(grantWith({ managedPolicies: MANAGED }), null)).toEqual(wanted)
  })

  it('of a grant with both allows its own and lets the managed ones add theirs', () => {
    const grant = grantWith({ sessionPolicy: OWN, managedPolicies: MANAGED })
    expect(composed(grant, OWN)).toEqual(
      withStatements(...OWN.Statement, EXPIRY_DENY, CHAINING_DENY),
    )
  })

  it('of a pinned grant denies every other address, and a role that would shed the pin', () => {
    const wanted = withStatements(EVERYTHING, EXPIRY_DENY, ADDRESS_DENY, CHAINING_DENY)
    expect(composed(grantWith({ pinSourceIp: true }), null, ['203.0.113.7/32'])).toEqual(wanted)
  })

  it('of a grant that may chain denies no other role', () => {
    const grant = grantWith({ sessionPolicy: OWN, chaining: true })
    expect(composed(grant, OWN)).toEqual(withStatements(...OWN.Statement, EXPIRY_DENY))
  })

  it.each<[string, AwsGrant, SessionPolicy | null, readonly string[] | null]>([
    ['a pin without address', grantWith({ pinSourceIp: true }), null, null],
    ['a pin with no address in the list', grantWith({ pinSourceIp: true }), null, []],
    ['an address that nobody pinned', grantWith(), null, ['203.0.113.7/32']],
    ['a policy that got lost on the way', grantWith({ sessionPolicy: OWN }), null, null],
    ['a policy of another grant', grantWith(), OWN, null],
  ])('is not made of %s', (_, grant, filled, addresses) => {
    expect(() => composeSessionPolicy(grant, filled, { expiresAt: EXPIRES, addresses })).toThrow()
  })

  it('is never longer than the size that was checked at load', () => {
    const alphabet = Array.from('ABCZabcz0189._@/=+:-')
    const value = fc.array(fc.constantFrom(...alphabet), { minLength: 1, maxLength: 256 })
    const id = fc.bigInt({ min: 1n, max: 10n ** 20n - 1n })
    fc.assert(
      fc.property(value, id, fc.integer({ min: 0, max: 4e12 }), (ref, number, expiresAt) => {
        const grant = grantWith({ sessionPolicy: OWN, pinSourceIp: true })
        const filled = fillTemplates(
          OWN,
          claimsWith({ ref: ref.join(''), repository_id: String(number) }),
        )
        if (!filled.ok) throw new Error(filled.about)
        const addresses = ['2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff/128']
        const text = composeSessionPolicy(grant, filled.value, { expiresAt, addresses })
        expect(sessionPolicySize(grant, text)).toBeLessThanOrEqual(longestSessionPolicy(grant))
      }),
    )
  })
})

describe('templates', () => {
  it('take the values of the claims', () => {
    const filled = fillTemplates(OWN, claimsWith({}))
    expect(filled).toMatchObject({
      ok: true,
      value: {
        Statement: [
          {
            Action: ['s3:PutObject'],
            Resource: 'arn:aws:s3:::artifacts/99120/refs/heads/main/*',
            Condition: {
              StringEquals: { 's3:x-amz-acl': ['a', '2b1c7a5f0e9d8c7b6a594837261504f3e2d1c0ba'] },
            },
          },
        ],
      },
    })
  })

  it.each<[string, Record<string, string | null>, string]>([
    ['a missing claim', { ref: null }, 'ref'],
    ['an empty claim', { ref: '' }, 'ref'],
    ['a star', { ref: 'refs/heads/*' }, 'ref'],
    ['a question mark', { ref: 'refs/heads/a?' }, 'ref'],
    ['a quote', { ref: 'a","Effect":"Allow' }, 'ref'],
    ['a backslash', { ref: 'a\\b' }, 'ref'],
    ['a variable of IAM', { ref: '${aws:username}' }, 'ref'],
    ['a template', { ref: '${claims.sha}' }, 'ref'],
    ['a dollar', { ref: 'a$&b' }, 'ref'],
    ['a space', { ref: 'a b' }, 'ref'],
    ['a newline at the end', { ref: 'a\n' }, 'ref'],
    ['a letter beyond ASCII', { ref: 'ä' }, 'ref'],
    ['257 characters', { ref: 'a'.repeat(257) }, 'ref'],
    ['an id that is none', { repository_id: '99120/../1' }, 'repository_id'],
    ['a sha that is none', { sha: 'main' }, 'sha'],
  ])('refuse %s', (_, changes, about) => {
    expect(fillTemplates(OWN, claimsWith(changes))).toEqual({
      ok: false,
      code: 'template_value_refused',
      about,
    })
  })

  it('read nothing that a claims object inherits', () => {
    const inherited = Object.create({ ref: 'refs/heads/main' }) as Record<string, string>
    expect(
      fillTemplates(OWN, Object.assign(inherited, { repository_id: '1', sha: 'a'.repeat(40) })),
    ).toMatchObject({
      ok: false,
      about: 'ref',
    })
  })

  it('are found where they stand', () => {
    expect(templatesIn('a${claims.ref}b${aws:username}${claims.sha}')).toEqual(['ref', 'sha'])
    expect(templatesIn('${claims.ref')).toBeNull()
    expect(templatesIn('$ { } *')).toEqual([])
  })
})
