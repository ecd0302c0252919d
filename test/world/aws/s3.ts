import { createHash } from 'node:crypto'
import {
  assumedRoleArn,
  type Bucket,
  type Session,
  type State,
  type StoredObject,
} from './account.ts'
import { AwsError, branch, leaf, type Answer } from './answer.ts'
import { authorize, isAuthorized, type Setting } from './authorize.ts'
import { readPayload } from './payload.ts'
import { authenticate, decode, encode, readQuery, type Arrived } from './sigv4.ts'

/** The Simple Storage Service over REST, path style. What it does not do, it refuses: no header is ignored. */
export interface S3Call {
  readonly state: State
  readonly setting: Setting
  readonly about: Record<string, string>
}

export type S3Operation =
  'PutObject' | 'GetObject' | 'HeadObject' | 'DeleteObject' | 'ListObjectsV2' | 'HeadBucket'

/** The operation that a request means by its method, path and query; null: one that is not done here. */
export function s3Operation(arrived: Arrived): S3Operation | null {
  const { bucket, key } = readPath(arrived.path)
  const names = readQuery(arrived.query).map(([name]) => name)
  if (bucket === '') return null
  const found = key === '' ? bucketOperation(arrived) : OBJECT_OPERATIONS[arrived.method]
  if (found === undefined) return null
  return names.every((name) => QUERIES[found].includes(name)) ? found : null
}

const OBJECT_OPERATIONS: Readonly<Record<string, S3Operation>> = {
  PUT: 'PutObject',
  GET: 'GetObject',
  HEAD: 'HeadObject',
  DELETE: 'DeleteObject',
}

function bucketOperation({ method, query }: Arrived): S3Operation | undefined {
  if (method === 'HEAD') return 'HeadBucket'
  const listed = readQuery(query).some(([name, value]) => name === 'list-type' && value === '2')
  return method === 'GET' && listed ? 'ListObjectsV2' : undefined
}

const QUERIES = {
  PutObject: ['x-id'],
  GetObject: ['x-id'],
  HeadObject: [],
  DeleteObject: ['x-id'],
  HeadBucket: [],
  ListObjectsV2: [
    'list-type',
    'prefix',
    'delimiter',
    'max-keys',
    'encoding-type',
    'start-after',
    'continuation-token',
    'fetch-owner',
    'x-id',
  ],
} as const satisfies Record<S3Operation, readonly string[]> as Record<
  S3Operation,
  readonly string[]
>

/** Headers that change nothing that is not done here. `range`, `if-match`, ACLs, encryption, copies are not among them. */
const HARMLESS_AMZ =
  /^x-amz-(?:date|content-sha256|security-token|user-agent|trailer|decoded-content-length|sdk-checksum-algorithm|checksum-mode|checksum-(?:crc32|crc32c|crc64nvme|sha1|sha256)|meta-[\w.-]+)$/

/** Throws AwsError. */
export function answerS3(arrived: Arrived, call: S3Call): Answer {
  const { state, setting, about } = call
  if (readQuery(arrived.query).some(([name]) => /^x-amz-(?:algorithm|signature)$/i.test(name))) {
    throw notImplemented('presigned URL')
  }
  const session = authenticate(arrived, 's3', { now: setting.now, sessions: state.sessions })
  about['principal'] = assumedRoleArn(session)
  const operation = s3Operation(arrived)
  if (operation === null) throw notImplemented(`${arrived.method} of that kind`)
  const odd = Object.keys(arrived.headers).find(
    (name) =>
      /^(?:range|if-)/.test(name) || (name.startsWith('x-amz-') && !HARMLESS_AMZ.test(name)),
  )
  if (odd !== undefined) throw notImplemented(odd)
  const { bucket: name, key } = readPath(arrived.path)
  about['bucket'] = name
  if (key !== '') about['key'] = key
  const bucket = findBucket(name, session, state)
  return OPERATIONS[operation]({ arrived, session, setting, bucket, name, key })
}

