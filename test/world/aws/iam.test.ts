import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { evaluate, type Context, type Question, type Verdict } from './iam.ts'
import { parsePolicy, type Condition, type Policy } from './policy.ts'
import { tvmTrustPolicy } from './trust.ts'

type Written = Readonly<Record<string, unknown>>

const ALLOW = {
  Effect: 'Allow',
  Action: 's3:PutObject',
  Resource: 'arn:aws:s3:::artifacts/99120/*',
} satisfies Written

const ASKED: Question = {
  action: 's3:PutObject',
  resource: 'arn:aws:s3:::artifacts/99120/build.zip',
  context: {
    'aws:CurrentTime': '2026-11-22T01:27:00Z',
    'aws:SourceIp': '203.0.113.7',
    'aws:ViaAWSService': 'false',
    'aws:PrincipalTag/tvm:repository_id': '99120',
    'aws:PrincipalTag/star': '*',
    'aws:TagKeys': ['tvm:grant', 'tvm:job'],
  },
}

function permission(...statements: readonly Written[]): Policy {
  return parsePolicy('permission', { Version: '2012-10-17', Statement: statements })
}

/** The verdict on one Allow statement that differs from ALLOW in these members. */
function judged(change: Written, asked: Partial<Question> = {}): Verdict {
  return evaluate([permission({ ...ALLOW, ...change })], { ...ASKED, ...asked })
}

describe('an Allow does not reach', () => {
  const rows: [string, Written, Partial<Question>?][] = [
    ['another action', { Action: 's3:GetObject' }],
    ['an action that only starts like it', { Action: 's3:Put' }],
    ['an action that it names as the exception', { Action: undefined, NotAction: 's3:Put*' }],
    ['another object', {}, { resource: 'arn:aws:s3:::artifacts/99121/build.zip' }],
    ['the bucket when it names objects', {}, { resource: 'arn:aws:s3:::artifacts' }],
    ['a resource in other letters', { Resource: 'arn:aws:s3:::ARTIFACTS/*' }],
    [
      'a resource with two characters for one question mark',
      { Resource: 'arn:aws:s3:::artifacts/9912?/buil?' },
    ],
    [
      'a resource that is the exception',
      { Resource: undefined, NotResource: 'arn:aws:s3:::artifacts/*' },
    ],
    [
      'a dot where the pattern has one',
      { Resource: 'arn:aws:s3:::artifacts/99120/build.zip' },
      { resource: 'arn:aws:s3:::artifacts/99120/buildxzip' },
    ],
    [
      'a variable without a value',
      { Resource: 'arn:aws:s3:::artifacts/${aws:PrincipalTag/none}/*' },
    ],
    ['a variable with several values', { Resource: 'arn:aws:s3:::artifacts/${aws:TagKeys}/*' }],
    ['a variable that nobody knows', { Resource: ['*', 'arn:aws:s3:::${aws:PrincipalTagg/x}'] }],
    ['a variable that is not closed', { Resource: 'arn:aws:s3:::artifacts/${aws:SourceIp' }],
    [
      'a star that came out of a tag',
      { Resource: 'arn:aws:s3:::artifacts/${aws:PrincipalTag/star}' },
    ],
    [
      'a trust question',
      {},
      { federated: 'arn:aws:iam::111122223333:oidc-provider/tvm.example.com' },
    ],
  ]
  test.each(rows)('%s', (_name, change, asked) => {
    expect(judged(change, asked)).toBe('not_allowed')
  })
})

