import { EntraError } from './error.ts'
import { isHttpLoopback } from './tenant.ts'

/** How Entra comes by the keys of an issuer. The real one keeps them for a day; this one asks each time. */
export interface Issuers {
  /** Issuer origin → base URL on the loopback that serves it; read at every call. */
  readonly resolve: Readonly<Record<string, string>>
  /** Milliseconds for each of the two documents. */
  readonly timeout: number
  /** Lets an `http://127.0.0.1:<port>` issuer answer for itself. */
  readonly httpLoopback: boolean
}

type Fields = Readonly<Record<string, unknown>>

/** Entra reads no further than this. */
const MAX_KEYS = 100

/** The first 100 keys that an issuer publishes. Throws EntraError 90061 when it does not. */
export async function issuerKeys(issuer: string, issuers: Issuers): Promise<readonly Fields[]> {
  const discovery = fields(await fetchJson(`${issuer}/.well-known/openid-configuration`, issuers))
  if (discovery['issuer'] !== issuer) throw unreachable('discovery names another issuer')
  const uri = discovery['jwks_uri']
  if (typeof uri !== 'string' || !URL.canParse(uri)) throw unreachable('no jwks_uri')
  if (!uri.startsWith('https://') && !(isHttpLoopback(issuer) && isHttpLoopback(uri)))
    throw unreachable('jwks_uri is not https')
  const keys = fields(await fetchJson(uri, issuers))['keys']
  if (!Array.isArray(keys)) throw unreachable('the JWKS has no keys')
  return keys.slice(0, MAX_KEYS).map(fields)
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
  if (Object.hasOwn(issuers.resolve, origin))
    return (issuers.resolve[origin] ?? '').replace(/\/$/, '') + pathname + search
  if (issuers.httpLoopback && isHttpLoopback(url)) return url
  throw unreachable(`nothing serves ${origin}`)
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {}
}

function unreachable(why: string): EntraError {
  return new EntraError(90061, 'Request to External OIDC endpoint failed.', why)
}
