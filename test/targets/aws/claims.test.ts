import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { awsClaims, roleSessionName, tagValue } from '../../../server/targets/aws/claims.ts'
import { AWS, order, principal, sessionId } from '../orders.ts'

const ALPHABET = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u

describe('a tag value', () => {
  it.each([
    ['stays as it is where AWS takes it', 'refs/heads/main', 'refs/heads/main'],
    ['keeps letters of any script', 'Prüfung 東京', 'Prüfung 東京'],
    ['escapes what AWS refuses', 'refs/heads/fix#12,(a)', 'refs/heads/fix=2312=2C=28a=29'],
    ['escapes the escape', 'a=23', 'a=3D23'],
    ['escapes each byte of UTF-8', 'a\u{1F680}', 'a=F0=9F=9A=80'],
    ['tells a lone surrogate from the replacement character', '\ud800', '=ED=A0=80'],
    ['is the replacement character where that was written', '\ufffd', '=EF=BF=BD'],
    ['is empty where nothing is written', '', ''],
    ['may be 256 characters long', 'a'.repeat(256), 'a'.repeat(256)],
  ])('%s', (_, text, value) => {
    expect(tagValue(text)).toBe(value)
  })

  it('ends with a digest where it would be too long', () => {
    const value = tagValue('a'.repeat(257))
    expect(value).toMatch(/^a{205}=sha256:[\w-]{43}$/)
    expect(tagValue('a'.repeat(258))).not.toBe(value)
  })

  it('is never cut inside an escape or a character', () => {
    expect(tagValue('#'.repeat(100))).toMatch(/^(=23){68}=sha256:[\w-]{43}$/)
    expect(tagValue('\u{20000}'.repeat(200))).toMatch(/^\u{20000}{102}=sha256:[\w-]{43}$/u)
  })

  const anyText = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.string({
      unit: fc.constantFrom(
        'a',
        '=',
        '2',
        '3',
        'D',
        'F',
        's',
        '#',
        ':',
        '\ud800',
        '\udc00',
        '\ufffd',
      ),
      maxLength: 300,
    }),
  )

  it('is always one that AWS takes', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(tagValue(text)).toMatch(ALPHABET)
        expect(tagValue(text).length).toBeLessThanOrEqual(256)
        expect(tagValue(text).isWellFormed()).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  it('differs wherever the texts differ', () => {
    const short = fc.string({
      unit: fc.constantFrom('a', '=', '2', '3', 'D', 'E', 's', '#', '\ud800', '\ufffd'),
      maxLength: 6,
    })
    const pairs = fc.oneof(fc.tuple(short, short), fc.tuple(anyText, anyText))
    fc.assert(
      fc.property(pairs, ([a, b]) => {
        expect(tagValue(a) === tagValue(b)).toBe(a === b)
      }),
      { numRuns: 5000 },
    )
  })

  it('never makes the tag of a short text look like that of a long one', () => {
    const value = tagValue('a'.repeat(300))
    expect(tagValue(value)).not.toBe(value)
  })
})

describe('the claims for AWS', () => {
  it('name the job in tags, the session as source identity and the one role', () => {
    expect(awsClaims(AWS, order({ aws: AWS }))).toEqual({
      tags: {
        team: 'payments',
        'tvm:issuer': 'github',
        'tvm:grant': 'payments-deploy',
        'tvm:repository_id': '99120',
        'tvm:repository': 'acme/payments',
        'tvm:ref': 'refs/heads/main',
        'tvm:environment': 'production',
        'tvm:run': '19582107001/1',
        'tvm:job': 'github/99120/19582107001/1/55881234001',
        'tvm:actor_id': '583231',
        'tvm:session': sessionId(1),
        'tvm:revision': '9a0364b9e99bb480dd25e1f0284c8555d2f9a0b1',
      },
      transitive: [
        'tvm:issuer',
        'tvm:grant',
        'tvm:repository_id',
        'tvm:repository',
        'tvm:ref',
        'tvm:environment',
        'tvm:run',
        'tvm:job',
        'tvm:actor_id',
        'tvm:session',
        'tvm:revision',
      ],
      sourceIdentity: sessionId(1),
      roles: [AWS.role],
    })
  })

  it('have no tag for what the token does not say', () => {
    const claims = awsClaims(
      AWS,
      order({ aws: AWS }, { principal: principal({ environment: null }) }),
    )
    expect(claims.tags).not.toHaveProperty('tvm:environment')
    expect(claims.transitive).not.toContain('tvm:environment')
  })

  it('are ours even where an author tag has their name', () => {
    const spec = { ...AWS, tags: { 'tvm:grant': 'another' } }
    expect(awsClaims(spec, order({ aws: spec })).tags['tvm:grant']).toBe('payments-deploy')
  })
})

describe('the session name', () => {
  const named = (changes: Record<string, string | null>) =>
    roleSessionName(order({ aws: AWS }, { principal: principal(changes) }))

  it.each([
    ['names repository and job', {}, 'tvm-payments-55881234001'],
    ['has only characters that AWS takes', { repository: 'a/b:c d' }, 'tvm-b_c_d-55881234001'],
    [
      'shortens the repository, never the job',
      { repository: `acme/${'r'.repeat(100)}` },
      `tvm-${'r'.repeat(48)}-55881234001`,
    ],
    [
      'names the key of a job that has no id',
      { check_run_id: null },
      'tvm-payments-jkt_NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs',
    ],
  ])('%s', (_, changes: Record<string, string | null>, name) => {
    expect(named(changes)).toBe(name)
  })

  it('is always one that AWS takes', () => {
    const claim = fc.string({ unit: 'binary', maxLength: 100 })
    fc.assert(
      fc.property(claim, claim, (repository, check_run_id) => {
        expect(named({ repository, check_run_id })).toMatch(/^[\w+=,.@-]{2,64}$/)
      }),
    )
  })
})
