import { exportSPKI, importJWK, type CryptoKey, type JWTPayload } from 'jose'
import {
  AssumeRoleWithWebIdentityCommand,
  STSServiceException,
  type AssumeRoleWithWebIdentityCommandInput,
} from '@aws-sdk/client-sts'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  ACCOUNT,
  DISCOVERY,
  goodClaims,
  ISSUER,
  makeKey,
  PROVIDER_ARN,
  ROLE,
  SESSION_NAME,
  signToken,
  SOURCE_IDENTITY,
  startIssuer,
  stsClient,
  type ScriptedIssuer,
  type TestKey,
} from './fixture.ts'
import { startAws, tvmTrustPolicy, type Fault, type LocalAws } from './index.ts'

const NOW = Date.parse('2026-11-22T01:27:00.500Z')
const SECONDS = Math.floor(NOW / 1000)
const TAGS = 'https://aws.amazon.com/tags'
const SOURCE = 'https://aws.amazon.com/source_identity'
const ROLES = 'https://aws.amazon.com/roles'

let rsa: TestKey
let otherRsa: TestKey
let ec: TestKey
let ed: TestKey
let issuer: ScriptedIssuer
let tokenIssuer: ScriptedIssuer
let aws: LocalAws

beforeAll(async () => {
  ;[rsa, otherRsa, ec, ed] = await Promise.all([
    makeKey('RS256', 'key-1'),
    makeKey('RS256', 'key-1'),
    makeKey('ES256', 'key-ec'),
    makeKey('EdDSA', 'key-ed'),
  ])
  issuer = await startIssuer()
  tokenIssuer = await startIssuer()
})

afterAll(() => {
  issuer.close()
  tokenIssuer.close()
})

const TRUST = tvmTrustPolicy({
  providerArn: PROVIDER_ARN,
  host: 'tvm.example.com',
  grant: 'payments-deploy',
  audience: 'sts.amazonaws.com',
})

/** TRUST's one statement with these members. */
function trust(change: Readonly<Record<string, unknown>>) {
  return { Version: '2012-10-17', Statement: [{ ...TRUST.Statement[0], ...change }] }
}

function role(name: string): string {
  return `arn:aws:iam::${ACCOUNT}:role/tvm/${name}`
}

const TRUSTED = 'sts:AssumeRoleWithWebIdentity'
const OTHER_TRUSTS = {
  'no-tag-session': trust({ Action: [TRUSTED, 'sts:SetSourceIdentity'] }),
  'no-source-identity': trust({ Action: [TRUSTED, 'sts:TagSession'] }),
  'no-assume': trust({ Action: ['sts:TagSession', 'sts:SetSourceIdentity'] }),
  'other-provider': trust({ Principal: { Federated: `${PROVIDER_ARN}.evil.com` } }),
  'other-address': trust({ Condition: { IpAddress: { 'aws:SourceIp': '203.0.113.7/32' } } }),
  'misspelt-key': trust({ Condition: { StringNotEquals: { 'tvm.example.com:subb': 'x' } } }),
  'wants-tag': trust({
    Condition: { StringEquals: { 'aws:RequestTag/tvm:environment': 'production' } },
  }),
  'wants-claim': trust({
    Condition: { StringEquals: { 'tvm.example.com:repository_id': '99120' } },
  }),
  open: trust({ Condition: {} }),
} as const

beforeEach(async () => {
  issuer.pages.clear()
  issuer.pages.set('/.well-known/openid-configuration', DISCOVERY)
  issuer.pages.set('/.well-known/jwks.json', { keys: [rsa.jwk] })
  tokenIssuer.pages.set('/tokens/.well-known/openid-configuration', DISCOVERY)
  aws = await startAws({
    now: () => NOW,
    resolve: { [ISSUER]: issuer.url, 'https://broker.example.com': tokenIssuer.url },
    issuerTimeout: 500,
    providers: [{ url: ISSUER, clientIds: ['sts.amazonaws.com'] }],
    roles: [
      { arn: ROLE, trust: TRUST },
      ...Object.entries(OTHER_TRUSTS).map(([name, document]) => ({
        arn: role(name),
        trust: document,
      })),
    ],
    managedPolicies: {
      [`arn:aws:iam::${ACCOUNT}:policy/bound`]: {
        Version: '2012-10-17',
        Statement: { Effect: 'Allow', Action: 's3:*', Resource: '*' },
      },
    },
  })
})

afterEach(() => aws.close())

type Parameters = Partial<AssumeRoleWithWebIdentityCommandInput>

/** A call that is right in everything but `change`. A role of another name is put into the roles claim too. */
async function assume(change: Parameters = {}, claims: JWTPayload = {}) {
  const roles = { [ROLES]: [change.RoleArn ?? ROLE] }
  const token = await signToken(
    { ...goodClaims(NOW), ...roles, ...claims },
    { ...rsa, alg: 'RS256', kid: 'key-1' },
  )
  return call({ WebIdentityToken: token, ...change })
}

async function call(change: Parameters) {
  const client = stsClient(aws.url)
  try {
    return await client.send(
      new AssumeRoleWithWebIdentityCommand({
        RoleArn: ROLE,
        RoleSessionName: SESSION_NAME,
        DurationSeconds: 900,
        WebIdentityToken: undefined,
        ...change,
      }),
    )
  } finally {
    client.destroy()
  }
}