describe('an Allow reaches', () => {
  const rows: [string, Written][] = [
    ['what it names', {}],
    ['an action in other letters', { Action: 'S3:putobject' }],
    ['an action by wildcard', { Action: ['s3:Get*', 's3:P?tO*'] }],
    ['all but the exception', { Action: undefined, NotAction: ['iam:*', 'sts:*'] }],
    ['everything by a star', { Resource: '*' }],
    ['a resource over slashes', { Resource: 'arn:aws:s3:::artifacts*' }],
    [
      'all but the excepted resource',
      { Resource: undefined, NotResource: 'arn:aws:s3:::secrets/*' },
    ],
    [
      'a resource by the tag of the principal',
      { Resource: 'arn:aws:s3:::artifacts/${aws:PrincipalTag/tvm:repository_id}/*' },
    ],
    [
      'a variable by its default',
      { Resource: "arn:aws:s3:::artifacts/${aws:PrincipalTag/none, '99120'}/*" },
    ],
  ]
  test.each(rows)('%s', (_name, change) => {
    expect(judged(change)).toBe('allowed')
  })
})

test('a variable is plain text in a policy of the old version', () => {
  const Resource = 'arn:aws:s3:::artifacts/${aws:PrincipalTag/tvm:repository_id}/*'
  const old = parsePolicy('permission', {
    Version: '2008-10-17',
    Statement: { ...ALLOW, Resource },
  })
  expect(evaluate([old], ASKED)).toBe('not_allowed')
})

