import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Session } from './account.ts'
import { AwsError } from './answer.ts'

/** Signature Version 4, from the server's side: nothing is taken from a request that is not signed. */

/** What arrived. `headers` are lower-cased, repeated ones joined by a comma. */
export interface Arrived {
  readonly method: string
  /** As on the wire, still percent-encoded. */
  readonly path: string
  readonly query: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

export type Service = 's3' | 'sts'

export interface Clock {
  /** Milliseconds. */
  readonly now: number
  readonly sessions: ReadonlyMap<string, Session>
}

interface Authorization {
  readonly accessKeyId: string
  readonly day: string
  readonly region: string
  readonly service: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
}

/** The session whose secret signed the request. Throws AwsError with the code that the service has for it. */
export function authenticate(
  arrived: Arrived,
  service: Service,
  { now, sessions }: Clock,
): Session {
  const authorization = readAuthorization(arrived.headers['authorization'], service)
  const date = readDate(arrived.headers['x-amz-date'], authorization, service)
  checkSignedHeaders(arrived.headers, authorization, service)
  const session = sessions.get(authorization.accessKeyId)
  if (session === undefined) throw unknownKey(service)
  checkSkew(date, now, service)
  const token = arrived.headers['x-amz-security-token']
  if (token !== session.sessionToken) throw wrongToken(service)
  const expected = sign(arrived, authorization, session.secretAccessKey)
  if (!equal(expected, authorization.signature)) throw mismatch('the signatures differ')
  if (now >= session.expiresAt) throw expired(service)
  return session
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=(\w{16,128})\/(\d{8})\/([a-z0-9-]{1,32})\/(\w+)\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/

function readAuthorization(header: string | undefined, service: Service): Authorization {
  if (header === undefined) {
    throw service === 's3'
      ? new AwsError('AccessDenied', 'Access Denied', 403, 'no Authorization header')
      : new AwsError('MissingAuthenticationToken', 'Request is missing Authentication Token', 403)
  }
  const [, accessKeyId = '', day = '', region = '', scope = '', signed = '', signature = ''] =
    AUTHORIZATION.exec(header) ?? []
  if (signature === '') throw incomplete('Authorization header cannot be read', service)
  if (scope !== service)
    throw incomplete(`Credential should be scoped to service ${service}`, service)
  return { accessKeyId, day, region, service: scope, signedHeaders: signed.split(';'), signature }
}

function readDate(header: string | undefined, { day }: Authorization, service: Service): number {
  const [, y, m, d, h, min, s] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(header ?? '') ?? []
  const date = Date.parse(`${y ?? ''}-${m ?? ''}-${d ?? ''}T${h ?? ''}:${min ?? ''}:${s ?? ''}Z`)
  if (Number.isNaN(date)) throw incomplete('X-Amz-Date cannot be read', service)
  if (header?.slice(0, 8) !== day) throw mismatch('the scope is of another day')
  return date
}

/** The host and every x-amz header must be under the signature, or a stranger could add one. */
function checkSignedHeaders(
  headers: Readonly<Record<string, string>>,
  { signedHeaders }: Authorization,
  service: Service,
): void {
  const needed = Object.keys(headers).filter((name) => name === 'host' || name.startsWith('x-amz-'))
  const unsigned = needed.find((name) => !signedHeaders.includes(name))
  if (unsigned !== undefined) {
    const message = 'There were headers present in the request which were not signed'
    throw new AwsError('AccessDenied', message, 403, unsigned)
  }
  const missing = signedHeaders.find((name) => headers[name] === undefined)
  if (missing !== undefined) throw incomplete('A signed header is absent', service)
  if (signedHeaders.join(';') !== [...new Set(signedHeaders)].sort().join(';')) {
    throw incomplete('SignedHeaders are not sorted', service)
  }
}

const FIFTEEN_MINUTES = 15 * 60 * 1000

function checkSkew(date: number, now: number, service: Service): void {
  if (Math.abs(now - date) <= FIFTEEN_MINUTES) return
  if (service === 's3') {
    const message = 'The difference between the request time and the current time is too large.'
    throw new AwsError('RequestTimeTooSkewed', message, 403)
  }
  throw mismatch('clock skew', date < now ? 'Signature expired' : 'Signature not yet current')
}

/** The hex signature that the secret gives this request. */
export function sign(arrived: Arrived, authorization: Authorization, secret: string): string {
  const { day, region, service } = authorization
  const stringToSign = [
    'AWS4-HMAC-SHA256',
    arrived.headers['x-amz-date'],
    `${day}/${region}/${service}/aws4_request`,
    sha256(canonicalRequest(arrived, authorization)),
  ].join('\n')
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  return hmac(key, stringToSign).toString('hex')
}

function canonicalRequest(arrived: Arrived, { signedHeaders, service }: Authorization): string {
  return [
    arrived.method,
    canonicalPath(arrived.path),
    canonicalQuery(arrived.query),
    ...signedHeaders.map(
      (name) => `${name}:${(arrived.headers[name] ?? '').trim().replaceAll(/ +/g, ' ')}`,
    ),
    '',
    signedHeaders.join(';'),
    payloadHash(arrived, service),
  ].join('\n')
}

/** Decoded and encoded once, which is S3's rule; STS's only path is the same either way. */
function canonicalPath(path: string): string {
  return path
    .split('/')
    .map((segment) => encode(decode(segment)))
    .join('/')
}

function canonicalQuery(query: string): string {
  return readQuery(query)
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&')
}

/** Decoded pairs in their order; a plus is a plus, as the signature has it. */
export function readQuery(query: string): [name: string, value: string][] {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [name = '', ...value] = pair.split('=')
      return [decode(name), decode(value.join('='))]
    })
}

export function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw new AwsError('InvalidURI', "Couldn't parse the specified URI.")
  }
}

/** RFC 3986, upper-case hex, nothing spared but the unreserved. */
export function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

/** S3 signs what the header says and compares the body with it; STS always signs the body. */
function payloadHash({ headers, body }: Arrived, service: string): string {
  const stated = headers['x-amz-content-sha256']
  if (service === 's3' && stated !== undefined) return stated
  return sha256(body)
}

export function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}

function unknownKey(service: Service): AwsError {
  return service === 's3'
    ? new AwsError(
        'InvalidAccessKeyId',
        'The AWS Access Key Id you provided does not exist in our records.',
        403,
      )
    : new AwsError(
        'InvalidClientTokenId',
        'The security token included in the request is invalid.',
        403,
      )
}

function wrongToken(service: Service): AwsError {
  return service === 's3'
    ? new AwsError('InvalidToken', 'The provided token is malformed or otherwise invalid.', 400)
    : new AwsError(
        'InvalidClientTokenId',
        'The security token included in the request is invalid.',
        403,
      )
}

function expired(service: Service): AwsError {
  return service === 's3'
    ? new AwsError('ExpiredToken', 'The provided token has expired.', 400)
    : new AwsError('ExpiredToken', 'The security token included in the request is expired', 403)
}

function incomplete(message: string, service: Service): AwsError {
  return new AwsError(
    service === 's3' ? 'AuthorizationHeaderMalformed' : 'IncompleteSignature',
    message,
    400,
  )
}

function mismatch(
  why: string,
  message = 'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
): AwsError {
  return new AwsError('SignatureDoesNotMatch', message, 403, why)
}
