import {
  constants,
  createHash,
  createHmac,
  generateKeyPair,
  randomUUID,
  sign,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { promisify } from 'node:util'

/** One key of the issuer. GitHub publishes two kinds: a UUID alone, and a certificate whose thumbprint is the kid. */
export interface SigningKey {
  readonly kid: string
  /** RFC 7517 section 4.8; null for a key without a certificate. */
  readonly x5t: string | null
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** As the JWKS shows it: `kty, alg, use, kid, n, e`, and `x5c, x5t` with a certificate. */
  readonly jwk: JsonWebKey
}

const generate = promisify(generateKeyPair)

/** A new 2,048 bit RSA key, with a self-signed certificate or under a UUID. */
export const makeSigningKey = async (kind: 'certificate' | 'uuid'): Promise<SigningKey> => {
  const pair = await generate('rsa', { modulusLength: 2048 })
  const { kty, n, e } = pair.publicKey.export({ format: 'jwk' })
  const bare = { kty, alg: 'RS256', use: 'sig', n, e } as JsonWebKey
  if (kind === 'uuid') {
    const kid = randomUUID()
    return { kid, x5t: null, ...pair, jwk: { ...bare, kid } }
  }
  const certificate = selfSigned(pair.publicKey, pair.privateKey)
  const thumbprint = createHash('sha1').update(certificate).digest()
  const kid = thumbprint.toString('hex').toUpperCase()
  const x5t = thumbprint.toString('base64url')
  return { kid, x5t, ...pair, jwk: { ...bare, kid, x5c: [certificate.toString('base64')], x5t } }
}

/** A private key, or the bytes of a shared secret. */
export type Secret = KeyObject | string

const rsa =
  (hash: string) =>
  (data: Buffer, key: Secret): Buffer =>
    sign(hash, data, key)

const pss =
  (hash: string) =>
  (data: Buffer, key: Secret): Buffer =>
    sign(hash, data, {
      key: asKey(key),
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    })

const hmac =
  (hash: string) =>
  (data: Buffer, key: Secret): Buffer =>
    createHmac(hash, key).update(data).digest()

const asKey = (key: Secret): KeyObject => {
  if (typeof key === 'string') throw new TypeError('this algorithm needs a KeyObject')
  return key
}

/** JWS algorithms (RFC 7518 section 3.1), the forbidden ones included: attacks need them. */
const ALGORITHMS = {
  none: () => Buffer.alloc(0),
  HS256: hmac('sha256'),
  HS512: hmac('sha512'),
  RS256: rsa('sha256'),
  RS384: rsa('sha384'),
  RS512: rsa('sha512'),
  PS256: pss('sha256'),
  ES256: (data: Buffer, key: Secret) =>
    sign('sha256', data, { key: asKey(key), dsaEncoding: 'ieee-p1363' }),
} as const satisfies Record<string, (data: Buffer, key: Secret) => Buffer>

export type Algorithm = keyof typeof ALGORITHMS

/** A JWS in compact form. A string is taken as it is, so that broken and duplicate JSON can be signed too. */
export const signCompact = (
  header: object | string,
  payload: object | string,
  algorithm: Algorithm,
  key: Secret,
): string => {
  const text = `${encode(header)}.${encode(payload)}`
  return `${text}.${ALGORITHMS[algorithm](Buffer.from(text), key).toString('base64url')}`
}

const encode = (part: object | string): string =>
  Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url')

const der = (tag: number, ...parts: readonly Buffer[]): Buffer => {
  const body = Buffer.concat(parts)
  const bytes = body.length.toString(16)
  const long = Buffer.from(bytes.padStart(bytes.length + (bytes.length % 2), '0'), 'hex')
  const length = body.length < 128 ? [body.length] : [0x80 | long.length, ...long]
  return Buffer.concat([Buffer.from([tag, ...length]), body])
}

const SEQUENCE = 0x30
const SHA256_WITH_RSA = Buffer.from('300d06092a864886f70d01010b0500', 'hex')
const COMMON_NAME = Buffer.from('0603550403', 'hex')

/** The least X.509 there is (RFC 5280 section 4.1): what `x5c` holds and `x5t` is the SHA-1 of. */
const selfSigned = (publicKey: KeyObject, privateKey: KeyObject): Buffer => {
  const issuer = Buffer.from('token.actions.githubusercontent.com')
  const name = der(SEQUENCE, der(0x31, der(SEQUENCE, COMMON_NAME, der(0x0c, issuer))))
  const validity = der(
    SEQUENCE,
    der(0x17, Buffer.from('250101000000Z')),
    der(0x17, Buffer.from('490101000000Z')),
  )
  const serial = der(0x02, Buffer.from([1]))
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const body = der(SEQUENCE, serial, SHA256_WITH_RSA, name, validity, name, spki)
  const signature = der(0x03, Buffer.from([0]), sign('sha256', body, privateKey))
  return der(SEQUENCE, body, SHA256_WITH_RSA, signature)
}