async function refusal(
  attempt: Promise<unknown>,
): Promise<{ code: string; message: string; status: number | undefined }> {
  const error: unknown = await attempt.then(
    () => null,
    (problem: unknown) => problem,
  )
  if (!(error instanceof STSServiceException)) throw new Error('not refused', { cause: error })
  // The SDK renames the modelled errors; the log has the code as it went over the wire.
  const code = aws.calls.at(-1)?.code ?? ''
  return { code, message: error.message, status: error.$metadata.httpStatusCode }
}

const NOT_VALIDATED = 'could not be validated'
const NO_KEY = "Couldn't retrieve verification key"
const BAD_TAGS = 'principal_tags passed in claim is not in correct format.'

describe('a claim is refused', () => {
  const tags = (principal_tags: unknown, more: object = {}) => ({
    [TAGS]: { principal_tags, ...more },
  })
  const grant = { 'tvm:grant': ['payments-deploy'] }
  const rows: [string, JWTPayload, string, string][] = [
    [
      'no iss',
      { iss: undefined as never },
      'InvalidIdentityToken',
      'Missing a required claim: iss',
    ],
    [
      'no sub',
      { sub: undefined as never },
      'InvalidIdentityToken',
      'Missing a required claim: sub',
    ],
    [
      'no aud',
      { aud: undefined as never },
      'InvalidIdentityToken',
      'Missing a required claim: aud',
    ],
    [
      'no iat',
      { iat: undefined as never },
      'InvalidIdentityToken',
      'Missing a required claim: iat',
    ],
    [
      'no exp',
      { exp: undefined as never },
      'InvalidIdentityToken',
      'Missing a required claim: exp',
    ],
    [
      'the issuer of the token target',
      { iss: 'https://broker.example.com/tokens' },
      'InvalidIdentityToken',
      'No OpenIDConnect provider found in your account for https://broker.example.com/tokens',
    ],
    [
      'an http issuer',
      { iss: 'http://tvm.example.com' },
      'InvalidIdentityToken',
      'No OpenIDConnect provider',
    ],
    [
      'an issuer with a trailing slash',
      { iss: `${ISSUER}/` },
      'InvalidIdentityToken',
      'No OpenIDConnect provider',
    ],
    ['another audience', { aud: 'sts.amazonaws.com.evil' }, 'InvalidIdentityToken', NOT_VALIDATED],
    [
      'two audiences',
      { aud: ['sts.amazonaws.com', 'other'] },
      'InvalidIdentityToken',
      'more than one audience',
    ],
    ['no audience in a list', { aud: [] }, 'InvalidIdentityToken', 'not allowed to be empty: aud'],
    ['another azp', { azp: 'other' }, 'InvalidIdentityToken', NOT_VALIDATED],
    ['a subject that is no text', { sub: 5 as never }, 'InvalidIdentityToken', NOT_VALIDATED],
    [
      'exp five minutes ago',
      { exp: SECONDS - 300 },
      'ExpiredTokenException',
      `Token expired: current date/time ${SECONDS - 300} must be before the expiration date/time ${SECONDS - 300}`,
    ],
    [
      'iat more than five minutes ahead',
      { iat: SECONDS + 301 },
      'InvalidIdentityToken',
      'Token issued in the future',
    ],
    [
      'nbf more than five minutes ahead',
      { nbf: SECONDS + 301 },
      'InvalidIdentityToken',
      'Token not yet valid',
    ],
    [
      'iat more than a day ago',
      { iat: SECONDS - 86_401 },
      'ExpiredTokenException',
      'Token too old: 86401',
    ],
    [
      'a fraction of a second in iat',
      { iat: SECONDS - 0.5 },
      'InvalidIdentityToken',
      'Invalid timestamp',
    ],
    [
      'a fraction of a second in exp',
      { exp: SECONDS + 60.5 },
      'InvalidIdentityToken',
      'Invalid timestamp',
    ],
    ['nbf as text', { nbf: 'soon' as never }, 'InvalidIdentityToken', 'Invalid timestamp'],
    [
      'tags as plain text',
      tags({ 'tvm:grant': 'payments-deploy' }),
      'InvalidIdentityToken',
      BAD_TAGS,
    ],
    [
      'tags with two values',
      tags({ 'tvm:grant': ['payments-deploy', 'x'] }),
      'InvalidIdentityToken',
      BAD_TAGS,
    ],
    ['tags with no value', tags({ 'tvm:grant': [] }), 'InvalidIdentityToken', BAD_TAGS],
    ['tags with a number', tags({ 'tvm:grant': [5] }), 'InvalidIdentityToken', BAD_TAGS],
    ['tags as a list', tags([]), 'InvalidIdentityToken', BAD_TAGS],
    [
      'a character in a value that is not allowed',
      tags({ ...grant, 'tvm:ref': ['feature/#1'] }),
      'InvalidIdentityToken',
      'tag value',
    ],
    [
      'a comma in a value',
      tags({ ...grant, 'tvm:ref': ['a,b'] }),
      'InvalidIdentityToken',
      'tag value',
    ],
    [
      'a line break in a value',
      tags({ ...grant, 'tvm:ref': ['a\n'] }),
      'InvalidIdentityToken',
      'tag value',
    ],
    [
      'a character in a key that is not allowed',
      tags({ ...grant, 'tvm#ref': ['a'] }),
      'InvalidIdentityToken',
      'tag key',
    ],
    ['an empty key', tags({ ...grant, '': ['a'] }), 'InvalidIdentityToken', 'tag key'],
    [
      'a key of 129 characters',
      tags({ ...grant, ['k'.repeat(129)]: ['a'] }),
      'InvalidIdentityToken',
      'tag key',
    ],
    [
      'a value of 257 characters',
      tags({ ...grant, 'tvm:ref': ['v'.repeat(257)] }),
      'InvalidIdentityToken',
      'tag value',
    ],
    [
      'a key of AWS',
      tags({ ...grant, 'AWS:x': ['a'] }),
      'InvalidIdentityToken',
      'may not start with aws:',
    ],
    [
      'a key twice in other letters',
      tags({ ...grant, 'TVM:grant': ['a'] }),
      'InvalidIdentityToken',
      'Duplicate tag keys',
    ],
    [
      '51 tags',
      tags(Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`k${i}`, ['v']]))),
      'InvalidIdentityToken',
      'limit of 50',
    ],
    [
      'a transitive key without its tag',
      tags(grant, { transitive_tag_keys: ['tvm:job'] }),
      'InvalidIdentityToken',
      'Transitive',
    ],
    [
      'tags in the flattened spelling',
      { [`${TAGS}/principal_tags/team`]: 'payments' },
      'InvalidIdentityToken',
      'flattened',
    ],
    [
      'a source identity with a colon',
      { [SOURCE]: 'ses_01:02' },
      'InvalidIdentityToken',
      'source identity',
    ],
    [
      'a source identity of one character',
      { [SOURCE]: 's' },
      'InvalidIdentityToken',
      'source identity',
    ],
    [
      'a source identity of 65 characters',
      { [SOURCE]: 'ses_'.padEnd(65, 'x') },
      'InvalidIdentityToken',
      'source identity',
    ],
    [
      'a source identity that is no text',
      { [SOURCE]: null },
      'InvalidIdentityToken',
      'source identity',
    ],
    [
      'another role in the roles claim',
      { [ROLES]: [`${ROLE}-2`] },
      'InvalidIdentityToken',
      'The target role ARN is not present in the roles claim of the identity token',
    ],
    [
      'a pattern in the roles claim',
      { [ROLES]: `arn:aws:iam::${ACCOUNT}:role/*` },
      'InvalidIdentityToken',
      'not present in the roles claim',
    ],
    ['an empty roles claim', { [ROLES]: [] }, 'InvalidIdentityToken', 'names no role'],
    [
      'a roles claim without a role ARN',
      { [ROLES]: 'payments-deploy' },
      'InvalidIdentityToken',
      'names no role',
    ],
  ]
  test.each(rows)('%s', async (_name, claims, code, message) => {
    const found = await refusal(assume({}, claims))
    expect(found).toMatchObject({ code, status: 400 })
    expect(found.message).toContain(message)
  })
})

