import { request as httpRequest } from 'node:http'
import { Readable } from 'node:stream'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  CreateMultipartUploadCommand,
  CopyObjectCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { AssumeRoleCommand, GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  ACCOUNT,
  assumeRole,
  brokerToken,
  DISCOVERY,
  ISSUER,
  makeKey,
  PROVIDER_ARN,
  ROLE,
  SESSION_NAME,
  SOURCE_IDENTITY,
  startIssuer,
  type Credentials,
  type ScriptedIssuer,
  type TestKey,
} from './fixture.ts'
import { startAws, tvmTrustPolicy, type LocalAws } from './index.ts'

let key: TestKey
let issuer: ScriptedIssuer
let aws: LocalAws
/** Milliseconds that the world's clock is ahead of this machine's. */
let ahead = 0
const clients: { destroy(): void }[] = []

beforeAll(async () => {
  key = await makeKey('RS256', 'key-1')
  issuer = await startIssuer()
  issuer.pages.set('/.well-known/openid-configuration', DISCOVERY)
  issuer.pages.set('/.well-known/jwks.json', { keys: [key.jwk] })
})

afterAll(() => issuer.close())

const TRUST = tvmTrustPolicy({
  providerArn: PROVIDER_ARN,
  host: 'tvm.example.com',
  grant: 'payments-deploy',
  audience: 'sts.amazonaws.com',
})

const policy = (...Statement: object[]) => ({ Version: '2012-10-17', Statement })
const allow = (Action: string | string[], Resource: string | string[], more: object = {}) => ({
  Effect: 'Allow',
  Action,
  Resource,
  ...more,
})
const deny = (Action: string, Resource: string, more: object = {}) => ({
  Effect: 'Deny',
  Action,
  Resource,
  ...more,
})
const ALL = allow('*', '*')
const BOUND = `arn:aws:iam::${ACCOUNT}:policy/read-only`
const NARROW = `arn:aws:iam::${ACCOUNT}:role/tvm/narrow`

beforeEach(async () => {
  ahead = 0
  aws = await startAws({
    now: () => Date.now() + ahead,
    resolve: { [ISSUER]: issuer.url },
    providers: [{ url: ISSUER, clientIds: ['sts.amazonaws.com'] }],
    roles: [
      { arn: ROLE, trust: TRUST, policies: [policy(ALL)] },
      {
        arn: NARROW,
        trust: TRUST,
        policies: [policy(allow('s3:PutObject', 'arn:aws:s3:::artifacts/99120/*'))],
      },
      {
        arn: `arn:aws:iam::444455556666:role/tvm/other`,
        trust: policy({
          ...TRUST.Statement[0],
          Principal: { Federated: PROVIDER_ARN.replace(ACCOUNT, '444455556666') },
        }),
        policies: [policy(ALL)],
      },
    ],
    managedPolicies: { [BOUND]: policy(allow(['s3:GetObject', 's3:ListBucket'], '*')) },
    buckets: ['artifacts', 'secrets'],
  })
})

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await aws.close()
})

interface Ask {
  readonly session?: object
  readonly managed?: string[]
  readonly role?: string
}

async function credentials({ session, managed, role = ROLE }: Ask = {}): Promise<Credentials> {
  const roles = { 'https://aws.amazon.com/roles': [role] }
  return assumeRole(aws.url, {
    RoleArn: role,
    WebIdentityToken: await brokerToken(key, Date.now() + ahead, roles),
    ...(session ? { Policy: JSON.stringify(session) } : {}),
    ...(managed ? { PolicyArns: managed.map((arn) => ({ arn })) } : {}),
  })
}

function settings(given: Credentials) {
  return {
    endpoint: aws.url,
    region: 'eu-west-1',
    credentials: given,
    maxAttempts: 1,
    systemClockOffset: ahead,
  }
}

function s3With(given: Credentials): S3Client {
  const client = new S3Client(settings(given))
  clients.push(client)
  return client
}

function stsWith(given: Credentials): STSClient {
  const client = new STSClient(settings(given))
  clients.push(client)
  return client
}

async function s3(ask: Ask = {}): Promise<S3Client> {
  return s3With(await credentials(ask))
}

/** The SDK has no name for any of its commands. */
function run(client: S3Client, command: object): Promise<unknown> {
  return client.send(command as PutObjectCommand)
}