describe('conditions', () => {
  const rows: [string, Written, boolean, Context?][] = [
    [
      'a text that differs by a letter',
      { StringEquals: { 'aws:SourceIp': '203.0.113.70' } },
      false,
    ],
    ['a text in other letters', { StringEquals: { 'aws:ViaAWSService': 'False' } }, false],
    ['a star in StringEquals is a star', { StringEquals: { 'aws:SourceIp': '203.*' } }, false],
    ['an empty list', { StringEquals: { 'aws:SourceIp': [] } }, false],
    ['an absent key', { StringEquals: { 'aws:SourceIdentity': 'x' } }, false],
    [
      'one of two conditions',
      { StringEquals: { 'aws:SourceIp': '203.0.113.7' }, Bool: { 'aws:ViaAWSService': 'true' } },
      false,
    ],
    [
      'one of two keys',
      { StringEquals: { 'aws:SourceIp': '203.0.113.7', 'aws:ViaAWSService': 'true' } },
      false,
    ],
    ['a key that nobody knows', { StringNotEquals: { 'aws:SorceIp': 'x' } }, false],
    [
      'a claim that is no key of a private issuer',
      { StringNotEquals: { 'tvm.example.com:grant': 'x' } },
      false,
    ],
    [
      'a key that nobody knows, with IfExists',
      { StringEqualsIfExists: { 'aws:SorceIp': 'x' } },
      false,
    ],
    ['a key that nobody knows, with Null', { Null: { 'aws:SorceIp': 'true' } }, false],
    [
      'one of the excluded texts',
      { StringNotEquals: { 'aws:SourceIp': ['x', '203.0.113.7'] } },
      false,
    ],
    ['a pattern that ends early', { StringLike: { 'aws:SourceIp': '203.0.113' } }, false],
    ['an excluded pattern', { StringNotLike: { 'aws:SourceIp': '203.*' } }, false],
    ['an address outside the block', { IpAddress: { 'aws:SourceIp': '203.0.113.8/29' } }, false],
    [
      'an address inside an excluded block',
      { NotIpAddress: { 'aws:SourceIp': '203.0.113.0/24' } },
      false,
    ],
    ['a block that is none', { NotIpAddress: { 'aws:SourceIp': '203.0.113.0/33' } }, false],
    ['a name for an address', { NotIpAddress: { 'aws:SourceIp': 'localhost' } }, false],
    [
      'a time that has passed',
      { DateLessThan: { 'aws:CurrentTime': '2026-11-22T01:27:00Z' } },
      false,
    ],
    [
      'a time that has not come',
      { DateGreaterThan: { 'aws:CurrentTime': '2026-11-22T01:27:00Z' } },
      false,
    ],
    ['a date that is none', { DateLessThan: { 'aws:CurrentTime': 'tomorrow' } }, false],
    [
      'a date without a zone',
      { DateLessThan: { 'aws:CurrentTime': '2026-11-22T01:28:00' } },
      false,
    ],
    ['Bool with a third value', { Bool: { 'aws:ViaAWSService': 'no' } }, false],
    ['an absent Bool', { Bool: { 'sts:RoleAuthorizedByIdp': 'false' } }, false],
    ['Null on a present key', { Null: { 'aws:SourceIp': 'true' } }, false],
    ['Null false on an absent key', { Null: { 'aws:SourceIdentity': 'false' } }, false],
    ['a plain operator on a multivalued key', { StringLike: { 'aws:TagKeys': '*' } }, false],
    ['even a negated one', { StringNotEquals: { 'aws:TagKeys': 'x' } }, false],
    [
      'ForAllValues with a stranger among the values',
      { 'ForAllValues:StringEquals': { 'aws:TagKeys': ['tvm:grant'] } },
      false,
    ],
    [
      'ForAnyValue without a common value',
      { 'ForAnyValue:StringEquals': { 'aws:TagKeys': ['x'] } },
      false,
    ],
    ['ForAnyValue on an absent key', { 'ForAnyValue:StringEquals': { 's3:prefix': ['x'] } }, false],
    [
      'an ARN star over a colon',
      { ArnLike: { 'aws:PrincipalArn': 'arn:aws:iam:*:role/x' } },
      false,
      { 'aws:PrincipalArn': 'arn:aws:iam::1:role/x' },
    ],
    [
      'an operator of IAM that is not read here',
      { BinaryEquals: { 'aws:SourceIp': 'eA==' } },
      false,
    ],
    [
      'a number that is too large',
      { NumericLessThanEquals: { 's3:max-keys': 10 } },
      false,
      { 's3:max-keys': '11' },
    ],
    ['the same text', { StringEquals: { 'aws:SourceIp': ['x', '203.0.113.7'] } }, true],
    ['a key in other letters', { StringEquals: { 'AWS:sourceip': '203.0.113.7' } }, true],
    [
      'the same text but for letters',
      { StringEqualsIgnoreCase: { 'aws:ViaAWSService': 'FALSE' } },
      true,
    ],
    [
      'a negated operator on an absent key',
      { StringNotEquals: { 'aws:SourceIdentity': 'x' } },
      true,
    ],
    ['IfExists on an absent key', { StringEqualsIfExists: { 'aws:SourceIdentity': 'x' } }, true],
    ['a text by a variable', { StringEquals: { 'aws:SourceIp': '${aws:SourceIp}' } }, true],
    [
      'an address inside the block',
      { IpAddress: { 'aws:SourceIp': ['2001:db8::/32', '203.0.113.0/29'] } },
      true,
    ],
    [
      'an address of the other family, excluded',
      { NotIpAddress: { 'aws:SourceIp': '2001:db8::/32' } },
      true,
    ],
    [
      'a time that is still to come',
      { DateLessThan: { 'aws:CurrentTime': '2026-11-22T01:27:01Z' } },
      true,
    ],
    [
      'a time as seconds of the epoch',
      { DateGreaterThanEquals: { 'aws:CurrentTime': '1795310820' } },
      true,
    ],
    ['Bool as a JSON boolean', { Bool: { 'aws:ViaAWSService': false } }, true],
    ['Null on an absent key', { Null: { 'aws:SourceIdentity': 'true' } }, true],
    [
      'ForAllValues on an absent key, which is vacuous',
      { 'ForAllValues:StringEquals': { 's3:prefix': ['x'] } },
      true,
    ],
    [
      'ForAllValues with all values named',
      { 'ForAllValues:StringLike': { 'aws:TagKeys': ['tvm:*'] } },
      true,
    ],
    [
      'an ARN by its parts',
      { ArnLike: { 'aws:PrincipalArn': 'arn:aws:iam::*:role/*' } },
      true,
      { 'aws:PrincipalArn': 'arn:aws:iam::1:role/a/b' },
    ],
  ]
  test.each(rows)('%s', (_name, Condition, held, context = {}) => {
    const asked = { context: { ...ASKED.context, ...context } }
    expect(judged({ Condition }, asked)).toBe(held ? 'allowed' : 'not_allowed')
  })
})