function findBucket(name: string, session: Session, state: State): Bucket {
  const bucket = state.buckets.get(name)
  if (bucket === undefined) {
    throw new AwsError('NoSuchBucket', 'The specified bucket does not exist', 404)
  }
  // Another account's bucket opens by a bucket policy only, and there are none here.
  if (bucket.account !== session.role.account) {
    throw new AwsError('AccessDenied', 'Access Denied', 403, 'a bucket of another account')
  }
  return bucket
}

interface Request {
  readonly arrived: Arrived
  readonly session: Session
  readonly setting: Setting
  readonly bucket: Bucket
  readonly name: string
  readonly key: string
}

const OPERATIONS = {
  PutObject: putObject,
  GetObject: (request) => getObject(request, true),
  HeadObject: (request) => getObject(request, false),
  DeleteObject: deleteObject,
  ListObjectsV2: listObjects,
  HeadBucket: headBucket,
} as const satisfies Record<S3Operation, (request: Request) => Answer>

function putObject(request: Request): Answer {
  const { arrived, bucket, key, setting } = request
  authorizeObject(request, 's3:PutObject')
  if (Buffer.byteLength(key) > 1024) {
    throw new AwsError('KeyTooLongError', 'Your key is too long')
  }
  const { bytes, checksums } = readPayload(arrived)
  const etag = createHash('md5').update(bytes).digest('hex')
  bucket.objects.set(key, {
    bytes,
    etag,
    checksums,
    contentType: arrived.headers['content-type'] ?? 'binary/octet-stream',
    metadata: readMetadata(arrived.headers),
    modifiedAt: setting.now,
  })
  return { status: 200, headers: { etag: `"${etag}"`, ...checksums }, body: '' }
}

function readMetadata(headers: Arrived['headers']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => name.startsWith('x-amz-meta-'))
      .map(([name, value]) => [name.slice('x-amz-meta-'.length), value]),
  )
}

function getObject(request: Request, withBody: boolean): Answer {
  authorizeObject(request, 's3:GetObject')
  const found = request.bucket.objects.get(request.key)
  if (found === undefined) throw noSuchKey(request)
  const { headers } = request.arrived
  const checksums = headers['x-amz-checksum-mode'] === 'ENABLED' ? found.checksums : {}
  return {
    status: 200,
    headers: { ...objectHeaders(found), ...checksums },
    body: withBody ? found.bytes : '',
  }
}

function objectHeaders(found: StoredObject): Record<string, string> {
  return {
    'accept-ranges': 'bytes',
    'content-length': String(found.bytes.length),
    'content-type': found.contentType,
    etag: `"${found.etag}"`,
    'last-modified': new Date(found.modifiedAt).toUTCString(),
    ...Object.fromEntries(
      Object.entries(found.metadata).map(([name, value]) => [`x-amz-meta-${name}`, value]),
    ),
  }
}

/** Who may not list the bucket may not learn what is missing from it. */
function noSuchKey({ session, setting, name }: Request): AwsError {
  const ask = { action: 's3:ListBucket', resource: bucketArn(name) }
  return isAuthorized(session, ask, setting)
    ? new AwsError('NoSuchKey', 'The specified key does not exist.', 404)
    : new AwsError('AccessDenied', 'Access Denied', 403, 'no such key, and no right to list')
}

function deleteObject(request: Request): Answer {
  authorizeObject(request, 's3:DeleteObject')
  request.bucket.objects.delete(request.key)
  return { status: 204, headers: {}, body: '' }
}

function headBucket({ session, setting, name }: Request): Answer {
  authorize(session, { action: 's3:ListBucket', resource: bucketArn(name) }, setting)
  return { status: 200, headers: {}, body: '' }
}