async function refused(attempt: Promise<unknown>): Promise<string> {
  const error: unknown = await attempt.then(
    () => null,
    (problem: unknown) => problem,
  )
  if (error === null) throw new Error('not refused')
  if (!(error instanceof S3ServiceException)) throw new Error('no answer', { cause: error })
  return aws.calls.at(-1)?.code ?? ''
}

const put = (Key = '99120/build.zip', Bucket = 'artifacts') =>
  new PutObjectCommand({ Bucket, Key, Body: 'built' })
const get = (Key = '99120/build.zip', Bucket = 'artifacts') => new GetObjectCommand({ Bucket, Key })
const list = (Prefix?: string) =>
  new ListObjectsV2Command({ Bucket: 'artifacts', ...(Prefix === undefined ? {} : { Prefix }) })

describe('a session is refused', () => {
  const bounded = policy(allow('s3:PutObject', 'arn:aws:s3:::artifacts/99120/*'))
  const tagged = policy(
    allow('s3:PutObject', 'arn:aws:s3:::artifacts/${aws:PrincipalTag/tvm:repository_id}/*'),
  )
  const time = (offset: number) => ({
    Condition: {
      DateGreaterThan: { 'aws:CurrentTime': new Date(Date.now() + offset).toISOString() },
    },
  })
  const off = {
    Condition: {
      NotIpAddress: { 'aws:SourceIp': ['203.0.113.7/32'] },
      Bool: { 'aws:ViaAWSService': 'false' },
    },
  }
  const rows: [string, Ask, () => object, string][] = [
    [
      'what its policy does not allow',
      { session: bounded },
      () => get(),
      'because no session policy allows the s3:GetObject action',
    ],
    [
      'an object of another repository',
      { session: bounded },
      () => put('99121/build.zip'),
      'because no session policy allows',
    ],
    [
      'an object that only starts like its own',
      { session: bounded },
      () => put('991200/build.zip'),
      'because no session policy allows',
    ],
    [
      'an object of another repository, by its tag',
      { session: tagged },
      () => put('99121/build.zip'),
      'because no session policy allows',
    ],
    [
      'another bucket',
      { session: bounded },
      () => put('99120/build.zip', 'secrets'),
      'because no session policy allows',
    ],
    [
      'what its role does not allow, whatever its policy says',
      { role: NARROW, session: policy(ALL) },
      () => get(),
      'because no identity-based policy allows the s3:GetObject action',
    ],
    [
      'what its role does not allow, without a policy',
      { role: NARROW },
      () => put('1/x'),
      'because no identity-based policy allows',
    ],
    [
      'what its managed policy does not allow',
      { managed: [BOUND] },
      () => put(),
      'because no session policy allows the s3:PutObject action',
    ],
    [
      'what it is denied',
      { session: policy(ALL, deny('s3:Put*', '*')) },
      () => put(),
      'with an explicit deny in a session policy',
    ],
    [
      'after the hour of the deny',
      { session: policy(ALL, deny('*', '*', time(-5000))) },
      () => put(),
      'with an explicit deny in a session policy',
    ],
    [
      'off the address of the pin',
      { session: policy(ALL, deny('*', '*', off)) },
      () => put(),
      'with an explicit deny in a session policy',
    ],
    [
      'by a deny on a key that nobody knows',
      {
        session: policy(
          ALL,
          deny('*', '*', { Condition: { StringEquals: { 'aws:SorceIp': 'x' } } }),
        ),
      },
      () => put(),
      'with an explicit deny',
    ],
    [
      'a list of another prefix',
      {
        session: policy(
          allow('s3:ListBucket', '*', { Condition: { StringLike: { 's3:prefix': '99120/*' } } }),
        ),
      },
      () => list('99121/'),
      'because no session policy allows the s3:ListBucket action',
    ],
    [
      'a list without a prefix',
      {
        session: policy(
          allow('s3:ListBucket', '*', { Condition: { StringLike: { 's3:prefix': '99120/*' } } }),
        ),
      },
      () => list(),
      'because no session policy allows',
    ],
    [
      'a deletion',
      { session: bounded },
      () => new DeleteObjectCommand({ Bucket: 'artifacts', Key: '99120/build.zip' }),
      's3:DeleteObject',
    ],
  ]
  test.each(rows)('%s', async (_name, ask, command, message) => {
    const client = await s3(ask)
    expect(await refused(run(client, command()))).toBe('AccessDenied')
    expect(aws.calls.at(-1)?.why).toContain(message)
    expect(aws.calls.at(-1)?.why).toContain(`User: arn:aws:sts::${ACCOUNT}:assumed-role/`)
    expect(aws.keys('artifacts')).toEqual([])
  })
  test('the bucket of another account', async () => {
    aws.createOpenIdConnectProvider({
      url: ISSUER,
      clientIds: ['sts.amazonaws.com'],
      account: '444455556666',
    })
    const client = await s3({ role: 'arn:aws:iam::444455556666:role/tvm/other' })
    expect(await refused(client.send(put()))).toBe('AccessDenied')
    expect(aws.calls.at(-1)?.why).toBe('a bucket of another account')
  })
  test('knowledge of what is not there, unless it may list', async () => {
    const reader = await s3({ session: policy(allow('s3:GetObject', '*')) })
    expect(await refused(reader.send(get()))).toBe('AccessDenied')
    const lister = await s3({ managed: [BOUND] })
    expect(await refused(lister.send(get()))).toBe('NoSuchKey')
    expect(await refused(lister.send(get('x', 'nothing')))).toBe('NoSuchBucket')
  })
  test('a head, without a body to say why', async () => {
    const client = await s3({ session: bounded })
    const attempt = client.send(new HeadObjectCommand({ Bucket: 'artifacts', Key: 'x' }))
    await expect(attempt).rejects.toMatchObject({ $metadata: { httpStatusCode: 403 } })
    await expect(client.send(new HeadBucketCommand({ Bucket: 'artifacts' }))).rejects.toMatchObject(
      { $metadata: { httpStatusCode: 403 } },
    )
  })
  test('everything, once it has expired', async () => {
    const given = await credentials()
    await s3With(given).send(put())
    ahead = 900_000
    expect(await refused(s3With(given).send(get()))).toBe('ExpiredToken')
    const caller = stsWith(given).send(new GetCallerIdentityCommand({}))
    await expect(caller).rejects.toMatchObject({ name: 'ExpiredToken' })
  })
})