describe('a signature is refused', () => {
  const header = (fields: object) => Buffer.from(JSON.stringify(fields)).toString('base64url')
  const unsigned = (fields: object) => `${header(fields)}.${header(goodClaims(NOW))}.`
  const good = () => signToken(goodClaims(NOW), { ...rsa, alg: 'RS256', kid: 'key-1' })
  const rows: [string, () => Promise<string>, string][] = [
    [
      'by HS256 with the public key',
      async () => {
        const publicKey = await exportSPKI(
          (await importJWK(rsa.jwk, 'RS256', { extractable: true })) as CryptoKey,
        )
        return signToken(goodClaims(NOW), {
          privateKey: new TextEncoder().encode(publicKey),
          alg: 'HS256',
          kid: 'key-1',
        })
      },
      'not a valid JWT',
    ],
    ['by none', () => Promise.resolve(unsigned({ alg: 'none', kid: 'key-1' })), 'not a valid JWT'],
    [
      'by none, with something for a signature',
      () => Promise.resolve(`${unsigned({ alg: 'none', kid: 'key-1' })}AAAA`),
      'not a valid JWT',
    ],
    [
      'by EdDSA',
      () => signToken(goodClaims(NOW), { ...ed, alg: 'EdDSA', kid: 'key-ed' }),
      'not a valid JWT',
    ],
    [
      'by another key of that kid',
      () => signToken(goodClaims(NOW), { ...otherRsa, alg: 'RS256', kid: 'key-1' }),
      NOT_VALIDATED,
    ],
    [
      'by a key that is not published',
      () => signToken(goodClaims(NOW), { ...otherRsa, alg: 'RS256', kid: 'key-2' }),
      NO_KEY,
    ],
    [
      'by a key without a kid',
      () => signToken(goodClaims(NOW), { ...rsa, alg: 'RS256' }),
      'not a valid JWT',
    ],
    [
      'by an algorithm that the issuer does not advertise',
      () => signToken(goodClaims(NOW), { ...ec, alg: 'ES256', kid: 'key-ec' }),
      NO_KEY,
    ],
    [
      'over other claims',
      async () => {
        const [head, , signature] = (await good()).split('.')
        return `${head ?? ''}.${header({ ...goodClaims(NOW), sub: 'grant:admin' })}.${signature ?? ''}`
      },
      NOT_VALIDATED,
    ],
    ['with padding', async () => `${await good()}==`, 'not a valid JWT'],
    ['with a fourth part', async () => `${await good()}.AAAA`, 'not a valid JWT'],
    [
      'with a critical header',
      async () => {
        const [, claims, signature] = (await good()).split('.')
        return `${header({ alg: 'RS256', kid: 'key-1', crit: ['x'], x: 1 })}.${claims ?? ''}.${signature ?? ''}`
      },
      'not a valid JWT',
    ],
    [
      'with claims that are no object',
      async () => `${(await good()).split('.')[0] ?? ''}.W10.AAAA`,
      'not a valid JWT',
    ],
  ]
  test.each(rows)('%s', async (_name, token, message) => {
    const found = await refusal(call({ WebIdentityToken: await token() }))
    expect(found.code).toBe('InvalidIdentityToken')
    expect(found.message).toContain(message)
  })
})

