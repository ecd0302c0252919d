import { createPublicKey } from 'node:crypto'
import { isJwk } from 'aws-jwt-verify/jwk'
import { isHttpLoopback, type Provider } from './account.ts'
import { AwsError } from './answer.ts'

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
  readonly kty: string
  readonly [member: string]: string
}

/**
 * The issuer's public key for a token header. Throws AwsError `IDPCommunicationError` when the issuer
 * does not answer or does not answer JSON, `InvalidIdentityToken` when its answer is not to AWS's taste.
 */
export async function verificationKey(
  provider: Provider,
  header: { readonly alg: string; readonly kid: string },
  issuers: Issuers,
): Promise<Jwk> {
  const discovery = await fetchJson(`${provider.url}/.well-known/openid-configuration`, issuers)
  const jwksUri = readDiscovery(discovery, provider, header.alg)
  return selectKey(await fetchJson(jwksUri, issuers), header)
}

/** AWS answers `Couldn't retrieve verification key` when one of these is missing, `claims_supported` apart. */
const REQUIRED_LISTS = [
  'response_types_supported',
  'subject_types_supported',
  'id_token_signing_alg_values_supported',
]

function readDiscovery(discovery: unknown, provider: Provider, alg: string): string {
  const document = fields(discovery)
  if (document['issuer'] !== provider.url) throw noKey('discovery names another issuer')
  const missing = REQUIRED_LISTS.find((name) => !isStringList(document[name]))
  if (missing !== undefined) throw noKey(`discovery lacks ${missing}`)
  const algorithms = document['id_token_signing_alg_values_supported']
  if (!isStringList(algorithms) || !algorithms.includes(alg))
    throw noKey(`${alg} is not advertised`)
  const uri = document['jwks_uri']
  if (typeof uri !== 'string' || !URL.canParse(uri)) throw noKey('no jwks_uri')
  if (!uri.startsWith('https://') && !(isHttpLoopback(provider.url) && isHttpLoopback(uri))) {
    throw noKey('jwks_uri is not https')
  }
  return uri
}

function selectKey(jwks: unknown, { alg, kid }: { alg: string; kid: string }): Jwk {
  const keys = fields(jwks)['keys']
  if (!Array.isArray(keys)) throw noKey('the JWKS has no keys')
  const type = alg.startsWith('RS') ? 'RSA' : 'EC'
  const ofType = keys.map(fields).filter((key) => key['kty'] === type)
  if (ofType.length > 100) throw noKey(`more than 100 ${type} keys`)
  // Later keys replace earlier ones of the same id.
  const key = ofType.findLast((one) => one['kid'] === kid)
  if (key === undefined) throw noKey('no key of that kid and type')
  if ('use' in key && key['use'] !== 'sig') throw noKey('the key is not for signatures')
  if ('key_ops' in key) throw noKey('the key carries key_ops')
  if (!isJwk(key as never)) throw noKey('a member of the key is not text')
  // AWS takes a certificate that agrees with the key; none of our clouds but AWS would, so none is taken here.
  if ('x5c' in key) throw noKey('the key carries a certificate')
  if (!isPublicKey(key)) throw noKey('the key cannot be used')
  return Object.fromEntries(
    Object.entries(key).filter(([, value]) => typeof value === 'string'),
  ) as unknown as Jwk
}

function isPublicKey(key: Fields): boolean {
  try {
    return createPublicKey({ key, format: 'jwk' }).type === 'public'
  } catch {
    return false
  }
}

const MAX_DOCUMENT = 1024 * 1024

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

type Fields = Readonly<Record<string, unknown>>

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {}
}

function isStringList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function noKey(why: string): AwsError {
  return new AwsError(
    'InvalidIdentityToken',
    // Both blanks after the comma are AWS's.
    "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
    400,
    why,
  )
}

function unreachable(why: string): AwsError {
  return new AwsError(
    'IDPCommunicationError',
    'An error occurred while attempting to contact the identity provider.',
    400,
    why,
  )
}