describe('a session may', () => {
  test('do what role and session policy both allow, and the object is there', async () => {
    const client = await s3({
      session: policy(
        allow('s3:PutObject', 'arn:aws:s3:::artifacts/${aws:PrincipalTag/tvm:repository_id}/*'),
      ),
    })
    await client.send(
      new PutObjectCommand({
        Bucket: 'artifacts',
        Key: '99120/a b+c/ü.txt',
        Body: 'built',
        ContentType: 'text/plain',
        Metadata: { run: '7' },
      }),
    )
    expect(aws.object('artifacts', '99120/a b+c/ü.txt')).toMatchObject({
      bytes: Buffer.from('built'),
      contentType: 'text/plain',
      metadata: { run: '7' },
    })
    expect(aws.calls.at(-1)).toMatchObject({
      operation: 'PutObject',
      status: 200,
      about: {
        principal: `arn:aws:sts::${ACCOUNT}:assumed-role/payments-deploy/${SESSION_NAME}`,
        bucket: 'artifacts',
        key: '99120/a b+c/ü.txt',
      },
    })
  })
  test('read what it wrote, checksum and all, and delete it', async () => {
    const client = await s3()
    await client.send(put())
    const found = await client.send(
      new GetObjectCommand({
        Bucket: 'artifacts',
        Key: '99120/build.zip',
        ChecksumMode: 'ENABLED',
      }),
    )
    expect(await found.Body?.transformToString()).toBe('built')
    expect(found.ChecksumCRC32).toBeDefined()
    const head = await client.send(
      new HeadObjectCommand({ Bucket: 'artifacts', Key: '99120/build.zip' }),
    )
    expect(head).toMatchObject({ ContentLength: 5, ETag: found.ETag })
    await client.send(new HeadBucketCommand({ Bucket: 'artifacts' }))
    await client.send(new DeleteObjectCommand({ Bucket: 'artifacts', Key: '99120/build.zip' }))
    expect(aws.object('artifacts', '99120/build.zip')).toBeNull()
  })
  test('do what inline or managed policy allows', async () => {
    const client = await s3({ session: policy(allow('s3:PutObject', '*')), managed: [BOUND] })
    await client.send(put())
    await client.send(get())
    expect(aws.calls.slice(-2).map((call) => call.status)).toEqual([200, 200])
  })
  test('act before the hour, on the pinned address', async () => {
    aws.pretendSourceIp('203.0.113.7')
    const until = new Date(Date.now() + 600_000).toISOString().replace(/\.\d+/, '')
    const client = await s3({
      session: policy(
        ALL,
        deny('*', '*', { Condition: { DateGreaterThan: { 'aws:CurrentTime': until } } }),
        deny('*', '*', {
          Condition: {
            NotIpAddress: { 'aws:SourceIp': ['203.0.113.7/32'] },
            Bool: { 'aws:ViaAWSService': 'false' },
          },
        }),
      ),
    })
    await client.send(put())
    ahead = 601_000
    expect(await refused(client.send(put()))).toBe('AccessDenied')
  })
  test.each(['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const)(
    'upload with %s',
    async (ChecksumAlgorithm) => {
      const client = await s3()
      await client.send(
        new PutObjectCommand({
          Bucket: 'artifacts',
          Key: 'x',
          Body: '123456789',
          ChecksumAlgorithm,
        }),
      )
      expect(Object.keys(aws.object('artifacts', 'x')?.checksums ?? {})).toEqual([
        `x-amz-checksum-${ChecksumAlgorithm.toLowerCase()}`,
      ])
    },
  )
  test('upload a stream, in chunks with a trailer', async () => {
    const client = await s3()
    const Body = Readable.from([Buffer.from('one '), Buffer.from('two')])
    await client.send(
      new PutObjectCommand({
        Bucket: 'artifacts',
        Key: 'x',
        Body,
        ContentLength: 7,
        ChecksumAlgorithm: 'CRC32',
      }),
    )
    expect(aws.object('artifacts', 'x')).toMatchObject({
      bytes: Buffer.from('one two'),
      checksums: { 'x-amz-checksum-crc32': expect.any(String) as string },
    })
  })
  test('list by prefix and delimiter, page by page', async () => {
    const client = await s3()
    for (const name of ['a/1', 'a/2', 'a b/3', 'z']) await client.send(put(name))
    const all = await client.send(new ListObjectsV2Command({ Bucket: 'artifacts', Delimiter: '/' }))
    expect(all.CommonPrefixes?.map((one) => one.Prefix)).toEqual(['a b/', 'a/'])
    expect(all.Contents?.map((one) => one.Key)).toEqual(['z'])
    const first = await client.send(
      new ListObjectsV2Command({ Bucket: 'artifacts', Prefix: 'a', MaxKeys: 2 }),
    )
    expect(first).toMatchObject({ KeyCount: 2, IsTruncated: true })
    const second = await client.send(
      new ListObjectsV2Command({
        Bucket: 'artifacts',
        Prefix: 'a',
        ContinuationToken: first.NextContinuationToken,
      }),
    )
    expect([...(first.Contents ?? []), ...(second.Contents ?? [])].map((one) => one.Key)).toEqual([
      'a b/3',
      'a/1',
      'a/2',
    ])
  })
  test('list by the prefix that it is bound to', async () => {
    const bound = { Condition: { StringLike: { 's3:prefix': '99120/*' } } }
    const client = await s3({ session: policy(allow('s3:ListBucket', '*', bound)) })
    expect(await client.send(list('99120/'))).toMatchObject({ KeyCount: 0 })
  })
  test('ask who it is, whatever it is denied', async () => {
    const given = await credentials({ session: policy(deny('*', '*')) })
    expect(await stsWith(given).send(new GetCallerIdentityCommand({}))).toMatchObject({
      Account: ACCOUNT,
      Arn: `arn:aws:sts::${ACCOUNT}:assumed-role/payments-deploy/${SESSION_NAME}`,
      UserId: expect.stringMatching(/^AROA\w{16}:tvm-99120-51725241954$/) as string,
    })
  })
})

describe('chaining', () => {
  const chain = async (ask: Ask) => {
    const client = stsWith(await credentials(ask))
    await client
      .send(new AssumeRoleCommand({ RoleArn: NARROW, RoleSessionName: 'next' }))
      .catch(() => undefined)
    return aws.calls.at(-1)?.code
  }
  test('is refused by a deny in the session policy', async () => {
    expect(await chain({ session: policy(ALL, deny('sts:AssumeRole', '*')) })).toBe('AccessDenied')
  })
  test('is refused where no session policy allows it', async () => {
    expect(await chain({ session: policy(allow('s3:*', '*')) })).toBe('AccessDenied')
  })
  test('is refused where the role does not allow it', async () => {
    expect(await chain({ role: NARROW })).toBe('AccessDenied')
  })
  test('is authorized otherwise, and not done', async () => {
    expect(await chain({})).toBe('NotImplemented')
  })
})

test('the source identity of the session is a condition key', async () => {
  const mine = { Condition: { StringEquals: { 'aws:SourceIdentity': SOURCE_IDENTITY } } }
  const client = await s3({ session: policy(ALL, deny('s3:PutObject', '*', mine)) })
  expect(await refused(client.send(put()))).toBe('AccessDenied')
})

describe('what is not done is refused', () => {
  const rows: [string, () => object][] = [
    [
      'a multipart upload',
      () => new CreateMultipartUploadCommand({ Bucket: 'artifacts', Key: 'x' }),
    ],
    ['a list of the first version', () => new ListObjectsCommand({ Bucket: 'artifacts' })],
    ['a list of buckets', () => new ListBucketsCommand({})],
    [
      'a copy',
      () => new CopyObjectCommand({ Bucket: 'artifacts', Key: 'x', CopySource: 'secrets/x' }),
    ],
    ['a range', () => new GetObjectCommand({ Bucket: 'artifacts', Key: 'x', Range: 'bytes=0-1' })],
    [
      'a condition on the upload',
      () => new PutObjectCommand({ Bucket: 'artifacts', Key: 'x', Body: 'x', IfNoneMatch: '*' }),
    ],
    [
      'an ACL',
      () => new PutObjectCommand({ Bucket: 'artifacts', Key: 'x', Body: 'x', ACL: 'public-read' }),
    ],
    [
      'another version',
      () => new GetObjectCommand({ Bucket: 'artifacts', Key: 'x', VersionId: '1' }),
    ],
  ]
  test.each(rows)('%s', async (_name, command) => {
    const client = await s3()
    expect(await refused(run(client, command()))).toBe('NotImplemented')
  })
})

interface Wire {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

interface SdkRequest {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | AsyncIterable<Uint8Array | string>
}

/** What the SDK would have sent: it signs, and nobody sends. */
async function signed(client: S3Client | STSClient, send: () => Promise<unknown>): Promise<Wire> {
  const { promise, resolve } = Promise.withResolvers<Wire>()
  client.config.requestHandler.handle = async (request) => {
    const { method, path, query, headers, body = '' } = request as SdkRequest
    let text = typeof body === 'string' ? body : ''
    if (typeof body !== 'string')
      for await (const part of body) text += Buffer.from(part).toString()
    const pairs = Object.entries(query).map(([name, value]) => `${name}=${value}`)
    resolve({
      method,
      path: pairs.length > 0 ? `${path}?${pairs.join('&')}` : path,
      headers,
      body: text,
    })
    return { response: { statusCode: 200, headers: {}, body: Readable.from([]) } }
  }
  // What the SDK makes of the empty answer is of no interest: a request that was never made would hang here.
  await send().catch(() => undefined)
  return promise
}

/** The error code of the answer, or its status. */
async function replay({ method, path, headers, body }: Wire): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const request = httpRequest(aws.url + path, { method, headers }, (response) => {
    let text = ''
    response.setEncoding('utf8')
    response.on('data', (chunk: string) => (text += chunk))
    response.on('end', () => resolve(/<Code>(\w+)/.exec(text)?.[1] ?? String(response.statusCode)))
  })
  request.on('error', reject)
  request.end(body)
  return promise
}

describe('a signature does not hold', () => {
  const authorization = (wire: Wire, from: RegExp, to: string) => ({
    ...wire,
    headers: {
      ...wire.headers,
      authorization: (wire.headers['authorization'] ?? '').replace(from, to),
    },
  })
  const header = (wire: Wire, name: string, value: string) => ({
    ...wire,
    headers: { ...wire.headers, [name]: value },
  })
  const without = (wire: Wire, name: string) => ({
    ...wire,
    headers: Object.fromEntries(Object.entries(wire.headers).filter(([one]) => one !== name)),
  })
  const rows: [string, (wire: Wire) => Wire, s3Code: string, stsCode: string][] = [
    [
      'when it is missing',
      (wire) => without(wire, 'authorization'),
      'AccessDenied',
      'MissingAuthenticationToken',
    ],
    [
      'with another digit',
      (wire) => authorization(wire, /.$/, 'g'),
      'AuthorizationHeaderMalformed',
      'IncompleteSignature',
    ],
    [
      'with other digits',
      (wire) => authorization(wire, /[0-9a-f]{64}$/, '0'.repeat(64)),
      'SignatureDoesNotMatch',
      'SignatureDoesNotMatch',
    ],
    [
      'for another body',
      (wire) => ({
        ...wire,
        body: wire.body
          .replace('built', 'buils')
          .replace(/^(Action=\w+)&(Version=[\d-]+)$/, '$2&$1'),
      }),
      'XAmzContentSHA256Mismatch',
      'SignatureDoesNotMatch',
    ],
    [
      'for another method',
      (wire) => ({
        ...wire,
        method: wire.method === 'PUT' ? 'DELETE' : 'POST',
        ...(wire.method === 'PUT'
          ? {}
          : { headers: { ...wire.headers, host: 'sts.amazonaws.com' } }),
      }),
      'SignatureDoesNotMatch',
      'SignatureDoesNotMatch',
    ],
    [
      'for another host',
      (wire) => header(wire, 'host', 'other.example.com'),
      'SignatureDoesNotMatch',
      'SignatureDoesNotMatch',
    ],
    [
      'with a header that was added',
      (wire) => header(wire, 'x-amz-meta-added', 'a'),
      'AccessDenied',
      'AccessDenied',
    ],
    [
      'with another date',
      (wire) =>
        header(
          wire,
          'x-amz-date',
          (wire.headers['x-amz-date'] ?? '').replace(/\dZ$/, (end) => (end === '0Z' ? '1Z' : '0Z')),
        ),
      'SignatureDoesNotMatch',
      'SignatureDoesNotMatch',
    ],
    [
      'without a date',
      (wire) => header(wire, 'x-amz-date', ''),
      'AuthorizationHeaderMalformed',
      'IncompleteSignature',
    ],
    [
      'without the session token',
      (wire) => without(wire, 'x-amz-security-token'),
      'AuthorizationHeaderMalformed',
      'IncompleteSignature',
    ],
    [
      'with the token of another session',
      (wire) => header(wire, 'x-amz-security-token', 'x'),
      'InvalidToken',
      'InvalidClientTokenId',
    ],
    [
      'of a key that nobody has',
      (wire) => authorization(wire, /ASIA.{16}/, 'ASIAAAAAAAAAAAAAAAAA'),
      'InvalidAccessKeyId',
      'InvalidClientTokenId',
    ],
    [
      'of another day',
      (wire) => authorization(wire, /\/\d{8}\//, '/20200101/'),
      'SignatureDoesNotMatch',
      'SignatureDoesNotMatch',
    ],
    [
      'of another region',
      (wire) => authorization(wire, /eu-west-1/, 'eu-west-2'),
      'SignatureDoesNotMatch',
      'SignatureDoesNotMatch',
    ],
    [
      'for another service',
      (wire) => authorization(wire, /\/(?:s3|sts)\//, '/ec2/'),
      'AuthorizationHeaderMalformed',
      'IncompleteSignature',
    ],
    [
      'that covers less',
      (wire) => authorization(wire, /host;/, ''),
      'AccessDenied',
      'AccessDenied',
    ],
    [
      'of another version',
      (wire) => authorization(wire, /^AWS4-HMAC-SHA256/, 'AWS4-ECDSA-P256-SHA256'),
      'AuthorizationHeaderMalformed',
      'IncompleteSignature',
    ],
  ]
  const putWire = async () => {
    const client = await s3()
    return signed(client, () => client.send(put()))
  }
  const callerWire = async () => {
    const client = stsWith(await credentials())
    return signed(client, () => client.send(new GetCallerIdentityCommand({})))
  }
  test.each(rows)('%s (S3)', async (_name, change, code) => {
    expect(await replay(change(await putWire()))).toBe(code)
    expect(aws.keys('artifacts')).toEqual([])
  })
  test.each(rows)('%s (STS)', async (_name, change, _s3, code) => {
    expect(await replay(change(await callerWire()))).toBe(code)
  })
  test('and does as it was made', async () => {
    expect(await replay(await putWire())).toBe('200')
    expect(await replay(await callerWire())).toBe('200')
  })
  test('for another object', async () => {
    const wire = await putWire()
    expect(await replay({ ...wire, path: wire.path.replace('build', 'other') })).toBe(
      'SignatureDoesNotMatch',
    )
  })
  test('with another query', async () => {
    const wire = await putWire()
    expect(
      await replay({ ...wire, path: wire.path.replace('x-id=PutObject', 'x-id=GetObject') }),
    ).toBe('SignatureDoesNotMatch')
  })
  test('more than fifteen minutes early or late', async () => {
    const [wire, caller] = [await putWire(), await callerWire()]
    for (const minutes of [15.2, -15.2]) {
      ahead = minutes * 60_000
      expect(await replay(wire)).toBe('RequestTimeTooSkewed')
      expect(await replay(caller)).toBe('SignatureDoesNotMatch')
    }
    ahead = -14.5 * 60_000
    expect(await replay(wire)).toBe('200')
    expect(await replay(caller)).toBe('200')
  })
  test('in the query of a presigned URL, which is not done', async () => {
    const path = '/artifacts/99120/build.zip?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0'
    expect(await replay({ method: 'GET', path, headers: {}, body: '' })).toBe('NotImplemented')
  })
})

describe('a body is refused', () => {
  const rows: [string, object, string][] = [
    ['with a checksum of something else', { ChecksumCRC32: 'AAAAAA==' }, 'BadDigest'],
    ['with an MD5 of something else', { ContentMD5: '1B2M2Y8AsgTpgAmY7PhCfg==' }, 'BadDigest'],
    [
      'with a SHA-256 of something else',
      { ChecksumSHA256: '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' },
      'BadDigest',
    ],
  ]
  test.each(rows)('%s', async (_name, change, code) => {
    const client = await s3()
    const command = new PutObjectCommand({
      Bucket: 'artifacts',
      Key: 'x',
      Body: 'built',
      ...change,
    })
    expect(await refused(client.send(command))).toBe(code)
    expect(aws.keys('artifacts')).toEqual([])
  })

  const chunked: [string, (body: string) => string, string][] = [
    ['in a chunk too many', (body) => `1\r\nx\r\n${body}`, 'IncompleteBody'],
    ['in chunks that end early', (body) => body.slice(0, 8), 'IncompleteBody'],
    ['in chunks of another size', (body) => body.replace(/^7/, '6'), 'IncompleteBody'],
    [
      'in chunks without a trailer',
      (body) => body.replace(/x-amz-checksum-crc32:.*\r\n/, ''),
      'MalformedTrailerError',
    ],
    [
      'in chunks with another trailer',
      (body) => body.replace('crc32:', 'sha1:'),
      'MalformedTrailerError',
    ],
    [
      'in chunks with another checksum',
      (body) => body.replace(/crc32:.{4}/, 'crc32:AAAA'),
      'BadDigest',
    ],
    ['in chunks with other bytes', (body) => body.replace('one', 'two'), 'BadDigest'],
  ]
  const streamed = async () => {
    const client = await s3()
    const Body = Readable.from([Buffer.from('one two')])
    const command = new PutObjectCommand({
      Bucket: 'artifacts',
      Key: 'x',
      Body,
      ContentLength: 7,
      ChecksumAlgorithm: 'CRC32',
    })
    return signed(client, () => client.send(command))
  }
  test.each(chunked)('%s', async (_name, change, code) => {
    const wire = await streamed()
    const body = change(wire.body)
    expect(body).not.toBe(wire.body)
    expect(await replay({ ...wire, body })).toBe(code)
    expect(aws.keys('artifacts')).toEqual([])
  })
  test('but not in the chunks that the SDK made', async () => {
    expect(await replay(await streamed())).toBe('200')
    expect(aws.object('artifacts', 'x')?.bytes).toEqual(Buffer.from('one two'))
  })
})

test('half an object does not pass for a whole one', async () => {
  const client = await s3()
  await client.send(put())
  aws.failNext({ kind: 'half', operation: 'GetObject' })
  const read = client.send(get()).then((found) => found.Body?.transformToString())
  await expect(read).rejects.toThrow()
})