describe('a Deny wins', () => {
  const rows: [string, Written, Verdict][] = [
    ['over an Allow', { Action: '*', Resource: '*' }, 'denied'],
    [
      'after the hour',
      {
        Action: '*',
        Resource: '*',
        Condition: { DateGreaterThan: { 'aws:CurrentTime': '2026-11-22T01:26:59Z' } },
      },
      'denied',
    ],
    [
      'off the address',
      {
        Action: '*',
        Resource: '*',
        Condition: {
          NotIpAddress: { 'aws:SourceIp': ['198.51.100.9/32'] },
          Bool: { 'aws:ViaAWSService': 'false' },
        },
      },
      'denied',
    ],
    [
      'with a key that nobody knows',
      { Action: '*', Resource: '*', Condition: { StringEquals: { 'aws:SorceIp': 'x' } } },
      'denied',
    ],
    [
      'with a date that is none',
      { Action: '*', Resource: '*', Condition: { DateGreaterThan: { 'aws:CurrentTime': 'soon' } } },
      'denied',
    ],
    [
      'with an operator that is not read here',
      { Action: '*', Resource: '*', Condition: { BinaryEquals: { 'aws:SourceIp': 'eA==' } } },
      'denied',
    ],
    [
      'with a variable that nobody knows',
      { Action: '*', Resource: 'arn:aws:s3:::${aws:who}/*' },
      'denied',
    ],
    [
      'not before the hour',
      {
        Action: '*',
        Resource: '*',
        Condition: { DateGreaterThan: { 'aws:CurrentTime': '2026-11-22T01:27:00Z' } },
      },
      'allowed',
    ],
    [
      'not on the address',
      {
        Action: '*',
        Resource: '*',
        Condition: { NotIpAddress: { 'aws:SourceIp': ['203.0.113.7/32'] } },
      },
      'allowed',
    ],
    ['not for another action', { Action: 'sts:AssumeRole', Resource: '*' }, 'allowed'],
    [
      'not for another action, however unreadable',
      {
        Action: 'sts:AssumeRole',
        Resource: '*',
        Condition: { BinaryEquals: { 'aws:SourceIp': 'eA==' } },
      },
      'allowed',
    ],
  ]
  test.each(rows)('%s', (_name, deny, verdict) => {
    expect(evaluate([permission(ALLOW, { Effect: 'Deny', ...deny })], ASKED)).toBe(verdict)
    expect(evaluate([permission({ Effect: 'Deny', ...deny }), permission(ALLOW)], ASKED)).toBe(
      verdict,
    )
  })
})

describe('an operator that slipped past the parser', () => {
  const statement = permission(ALLOW).statements[0]!
  const conditions: Condition[] = [
    { operator: 'StringSounds', key: 'aws:SourceIp', values: ['203'] },
  ]
  test('does not allow', () => {
    expect(evaluate([{ statements: [{ ...statement, conditions }] }], ASKED)).toBe('not_allowed')
  })
  test('denies', () => {
    const deny = { ...statement, effect: 'Deny' as const, conditions }
    expect(evaluate([{ statements: [statement, deny] }], ASKED)).toBe('denied')
  })
})

test('no policies allow nothing', () => {
  expect(evaluate([], ASKED)).toBe('not_allowed')
})

