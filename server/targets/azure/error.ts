import type { AzureRefusal } from './reply.ts'

/**
 * Entra's codes for this exchange (reference-error-codes; workload identity troubleshooting), and what to check. A code that is in neither
 * table is judged by its HTTP status. A new federated credential takes minutes to be known everywhere: longer than any retry here.
 */
const FINAL: ReadonlyMap<number, string> = new Map([
  [70021, 'the federated credential does not fit; a new one takes some minutes'],
  [700211, "the federated credential's issuer must be issuer_url, letter for letter"],
  [700212, "the federated credential's audience must be api://AzureADTokenExchange"],
  [700213, "the federated credential's subject must be grant:<name>; a new one takes some minutes"],
  [7002138, "the federated credential's subject differs from grant:<name> in case only"],
  [70025, 'the app has no federated credential'],
  [700016, "the grant's client is no app of the grant's tenant"],
  [7000112, 'the app is disabled'],
  [7000229, 'the app has no service principal in the tenant'],
  [90002, "the grant's tenant does not exist in this cloud"],
  [700024, "the broker's clock and Entra's differ"],
  [7000272, 'the JWKS at issuer_url lacks the signing key, or Entra still has an older one'],
  [700027, 'the signature fits no key of the JWKS at issuer_url'],
  [50013, 'the signature fits no key of the JWKS at issuer_url'],
  [700222, 'issuer_url must not be an issuer of Entra'],
  [700223, 'a policy of the tenant forbids this issuer'],
  [700238, 'a policy of the tenant forbids this issuer'],
  [900382, 'the app lives in another cloud than the one asked'],
  [53003, 'a conditional access policy for workload identities blocks the app'],
  [70011, 'a scope of the grant is not valid'],
  [1002012, 'a scope of the grant is not valid'],
  [500011, 'the resource of a scope is not known in the tenant'],
  [501051, 'the resource wants the app to be assigned a role'],
])

const UNREACHED = 'Entra cannot fetch discovery or JWKS from issuer_url: they must be public'

/** Asking again, with the same assertion and within seconds, could help. */
const TRANSIENT: ReadonlyMap<number, string> = new Map([
  [90061, UNREACHED],
  [50166, UNREACHED],
  [501661, UNREACHED],
  [90033, 'Entra is busy'],
  [90055, 'the tenant is throttled'],
  [50196, 'the app is throttled for asking in a loop'],
])

/** Node's and undici's codes for a peer that could not be reached or went away. A TLS failure is not among them. */
const NETWORK: ReadonlySet<unknown> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'],
  ...['UND_ERR_SOCKET', 'UND_ERR_CONNECT_TIMEOUT'],
  ...['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'],
])

const unavailable = (about: string, cause: string): AzureRefusal => ({
  ok: false,
  code: 'target_unavailable',
  target: 'azure',
  about,
  cause,
})

export const refused = (about: string, cause: string): AzureRefusal => ({
  ok: false,
  code: 'target_refused',
  target: 'azure',
  about,
  cause,
})

/** The bound was reached while Entra had not answered. */
export const outOfTime = unavailable('Timeout', 'Entra did not answer in time')

/**
 * An answer that is no token. `about`: `AADSTS…`, or the OAuth error. `cause`: what to check, and Entra's own sentence for the operator,
 * with whatever looks like a token cut out.
 */
export const refusalOf = (status: number, answer: unknown): AzureRefusal => {
  const { error, error_codes, error_description, trace_id } = record(answer)
  const number = codeOf(error_codes, error_description)
  const word = matched(error, /^[a-z_]{1,64}$/)
  const about = number === null ? (word ?? 'UnreadableAnswer') : `AADSTS${number}`
  const trace = matched(trace_id, /^[0-9a-f-]{36}$/)
  const seen = `HTTP ${status}${trace === null ? '' : `, trace ${trace}`}: ${sentence(error_description)}`
  const [final, passing] = [FINAL, TRANSIENT].map((table) => table.get(number ?? 0))
  if (final !== undefined) return refused(about, `${final} (${seen})`)
  if (passing !== undefined) return unavailable(about, `${passing} (${seen})`)
  const mayPass = status === 429 || status >= 500 || word === 'temporarily_unavailable'
  return mayPass ? unavailable(about, seen) : refused(about, seen)
}

/** What fetch throws: its own message says nothing, and its cause knows the code. */
export const transportRefusal = (thrown: unknown): AzureRefusal => {
  const { cause, code: own } = record(thrown)
  const code = record(cause)['code'] ?? own
  const known = matched(code, /^[A-Z][A-Z0-9_]{1,63}$/) ?? 'no code'
  return NETWORK.has(code)
    ? unavailable('NetworkError', `Entra cannot be reached (${known})`)
    : refused('CallFailed', `the call to Entra failed (${known})`)
}

const codeOf = (codes: unknown, description: unknown): number | null => {
  const [first] = Array.isArray(codes) ? (codes as unknown[]) : []
  if (typeof first === 'number' && Number.isInteger(first) && first > 0 && first < 1e9) return first
  const [, digits] = /^AADSTS([1-9]\d{3,8})\b/.exec(text(description)) ?? []
  return digits === undefined ? null : Number(digits)
}

/** A peer's text, without the ids that close it. */
const sentence = (description: unknown): string => {
  const [first = ''] = text(description).split(/\s*Trace ID:/)
  const plain = first.replace(/[^\x20-\x7e]/g, ' ').replace(/[\w+/=~-]{32,}/g, '[cut]')
  return plain === '' ? 'no message' : plain.slice(0, 300)
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

const matched = (value: unknown, pattern: RegExp): string | null =>
  typeof value === 'string' && pattern.test(value) ? value : null

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