describe('an issuer is refused', () => {
  const DISCOVERY_PATH = '/.well-known/openid-configuration'
  const JWKS_PATH = '/.well-known/jwks.json'
  const without = (name: keyof typeof DISCOVERY) => ({ ...DISCOVERY, [name]: undefined })
  const keys = (...list: unknown[]) => ({ keys: list })
  const key = (change: object) => keys({ ...rsa.jwk, ...change })
  const many = (count: number) =>
    keys(...Array.from({ length: count }, (_, i) => ({ ...rsa.jwk, kid: `k${i}` })), rsa.jwk)
  const rows: [string, string, () => unknown, code: string, why: string][] = [
    ['that is not there', DISCOVERY_PATH, () => 404, 'IDPCommunicationError', 'status 404'],
    ['that fails', DISCOVERY_PATH, () => 503, 'IDPCommunicationError', 'status 503'],
    ['that hangs', DISCOVERY_PATH, () => 'hang', 'IDPCommunicationError', 'timeout'],
    [
      'that redirects',
      DISCOVERY_PATH,
      () => new URL(`${tokenIssuer.url}/tokens/.well-known/openid-configuration`),
      'IDPCommunicationError',
      'fetch failed',
    ],
    [
      'that does not speak JSON',
      DISCOVERY_PATH,
      () => Buffer.from('<html>'),
      'IDPCommunicationError',
      'JSON',
    ],
    [
      'whose discovery is a list',
      DISCOVERY_PATH,
      () => [],
      'InvalidIdentityToken',
      'another issuer',
    ],
    [
      'whose discovery names another issuer',
      DISCOVERY_PATH,
      () => ({ ...DISCOVERY, issuer: `${ISSUER}/` }),
      'InvalidIdentityToken',
      'another issuer',
    ],
    [
      'without response types',
      DISCOVERY_PATH,
      () => without('response_types_supported'),
      'InvalidIdentityToken',
      'lacks response_types_supported',
    ],
    [
      'without subject types',
      DISCOVERY_PATH,
      () => without('subject_types_supported'),
      'InvalidIdentityToken',
      'lacks subject_types_supported',
    ],
    [
      'without algorithms',
      DISCOVERY_PATH,
      () => without('id_token_signing_alg_values_supported'),
      'InvalidIdentityToken',
      'lacks id_token_signing_alg_values_supported',
    ],
    [
      'that does not advertise RS256',
      DISCOVERY_PATH,
      () => ({ ...DISCOVERY, id_token_signing_alg_values_supported: ['ES256'] }),
      'InvalidIdentityToken',
      'RS256 is not advertised',
    ],
    [
      'without keys',
      DISCOVERY_PATH,
      () => without('jwks_uri'),
      'InvalidIdentityToken',
      'no jwks_uri',
    ],
    [
      'whose keys are not behind https',
      DISCOVERY_PATH,
      () => ({ ...DISCOVERY, jwks_uri: `${issuer.url}/.well-known/jwks.json` }),
      'InvalidIdentityToken',
      'jwks_uri is not https',
    ],
    [
      'whose keys are where nothing is',
      DISCOVERY_PATH,
      () => ({ ...DISCOVERY, jwks_uri: 'https://keys.example.com/jwks' }),
      'IDPCommunicationError',
      'nothing serves https://keys.example.com',
    ],
    ['whose keys hang', JWKS_PATH, () => 'hang', 'IDPCommunicationError', 'timeout'],
    [
      'whose keys are no JSON',
      JWKS_PATH,
      () => Buffer.from('keys'),
      'IDPCommunicationError',
      'JSON',
    ],
    [
      'whose keys are no list',
      JWKS_PATH,
      () => ({ keys: rsa.jwk }),
      'InvalidIdentityToken',
      'no keys',
    ],
    ['with no keys', JWKS_PATH, () => keys(), 'InvalidIdentityToken', 'no key of that kid'],
    [
      'with key_ops',
      JWKS_PATH,
      () => key({ key_ops: ['verify'] }),
      'InvalidIdentityToken',
      'key_ops',
    ],
    [
      'with a key for encryption',
      JWKS_PATH,
      () => key({ use: 'enc' }),
      'InvalidIdentityToken',
      'not for signatures',
    ],
    [
      'with a key without a kid',
      JWKS_PATH,
      () => key({ kid: undefined }),
      'InvalidIdentityToken',
      'no key of that kid',
    ],
    [
      'with a key of another algorithm',
      JWKS_PATH,
      () => key({ alg: 'RS512' }),
      'InvalidIdentityToken',
      'JWT signature algorithm not allowed',
    ],
    [
      'with a key without a modulus',
      JWKS_PATH,
      () => key({ n: undefined }),
      'InvalidIdentityToken',
      'cannot be used',
    ],
    [
      'with a certificate',
      JWKS_PATH,
      () => key({ x5c: ['AAAA'] }),
      'InvalidIdentityToken',
      'certificate',
    ],
    [
      'with 101 RSA keys',
      JWKS_PATH,
      () => many(100),
      'InvalidIdentityToken',
      'more than 100 RSA keys',
    ],
    [
      'with a later key of the same kid',
      JWKS_PATH,
      () => keys(rsa.jwk, otherRsa.jwk),
      'InvalidIdentityToken',
      'Invalid signature',
    ],
  ]
  test.each(rows)('%s', async (_name, path, page, code, why) => {
    issuer.pages.set(path, page())
    expect(await refusal(assume())).toMatchObject({ code, status: 400 })
    expect(aws.calls.at(-1)?.why).toContain(why)
  })
  test('but not one with 100 RSA keys', async () => {
    issuer.pages.set(JWKS_PATH, many(99))
    await expect(assume()).resolves.toHaveProperty('Credentials')
  })
})