describe('a trust policy', () => {
  const providerArn = 'arn:aws:iam::111122223333:oidc-provider/tvm.example.com'
  const written = tvmTrustPolicy({
    providerArn,
    host: 'tvm.example.com',
    grant: 'payments-deploy',
    audience: 'sts.amazonaws.com',
  })
  const context: Context = {
    'tvm.example.com:aud': 'sts.amazonaws.com',
    'tvm.example.com:sub': 'grant:payments-deploy',
    'aws:RequestTag/tvm:grant': 'payments-deploy',
    'sts:RoleSessionName': 'tvm-99120-51725241954',
    'sts:SourceIdentity': 'ses_01j00000000000000000000000',
    'sts:RoleAuthorizedByIdp': 'true',
  }
  const assume = 'sts:AssumeRoleWithWebIdentity'
  const rows: [string, Context, Partial<Question>?][] = [
    ['another audience', { 'tvm.example.com:aud': 'sts.amazonaws.com.evil' }],
    ['another subject', { 'tvm.example.com:sub': 'grant:payments-deploy2' }],
    ['another grant in the tag', { 'aws:RequestTag/tvm:grant': 'other' }],
    ['no grant in the tags', { 'aws:RequestTag/tvm:grant': undefined }],
    ['a session name of another maker', { 'sts:RoleSessionName': 'botocore-session-1' }],
    ['a source identity of another maker', { 'sts:SourceIdentity': 'octocat' }],
    ['no source identity', { 'sts:SourceIdentity': undefined }],
    ['a token without a roles claim', { 'sts:RoleAuthorizedByIdp': 'false' }],
    ['another provider', {}, { federated: `${providerArn}.evil.com` }],
    ['another act', {}, { action: 'sts:AssumeRole' }],
    ['a caller without a provider', {}, { federated: undefined as never }],
  ]
  test.each(rows)('of TVM refuses %s', (_name, change, asked) => {
    const question = {
      action: assume,
      federated: providerArn,
      ...asked,
      context: { ...context, ...change },
    }
    expect(evaluate([parsePolicy('trust', written)], question)).toBe('not_allowed')
  })
  test.each([assume, 'sts:TagSession', 'sts:SetSourceIdentity'])('of TVM allows %s', (action) => {
    const question = { action, federated: providerArn, context }
    expect(evaluate([parsePolicy('trust', written)], question)).toBe('allowed')
  })

  const starRows: [string, unknown, Verdict][] = [
    ['a star lets no federated caller in', '*', 'not_allowed'],
    ['nor does any AWS principal', { AWS: '*' }, 'not_allowed'],
    ['nor any federated one', { Federated: '*' }, 'not_allowed'],
    ['nor a service', { Service: 'ec2.amazonaws.com' }, 'not_allowed'],
  ]
  test.each(starRows)('%s', (_name, Principal, verdict) => {
    const trust = {
      Version: '2012-10-17',
      Statement: { Effect: 'Allow', Principal, Action: assume },
    }
    expect(
      evaluate([parsePolicy('trust', trust)], { action: assume, federated: providerArn, context }),
    ).toBe(verdict)
  })
  test('a Deny for everyone reaches a federated caller', () => {
    const deny = { Effect: 'Deny', Principal: '*', Action: assume }
    const policies = [
      parsePolicy('trust', written),
      parsePolicy('trust', { Version: '2012-10-17', Statement: deny }),
    ]
    expect(evaluate(policies, { action: assume, federated: providerArn, context })).toBe('denied')
  })
})

