import type { MintRefusal } from '../target.ts'

/** Whether asking again, with the same token and within seconds, could help. */
type Prospect = 'transient' | 'final'

/**
 * STS's error codes as they stand on the wire (STS API reference, AssumeRoleWithWebIdentity; common errors). A code
 * that is not listed is judged by its HTTP status. Throttling and IDPCommunicationError come with status 400.
 */
const CODES: ReadonlyMap<string, Prospect> = new Map([
  ['Throttling', 'transient'],
  ['ThrottlingException', 'transient'],
  ['RequestLimitExceeded', 'transient'],
  ['IDPCommunicationError', 'transient'],
  ['InternalFailure', 'transient'],
  ['ServiceUnavailable', 'transient'],
  ['InvalidIdentityToken', 'final'],
  ['ExpiredTokenException', 'final'],
  ['IDPRejectedClaim', 'final'],
  ['AccessDenied', 'final'],
  ['ValidationError', 'final'],
  ['MalformedPolicyDocument', 'final'],
  ['PackedPolicyTooLarge', 'final'],
  ['RegionDisabledException', 'final'],
])

/** Node's codes for a peer that could not be reached or went away. A TLS failure is not among them. */
const NETWORK: ReadonlySet<unknown> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'],
])

/**
 * What an exception of the STS client means. `target_unavailable`: asking again could help; `target_refused`: it
 * could not. `about` is AWS's code; `cause` is AWS's sentence for the operator, with whatever looks like a token cut out.
 */
export const refusalOf = (error: unknown): MintRefusal => {
  const seen = readError(error)
  const code = seen.prospect === 'transient' ? 'target_unavailable' : 'target_refused'
  return { ok: false, target: 'aws', code, about: seen.about, cause: seen.cause }
}

/** The bound was reached while STS had not answered. */
export const outOfTime: MintRefusal = {
  ok: false,
  target: 'aws',
  code: 'target_unavailable',
  about: 'Timeout',
  cause: 'STS did not answer in time',
}

interface Seen {
  readonly prospect: Prospect
  readonly about: string
  readonly cause: string
}

const readError = (error: unknown): Seen => {
  const shown = record(error)
  const status = record(shown['$metadata'])['httpStatusCode']
  // A connection that breaks inside the answer leaves both: the status that came, and node's code.
  return typeof status === 'number' && !NETWORK.has(shown['code'])
    ? readService(shown, status)
    : readTransport(shown)
}

const readService = (error: Readonly<Record<string, unknown>>, status: number): Seen => {
  const code = awsCode(error['Code'])
  const byStatus = status === 429 || status >= 500 ? 'transient' : 'final'
  return {
    prospect: (code === null ? undefined : CODES.get(code)) ?? byStatus,
    about: code ?? 'UnreadableAnswer',
    cause: `HTTP ${status}: ${withoutTokens(error['message'])}`,
  }
}

const readTransport = (error: Readonly<Record<string, unknown>>): Seen => {
  const cause = withoutTokens(error['message'])
  if (NETWORK.has(error['code'])) return { prospect: 'transient', about: 'NetworkError', cause }
  if (error['name'] === 'TimeoutError' || error['name'] === 'AbortError')
    return { prospect: 'transient', about: 'Timeout', cause }
  return { prospect: 'final', about: 'CallFailed', cause }
}

const awsCode = (code: unknown): string | null =>
  typeof code === 'string' && /^[A-Za-z]{1,64}$/.test(code) ? code : null

/** AWS's sentence is the only hint at which part of a trust is wrong, but it is a peer's text. */
const withoutTokens = (message: unknown): string =>
  typeof message === 'string'
    ? message
        .replace(/[^\x20-\x7e]/g, ' ')
        .replace(/[\w+/=~-]{32,}/g, '[cut]')
        .slice(0, 300)
    : 'no message'

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
