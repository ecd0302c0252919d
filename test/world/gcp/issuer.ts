import { createPublicKey } from 'node:crypto'
import { GcpError } from './answer.ts'
import type { Provider } from './project.ts'

/** How STS comes by the key of an identity token: it asks the issuer, and is choosy about what it gets. */
export interface Issuers {
  /** Issuer origin → base URL on the loopback that serves it; read at every call. */
  readonly resolve: Readonly<Record<string, string>>
  /** Milliseconds for each of the two documents. */
  readonly timeout: number
  /** Lets an `http://127.0.0.1:<port>` issuer answer for itself. */
  readonly httpLoopback: boolean
}

export interface Jwk {
  readonly kid: string
  readonly kty: 'RSA' | 'EC'
  readonly [member: string]: string
}

/** The public key that a token header names. Throws GcpError `invalid_grant`. */
export async function verificationKey(
  provider: Provider,
  { alg, kid }: { readonly alg: string; readonly kid: string },
  issuers: Issuers,
): Promise<Jwk> {
  const keys = provider.jwks ?? (await fetchKeys(provider, issuers))
  const kty = alg === 'RS256' ? 'RSA' : 'EC'
  const [key, second] = keys.filter((one) => one.kid === kid && one.kty === kty)
  if (key === undefined) throw notVerified('no key of that kid and type')
  if (second !== undefined) throw notVerified('two keys of that kid')
  if (key['alg'] !== undefined && key['alg'] !== alg) throw notVerified('a key for another alg')
  return key
}

async function fetchKeys(provider: Provider, issuers: Issuers): Promise<readonly Jwk[]> {
  const { issuerUri } = provider
  const discovery = await fetchJson(
    `${issuerUri.replace(/\/$/, '')}/.well-known/openid-configuration`,
    issuers,
  )
  const { issuer, jwks_uri: uri } = fields(discovery)
  if (issuer !== issuerUri) throw unreachable('discovery names another issuer')
  if (typeof uri !== 'string' || !URL.canParse(uri)) throw unreachable('no jwks_uri')
  if (!uri.startsWith('https://') && !(isHttpLoopback(issuerUri) && isHttpLoopback(uri))) {
    throw unreachable('jwks_uri is not https')
  }
  const jwks = await fetchJson(uri, issuers)
  if (!isJwks(jwks)) throw unreachable('the JWKS is not to the taste of this cloud')
  return jwks.keys
}

const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
/** Google takes certificates from an issuer that it asks and refuses them in an upload; ours are to have none. */
const UNWANTED = ['x5c', 'x5t', 'x5u', ...PRIVATE]

/** A key set in which every key could verify something. */
export function isJwks(value: unknown): value is { readonly keys: readonly Jwk[] } {
  const { keys } = fields(value)
  return Array.isArray(keys) && keys.length > 0 && keys.length <= 100 && keys.every(isUsable)
}

function isUsable(key: unknown): boolean {
  const { kid, kty, use } = fields(key)
  if (typeof kid !== 'string' || kid === '' || (kty !== 'RSA' && kty !== 'EC')) return false
  if (use !== undefined && use !== 'sig') return false
  if (UNWANTED.some((name) => Object.hasOwn(fields(key), name))) return false
  if (!Object.values(fields(key)).every((member) => typeof member === 'string')) return false
  try {
    return createPublicKey({ key: fields(key), format: 'jwk' }).type === 'public'
  } catch {
    return false
  }
}

/** What the zero-configuration broker is: `http://127.0.0.1:<port>`. */
export function isHttpLoopback(url: string): boolean {
  return /^http:\/\/127\.0\.0\.1:\d{1,5}(?:\/[A-Za-z0-9._~/-]*)?$/.test(url)
}

const MAX_DOCUMENT = 256 * 1024

async function fetchJson(url: string, issuers: Issuers): Promise<unknown> {
  const address = addressOf(url, issuers)
  try {
    const response = await fetch(address, {
      redirect: 'error',
      signal: AbortSignal.timeout(issuers.timeout),
      headers: { accept: 'application/json' },
    })
    if (response.status !== 200) throw new Error(`status ${response.status}`)
    const text = await response.text()
    if (text.length > MAX_DOCUMENT) throw new Error('too long')
    return JSON.parse(text) as unknown
  } catch (problem) {
    throw unreachable(`${url}: ${problem instanceof Error ? problem.message : 'failed'}`)
  }
}

function addressOf(url: string, issuers: Issuers): string {
  const { origin, pathname, search } = new URL(url)
  if (Object.hasOwn(issuers.resolve, origin)) {
    return (issuers.resolve[origin] ?? '').replace(/\/$/, '') + pathname + search
  }
  if (issuers.httpLoopback && isHttpLoopback(url)) return url
  throw unreachable(`nothing serves ${origin}`)
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {}
}

function notVerified(why: string): GcpError {
  return new GcpError('invalid_grant', 'The ID Token signature could not be verified.', why)
}

function unreachable(why: string): GcpError {
  return new GcpError('invalid_grant', "Error connecting to the given credential's issuer.", why)
}