describe('a document is malformed', () => {
  const trust = {
    Effect: 'Allow',
    Principal: { Federated: 'x' },
    Action: 'sts:AssumeRoleWithWebIdentity',
  }
  const rows: [string, 'permission' | 'trust', unknown][] = [
    ['that is not JSON', 'permission', '{'],
    ['that is a list', 'permission', '[]'],
    ['of another version', 'permission', { Version: '2012-10-18', Statement: ALLOW }],
    [
      'with a stranger beside Statement',
      'permission',
      { Version: '2012-10-17', Statement: ALLOW, Grants: [] },
    ],
    ['without a statement', 'permission', { Version: '2012-10-17' }],
    ['with no statements', 'permission', { Version: '2012-10-17', Statement: [] }],
    ['with a stranger in a statement', 'permission', { Statement: { ...ALLOW, Actions: 's3:*' } }],
    [
      'with a principal in a permission policy',
      'permission',
      { Statement: { ...ALLOW, Principal: '*' } },
    ],
    ['with a third effect', 'permission', { Statement: { ...ALLOW, Effect: 'allow' } }],
    ['with Action and NotAction', 'permission', { Statement: { ...ALLOW, NotAction: 's3:*' } }],
    ['with neither', 'permission', { Statement: { ...ALLOW, Action: undefined } }],
    ['with no action in the list', 'permission', { Statement: { ...ALLOW, Action: [] } }],
    [
      'with an action without a vendor',
      'permission',
      { Statement: { ...ALLOW, Action: 'PutObject' } },
    ],
    [
      'with a resource that is no ARN',
      'permission',
      { Statement: { ...ALLOW, Resource: 'artifacts/*' } },
    ],
    ['without a resource', 'permission', { Statement: { ...ALLOW, Resource: undefined } }],
    [
      'with an operator that IAM has not',
      'permission',
      { Statement: { ...ALLOW, Condition: { StringSounds: { 'aws:SourceIp': 'x' } } } },
    ],
    [
      'with an operator in other letters',
      'permission',
      { Statement: { ...ALLOW, Condition: { stringEquals: { 'aws:SourceIp': 'x' } } } },
    ],
    ['with a list for a condition', 'permission', { Statement: { ...ALLOW, Condition: [] } }],
    [
      'with an object for a value',
      'permission',
      { Statement: { ...ALLOW, Condition: { StringEquals: { 'aws:SourceIp': {} } } } },
    ],
    [
      'with two statements of one Sid',
      'permission',
      {
        Statement: [
          { ...ALLOW, Sid: 'A' },
          { ...ALLOW, Sid: 'A' },
        ],
      },
    ],
    ['with a resource in a trust policy', 'trust', { Statement: { ...trust, Resource: '*' } }],
    [
      'without a principal in a trust policy',
      'trust',
      { Statement: { ...trust, Principal: undefined } },
    ],
    [
      'with everyone but somebody trusted',
      'trust',
      { Statement: { ...trust, Principal: undefined, NotPrincipal: '*' } },
    ],
    [
      'with an act of another service in a trust policy',
      'trust',
      { Statement: { ...trust, Action: 's3:*' } },
    ],
  ]
  test.each(rows)('%s', (_name, kind, document) => {
    const text = typeof document === 'string' ? document : JSON.stringify(document)
    expect(() => parsePolicy(kind, text)).toThrow(
      expect.objectContaining({ code: 'MalformedPolicyDocument' }),
    )
  })
})

test('a resource pattern matches what a reference matcher of stars and question marks matches', () => {
  const text = fc.string({
    unit: fc.constantFrom('a', 'b', '/', '.', '*', '?', '\n'),
    maxLength: 8,
  })
  fc.assert(
    fc.property(text, text, (pattern, value) => {
      const verdict = judged(
        { Resource: `arn:aws:s3:::${pattern}x` },
        { resource: `arn:aws:s3:::${value}x` },
      )
      expect(verdict).toBe(reference(`${pattern}x`, `${value}x`) ? 'allowed' : 'not_allowed')
    }),
    { numRuns: 2000 },
  )
})

function reference(pattern: string, value: string): boolean {
  const [first, ...more] = pattern
  const rest = more.join('')
  if (first === undefined) return value === ''
  if (first === '*' && value !== '' && reference(pattern, value.slice(1))) return true
  if (first === '*') return reference(rest, value)
  return (
    value !== '' && (first === '?' || value.startsWith(first)) && reference(rest, value.slice(1))
  )
}
