import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { join } from 'node:path'
import { Failure } from './failure.ts'
import { readPrivate, writePrivate, type PrivateFolder } from './private-files.ts'

/** The job's ES256 key. The broker binds a session to the first key it sees, so all uses in one job share one. */
export interface JobKey {
  readonly privateKey: KeyObject
  /** RFC 7638 SHA-256 thumbprint, base64url. */
  readonly thumbprint: string
  /** The private scalar, to be masked. */
  readonly secret: string
  /** The private JWK on disk: what signs for tokens that are bound to it. */
  readonly path: string
  /** Set when this use made the key; its post step removes it. */
  readonly made: PrivateFolder | null
}

const FILE = 'key.jwk'

/**
 * The key of this job: the one an earlier use left below RUNNER_TEMP, or a new one. A folder that is there but is
 * not private to this user is never trusted: somebody else would hold the key.
 */
export const openJobKey = (root: string, env: NodeJS.ProcessEnv): JobKey => {
  const folder = join(root, `tvm-key-${jobName(env)}`)
  const path = join(folder, FILE)
  const fresh = newKey()
  if (writePrivate(folder, [{ name: FILE, text: JSON.stringify(fresh) }]))
    return jobKey(fresh, path, { path: folder, names: [FILE] })
  const left = parseKey(readPrivate(path))
  if (left === null)
    throw new Failure('job_key_unusable', 'The key of this job is there but cannot be used.')
  return jobKey(left, path, null)
}

const jobName = (env: NodeJS.ProcessEnv): string => {
  const names = ['GITHUB_REPOSITORY_ID', 'GITHUB_RUN_ID', 'GITHUB_RUN_ATTEMPT', 'GITHUB_JOB']
  const job = JSON.stringify(names.map((name) => env[name] ?? ''))
  return createHash('sha256').update(job).digest('hex').slice(0, 16)
}

const newKey = (): JsonWebKey =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })

const parseKey = (text: string | null): JsonWebKey | null => {
  try {
    const key = createPrivateKey({ key: JSON.parse(text ?? '') as JsonWebKey, format: 'jwk' })
    return key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
      ? key.export({ format: 'jwk' })
      : null
  } catch {
    return null
  }
}

const jobKey = (jwk: JsonWebKey, path: string, made: PrivateFolder | null): JobKey => {
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' })
  const thumbprint = createHash('sha256')
    .update(JSON.stringify(publicJwk(privateKey)))
    .digest('base64url')
  return { privateKey, thumbprint, secret: jwk.d ?? '', path, made }
}

/** The public members in the order that RFC 7638 section 3.2 hashes them in. */
const publicJwk = (privateKey: KeyObject): JsonWebKey => {
  const { crv, kty, x, y } = createPublicKey(privateKey).export({ format: 'jwk' })
  return { crv, kty, x, y } as JsonWebKey
}

export interface Proven {
  readonly method: 'POST'
  /** Without query and fragment (RFC 9449 section 4.2). */
  readonly url: string
  /** The ID token that goes with the proof. */
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** A DPoP proof (RFC 9449 section 4.2) for one request; made anew for each. */
export const makeProof = (key: JobKey, { method, url, token, now }: Proven): string => {
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: publicJwk(key.privateKey) }
  const ath = createHash('sha256').update(token).digest('base64url')
  const iat = Math.floor(now / 1000)
  const payload = { htm: method, htu: url, iat, jti: randomUUID(), ath }
  const signed = `${encoded(header)}.${encoded(payload)}`
  // JWS wants r and s side by side (RFC 7518 section 3.4), not DER.
  const signature = sign('sha256', Buffer.from(signed), {
    key: key.privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  return `${signed}.${signature.toString('base64url')}`
}

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