function listObjects({ arrived, session, setting, bucket, name }: Request): Answer {
  const query = Object.fromEntries(readQuery(arrived.query))
  const { prefix, delimiter } = query
  const context = {
    's3:prefix': prefix,
    's3:delimiter': delimiter,
    's3:max-keys': query['max-keys'],
  }
  authorize(session, { action: 's3:ListBucket', resource: bucketArn(name), context }, setting)
  const text = query['encoding-type'] === 'url' ? encode : (value: string) => value
  const after = decodeToken(query['continuation-token']) ?? query['start-after'] ?? ''
  const limit = readMaxKeys(query['max-keys'])
  const items = listItems(bucket, prefix ?? '', delimiter ?? '').filter((item) => item.name > after)
  const page = items.slice(0, limit)
  const truncated = items.length > page.length
  const body = branch(
    'ListBucketResult',
    leaf('Name', name),
    leaf('Prefix', text(prefix ?? '')),
    ...(delimiter === undefined ? [] : [leaf('Delimiter', text(delimiter))]),
    leaf('KeyCount', page.length),
    leaf('MaxKeys', limit),
    ...(query['encoding-type'] === 'url' ? [leaf('EncodingType', 'url')] : []),
    leaf('IsTruncated', String(truncated)),
    ...(truncated
      ? [leaf('NextContinuationToken', Buffer.from(page.at(-1)?.name ?? '').toString('base64url'))]
      : []),
    ...page.map((item) => listItem(text(item.name), item.object)),
  )
  return { status: 200, headers: { 'content-type': 'application/xml' }, body }
}

function readMaxKeys(text = '1000'): number {
  if (!/^\d{1,9}$/.test(text)) {
    throw new AwsError('InvalidArgument', 'Argument max-keys must be an integer')
  }
  return Math.min(Number(text), 1000)
}

function decodeToken(token: string | undefined): string | undefined {
  return token === undefined ? undefined : Buffer.from(token, 'base64url').toString()
}

interface Item {
  readonly name: string
  /** null: what keys up to the delimiter have in common. */
  readonly object: StoredObject | null
}

function listItems({ objects }: Bucket, prefix: string, delimiter: string): Item[] {
  const items = new Map<string, Item>()
  for (const [key, object] of objects) {
    if (!key.startsWith(prefix)) continue
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    const name = end < 0 ? key : key.slice(0, end + delimiter.length)
    items.set(name, { name, object: end < 0 ? object : null })
  }
  return [...items.values()].sort((a, b) =>
    Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
  )
}

function listItem(name: string, object: StoredObject | null): string {
  if (object === null) return branch('CommonPrefixes', leaf('Prefix', name))
  return branch(
    'Contents',
    leaf('Key', name),
    leaf('LastModified', new Date(object.modifiedAt).toISOString()),
    leaf('ETag', `"${object.etag}"`),
    leaf('Size', object.bytes.length),
    leaf('StorageClass', 'STANDARD'),
  )
}

function authorizeObject({ session, setting, name, key }: Request, action: string): void {
  authorize(session, { action, resource: `${bucketArn(name)}/${key}` }, setting)
}

function bucketArn(name: string): string {
  return `arn:aws:s3:::${name}`
}

/** `/bucket/key`; the key may have slashes, and empty segments of its own. */
function readPath(path: string): { bucket: string; key: string } {
  const [, bucket = '', ...key] = path.split('/')
  return { bucket: decode(bucket), key: decode(key.join('/')) }
}

/** S3's error document. */
export function s3Error(error: AwsError, requestId: string): Answer {
  return {
    status: error.status,
    headers: { 'content-type': 'application/xml' },
    body: branch(
      'Error',
      leaf('Code', error.code),
      leaf('Message', error.message),
      leaf('RequestId', requestId),
      leaf('HostId', requestId),
    ),
  }
}

function notImplemented(what: string): AwsError {
  const message = 'A header you provided implies functionality that is not implemented'
  return new AwsError('NotImplemented', message, 501, what)
}