describe('a parameter is refused', () => {
  const policy = (length: number) => {
    const Statement = { Effect: 'Allow', Action: 's3:GetObject', Resource: 'arn:aws:s3:::a/' }
    const shortest = JSON.stringify({ Version: '2012-10-17', Statement }).length
    const Resource = Statement.Resource.padEnd(Statement.Resource.length + length - shortest, 'x')
    return JSON.stringify({ Version: '2012-10-17', Statement: { ...Statement, Resource } })
  }
  const bound = { arn: `arn:aws:iam::${ACCOUNT}:policy/bound` }
  const rows: [string, Parameters, string, string][] = [
    [
      'a session name of one character',
      { RoleSessionName: 't' },
      'ValidationError',
      "Value 't' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2",
    ],
    [
      'a session name of 65 characters',
      { RoleSessionName: 'tvm-'.padEnd(65, 'x') },
      'ValidationError',
      'less than or equal to 64',
    ],
    [
      'a session name with a slash',
      { RoleSessionName: 'tvm-acme/payments' },
      'ValidationError',
      'regular expression pattern: [\\w+=,.@-]*',
    ],
    [
      'a session name with a colon',
      { RoleSessionName: 'tvm-1:2' },
      'ValidationError',
      'regular expression',
    ],
    [
      'no session name',
      { RoleSessionName: undefined },
      'ValidationError',
      "Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null",
    ],
    ['no role', { RoleArn: undefined }, 'ValidationError', "'roleArn'"],
    [
      'a role ARN of 19 characters',
      { RoleArn: 'arn:aws:iam::1:role' },
      'ValidationError',
      'greater than or equal to 20',
    ],
    [
      'an ARN that is no role',
      { RoleArn: `arn:aws:iam::${ACCOUNT}:user/octocat` },
      'ValidationError',
      'is invalid',
    ],
    ['899 seconds', { DurationSeconds: 899 }, 'ValidationError', 'greater than or equal to 900'],
    [
      '43201 seconds',
      { DurationSeconds: 43_201 },
      'ValidationError',
      'less than or equal to 43200',
    ],
    ['half a second', { DurationSeconds: 900.5 }, 'ValidationError', 'integer'],
    [
      'more seconds than the role has',
      { DurationSeconds: 3601 },
      'ValidationError',
      'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.',
    ],
    ['no token', { WebIdentityToken: undefined }, 'ValidationError', "'webIdentityToken'"],
    [
      'a token of three characters',
      { WebIdentityToken: 'a.b' },
      'ValidationError',
      'greater than or equal to 4',
    ],
    [
      'a token of 20001 characters',
      { WebIdentityToken: 'a'.repeat(20_001) },
      'ValidationError',
      'less than or equal to 20000',
    ],
    [
      'a policy of 2049 characters',
      { Policy: policy(2049) },
      'ValidationError',
      "at 'policy' failed to satisfy constraint: Member must have length less than or equal to 2048",
    ],
    ['an empty policy', { Policy: '' }, 'ValidationError', 'greater than or equal to 1'],
    [
      'a policy with a character beyond Latin-1',
      { Policy: policy(300).replace('x', '→') },
      'ValidationError',
      'regular expression',
    ],
    [
      'a policy that is not JSON',
      { Policy: '{' },
      'MalformedPolicyDocument',
      'Syntax errors in policy',
    ],
    [
      'a policy with an unknown operator',
      {
        Policy: policy(300).replace(
          '"Resource"',
          '"Condition":{"StringSounds":{"aws:SourceIp":"x"}},"Resource"',
        ),
      },
      'MalformedPolicyDocument',
      'Invalid Condition type',
    ],
    [
      'eleven managed policies',
      { PolicyArns: Array.from({ length: 11 }, () => bound) },
      'ValidationError',
      'At most 10',
    ],
    [
      'a managed policy that does not exist',
      { PolicyArns: [{ arn: `${bound.arn}2` }] },
      'MalformedPolicyDocument',
      'does not exist',
    ],
    ['an ARN that is no policy', { PolicyArns: [{ arn: ROLE }] }, 'ValidationError', 'is invalid'],
    [
      'inline and managed policies of 2049 characters',
      { Policy: policy(2049 - bound.arn.length), PolicyArns: [bound] },
      'ValidationError',
      'exceeds 2048',
    ],
    [
      'a provider id with a JWT',
      { ProviderId: 'www.amazon.com' },
      'InvalidIdentityToken',
      'not a Login With Amazon token',
    ],
    [
      "Facebook's provider id",
      { ProviderId: 'graph.facebook.com' },
      'IDPRejectedClaim',
      'Facebook',
    ],
    ['another provider id', { ProviderId: 'tvm.example.com' }, 'AccessDenied', 'Not authorized'],
  ]
  test.each(rows)('%s', async (_name, parameters, code, message) => {
    const found = await refusal(assume(parameters))
    expect(found.code).toBe(code)
    expect(found.message).toContain(message)
  })
  test('but not a policy of 2048 characters', async () => {
    await expect(assume({ Policy: policy(2048) })).resolves.toHaveProperty('Credentials')
  })
  test('policies and tags that are too large when packed', async () => {
    const value = () =>
      Array.from({ length: 128 }, () => Math.random().toString(36).at(-1)).join('')
    const principal_tags = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [`k${i}`, [value()]]),
    )
    const found = await refusal(assume({ RoleArn: role('open') }, { [TAGS]: { principal_tags } }))
    expect(found.code).toBe('PackedPolicyTooLarge')
  })
  test('one that STS does not know, or that comes twice', async () => {
    const send = async (form: string) => {
      const headers = { 'content-type': 'application/x-www-form-urlencoded' }
      const response = await fetch(aws.url, {
        method: 'POST',
        headers,
        body: `Version=2011-06-15&Action=AssumeRoleWithWebIdentity&${form}`,
      })
      return response.text()
    }
    expect(await send('Tags.member.1.Key=a')).toContain(
      '<Message>Unknown parameter Tags.member.1.Key</Message>',
    )
    expect(await send('RoleArn=a&RoleArn=b')).toContain(
      '<Message>A parameter appears more than once</Message>',
    )
  })
  test('every broken limit is named, and the token in none', async () => {
    const found = await refusal(assume({ RoleSessionName: '/', WebIdentityToken: 'abc' }))
    expect(found.message).toMatch(/^3 validation errors detected: /)
    expect(found.message).not.toContain('abc')
  })
})

describe('a trust policy refuses', () => {
  const rows: [string, Parameters, JWTPayload?][] = [
    ['a role that does not exist', { RoleArn: role('nobody') }],
    ['tags without sts:TagSession', { RoleArn: role('no-tag-session') }],
    ['a source identity without sts:SetSourceIdentity', { RoleArn: role('no-source-identity') }],
    ['when it does not allow the act itself', { RoleArn: role('no-assume') }],
    ['another provider', { RoleArn: role('other-provider') }],
    ['another address', { RoleArn: role('other-address') }],
    ['with a key that nobody knows', { RoleArn: role('misspelt-key') }],
    [
      'with a claim that is no condition key',
      { RoleArn: role('wants-claim') },
      { repository_id: '99120' },
    ],
    ['a tag that is missing', { RoleArn: role('wants-tag') }],
    ['another grant', {}, { sub: 'grant:other' }],
    ['a token without tags', {}, { [TAGS]: undefined }],
    ['a token without a source identity', {}, { [SOURCE]: undefined }],
    ['a token without roles', {}, { [ROLES]: undefined }],
    ['a token with null for roles', {}, { [ROLES]: null }],
    ['a session name of somebody else', { RoleSessionName: 'botocore-session' }],
    [
      'a duration beyond the role before it says so',
      { RoleArn: role('no-assume'), DurationSeconds: 7200 },
    ],
  ]
  test.each(rows)('%s', async (_name, parameters, claims) => {
    expect(await refusal(assume(parameters, claims))).toEqual({
      code: 'AccessDenied',
      status: 403,
      message: 'Not authorized to perform sts:AssumeRoleWithWebIdentity',
    })
    expect(aws.calls.at(-1)?.why).toMatch(/^(?:trust policy: sts:\w+ not_allowed|no such role)$/)
  })
})

describe('credentials are given', () => {
  test('with everything that the token said, for as long as was asked', async () => {
    const reply = await assume({ DurationSeconds: 1800 })
    const roleId = /^AROA[A-Z2-7]{16}/.exec(reply.AssumedRoleUser?.AssumedRoleId ?? '')?.[0]
    expect(reply).toMatchObject({
      SubjectFromWebIdentityToken: 'grant:payments-deploy',
      Audience: 'sts.amazonaws.com',
      Provider: PROVIDER_ARN,
      SourceIdentity: SOURCE_IDENTITY,
      AssumedRoleUser: {
        Arn: `arn:aws:sts::${ACCOUNT}:assumed-role/payments-deploy/${SESSION_NAME}`,
        AssumedRoleId: `${roleId ?? ''}:${SESSION_NAME}`,
      },
      Credentials: {
        AccessKeyId: expect.stringMatching(/^ASIA[A-Z2-7]{16}$/) as string,
        SecretAccessKey: expect.stringMatching(/^[\w+/]{40}$/) as string,
        Expiration: new Date('2026-11-22T01:57:00Z'),
      },
    })
    expect(reply.SessionTokenUtilization).toBeLessThan(50)
    expect(reply.Credentials?.SessionToken).toHaveLength(reply.SessionTokenSize ?? -1)
    expect(reply.$metadata.requestId).toBe(aws.calls.at(-1)?.requestId)
  })
  test('for an hour when no duration is asked', async () => {
    const reply = await assume({ DurationSeconds: undefined })
    expect(reply.Credentials?.Expiration).toEqual(new Date('2026-11-22T02:27:00Z'))
  })
  test('anew each time', async () => {
    const [one, two] = await Promise.all([assume(), assume()])
    expect(one.Credentials?.AccessKeyId).not.toBe(two.Credentials?.AccessKeyId)
    expect(one.Credentials?.SecretAccessKey).not.toBe(two.Credentials?.SecretAccessKey)
  })
  const rows: [string, Parameters, JWTPayload][] = [
    ['to a token that ran out within five minutes', {}, { exp: SECONDS - 299 }],
    [
      'to a token that was issued within five minutes ahead',
      {},
      { iat: SECONDS + 300, nbf: SECONDS + 300 },
    ],
    ['to a list of one audience', {}, { aud: ['sts.amazonaws.com'] }],
    ['to an azp beside other audiences', {}, { aud: ['a', 'b'], azp: 'sts.amazonaws.com' }],
    ['to roles as text, with blanks and a stranger', {}, { [ROLES]: `x; ${ROLE} ` }],
    ['to an open role without tags', { RoleArn: role('open') }, { [TAGS]: undefined }],
    [
      'with an inline and a managed policy',
      {
        Policy: '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}',
        PolicyArns: [{ arn: `arn:aws:iam::${ACCOUNT}:policy/bound` }],
      },
      {},
    ],
  ]
  test.each(rows)('%s', async (_name, parameters, claims) => {
    await expect(assume(parameters, claims)).resolves.toHaveProperty('Credentials.AccessKeyId')
  })
  test('by address, as the world pretends it', async () => {
    aws.pretendSourceIp('203.0.113.7')
    await expect(assume({ RoleArn: role('other-address') })).resolves.toHaveProperty('Credentials')
    aws.pretendSourceIp(null)
    expect(await refusal(assume({ RoleArn: role('other-address') }))).toHaveProperty(
      'code',
      'AccessDenied',
    )
  })
  test('to an ES256 token of an issuer that advertises it', async () => {
    issuer.pages.set('/.well-known/openid-configuration', {
      ...DISCOVERY,
      id_token_signing_alg_values_supported: ['ES256'],
    })
    issuer.pages.set('/.well-known/jwks.json', { keys: [ec.jwk] })
    const token = await signToken(goodClaims(NOW), { ...ec, alg: 'ES256', kid: 'key-ec' })
    await expect(call({ WebIdentityToken: token })).resolves.toHaveProperty('Credentials')
  })
  test('and the log knows what it was about, and no secret', async () => {
    const Policy = '{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
    const reply = await assume({ Policy })
    const logged = aws.calls.at(-1)
    expect(logged).toMatchObject({
      operation: 'AssumeRoleWithWebIdentity',
      at: NOW,
      sourceIp: '127.0.0.1',
      status: 200,
      code: null,
      about: {
        roleArn: ROLE,
        roleSessionName: SESSION_NAME,
        durationSeconds: '900',
        policy: Policy,
        subject: 'grant:payments-deploy',
        sourceIdentity: SOURCE_IDENTITY,
        tags: '{"tvm:grant":"payments-deploy","tvm:repository_id":"99120","tvm:job":"51725241954"}',
      },
    })
    const text = JSON.stringify(aws.calls)
    expect(text).not.toContain(reply.Credentials?.SecretAccessKey)
    expect(text).not.toContain(reply.Credentials?.SessionToken)
    expect(text).not.toContain('eyJ')
  })
})

describe('an identity provider is refused', () => {
  const rows: [string, string, string][] = [
    ['with http', 'http://tvm.example.com', 'InvalidInput'],
    ['with a port', 'https://tvm.example.com:8443', 'InvalidInput'],
    ['with the port of https', 'https://tvm.example.com:443', 'InvalidInput'],
    ['with a query', 'https://tvm.example.com/?a=b', 'InvalidInput'],
    ['with a fragment', 'https://tvm.example.com/#a', 'InvalidInput'],
    ['with a user', 'https://me@tvm.example.com', 'InvalidInput'],
    ['without a scheme', 'tvm.example.com', 'InvalidInput'],
    ['of 256 characters', `https://tvm.example.com/${'a'.repeat(232)}`, 'ValidationError'],
    ['on the loopback over http', 'http://127.0.0.1:8080', 'InvalidInput'],
    ['that is there already', ISSUER, 'EntityAlreadyExists'],
  ]
  test.each(rows)('%s', (_name, url, code) => {
    expect(() =>
      aws.createOpenIdConnectProvider({ url, clientIds: ['sts.amazonaws.com'] }),
    ).toThrow(expect.objectContaining({ code }))
  })
  test('without an audience, with an empty one, with 101', () => {
    const create = (clientIds: string[]) => () =>
      aws.createOpenIdConnectProvider({ url: 'https://b.example.com', clientIds })
    expect(create([])).toThrow(expect.objectContaining({ code: 'ValidationError' }))
    expect(create([''])).toThrow(expect.objectContaining({ code: 'ValidationError' }))
    expect(create(Array.from({ length: 101 }, (_, i) => `a${i}`))).toThrow(
      expect.objectContaining({ code: 'LimitExceeded' }),
    )
  })
  test('in another account than the role', async () => {
    await aws.close()
    aws = await startAws({
      now: () => NOW,
      resolve: { [ISSUER]: issuer.url },
      providers: [{ url: ISSUER, clientIds: ['sts.amazonaws.com'], account: '444455556666' }],
      roles: [{ arn: ROLE, trust: TRUST }],
    })
    expect((await refusal(assume())).message).toContain('No OpenIDConnect provider found')
  })
})

describe('a role is refused', () => {
  const rows: [string, object, string][] = [
    ['with an ARN that is none', { arn: 'payments-deploy' }, 'ValidationError'],
    ['with a trust policy that is none', { trust: { Statement: [] } }, 'MalformedPolicyDocument'],
    [
      'with a permission policy that is none',
      { policies: [{ Statement: { Effect: 'Allow' } }] },
      'MalformedPolicyDocument',
    ],
    ['with sessions of more than twelve hours', { maxSessionDuration: 43_201 }, 'ValidationError'],
    ['with sessions of less than an hour', { maxSessionDuration: 900 }, 'ValidationError'],
    ['that is there already', { arn: ROLE }, 'EntityAlreadyExists'],
  ]
  test.each(rows)('%s', (_name, change, code) => {
    const input = { arn: role('new'), trust: TRUST, ...change }
    expect(() => aws.createRole(input)).toThrow(expect.objectContaining({ code }))
  })
})

test('an http issuer on the loopback is taken when the world is told to be unlike AWS', async () => {
  const local = await startIssuer()
  const jwks_uri = `${local.url}/jwks`
  local.pages.set('/.well-known/openid-configuration', {
    ...DISCOVERY,
    issuer: local.url,
    jwks_uri,
  })
  local.pages.set('/jwks', { keys: [rsa.jwk] })
  await aws.close()
  aws = await startAws({ now: () => NOW, resolve: {}, acceptHttpLoopbackIssuersUnlikeAws: true })
  const providerArn = aws.createOpenIdConnectProvider({
    url: local.url,
    clientIds: ['sts.amazonaws.com'],
  })
  const host = local.url.replace('http://', '')
  aws.createRole({
    arn: ROLE,
    trust: tvmTrustPolicy({
      providerArn,
      host,
      grant: 'payments-deploy',
      audience: 'sts.amazonaws.com',
    }),
  })
  await expect(assume({}, { iss: local.url })).resolves.toMatchObject({ Provider: providerArn })
  local.close()
})

describe('a fault', () => {
  test('of AWS reaches the client under its code, once', async () => {
    aws.failNext({ kind: 'error', code: 'Throttling', message: 'Rate exceeded' })
    expect(await refusal(assume())).toEqual({
      code: 'Throttling',
      message: 'Rate exceeded',
      status: 400,
    })
    await expect(assume()).resolves.toHaveProperty('Credentials')
  })
  test('waits for its operation', async () => {
    aws.failNext({ kind: 'error', code: 'SlowDown', status: 503, operation: 'PutObject' })
    await expect(assume()).resolves.toHaveProperty('Credentials')
  })
  test('of the server is a 500', async () => {
    aws.failNext({ kind: 'error', code: 'InternalFailure', status: 500 })
    expect(await refusal(assume())).toMatchObject({ code: 'InternalFailure', status: 500 })
  })
  test('of the idp reaches the client', async () => {
    aws.failNext({ kind: 'error', code: 'IDPCommunicationError' })
    expect(await refusal(assume())).toMatchObject({ code: 'IDPCommunicationError', status: 400 })
  })
  const rows: [string, Fault][] = [
    ['garbage', { kind: 'body', body: 'I am a teapot' }],
    ['half an answer', { kind: 'half' }],
    ['a cut connection', { kind: 'reset' }],
  ]
  test.each(rows)('%s gives no credentials', async (_name, fault) => {
    aws.failNext(fault)
    await expect(assume()).rejects.toThrow()
    expect(aws.calls).toHaveLength(1)
  })
  test('a hang lasts until the client gives up', async () => {
    aws.failNext({ kind: 'hang' })
    const token = await signToken(goodClaims(NOW), { ...rsa, alg: 'RS256', kid: 'key-1' })
    const body = new URLSearchParams({
      Action: 'AssumeRoleWithWebIdentity',
      Version: '2011-06-15',
      WebIdentityToken: token,
    })
    const given = fetch(aws.url, { method: 'POST', body, signal: AbortSignal.timeout(200) })
    await expect(given).rejects.toMatchObject({ name: 'TimeoutError' })
    expect(aws.calls).toMatchObject([{ status: null, code: null }])
  })
})

describe('what is no operation of STS is refused', () => {
  const rows: [string, string, string][] = [
    ['an operation that it has not', 'Version=2011-06-15&Action=GetSessionToken', 'InvalidAction'],
    ['another version', 'Version=2011-06-16&Action=AssumeRoleWithWebIdentity', 'InvalidAction'],
    ['no version', 'Action=AssumeRoleWithWebIdentity', 'InvalidAction'],
    [
      'an unsigned GetCallerIdentity',
      'Version=2011-06-15&Action=GetCallerIdentity',
      'MissingAuthenticationToken',
    ],
    [
      'an unsigned AssumeRole',
      'Version=2011-06-15&Action=AssumeRole',
      'MissingAuthenticationToken',
    ],
  ]
  test.each(rows)('%s', async (_name, body, code) => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const response = await fetch(aws.url, { method: 'POST', headers, body })
    expect(await response.text()).toContain(`<Code>${code}</Code>`)
  })
  test('JSON', async () => {
    const response = await fetch(aws.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(await response.text()).toContain('<Code>MalformedInput</Code>')
  })
})
