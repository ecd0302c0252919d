import type { Secret } from '../../secret.ts'
import type { MintRefusal } from '../target.ts'

/** Whether asking again, with the same token and within seconds, could help. */
type Prospect = 'transient' | 'final'

/**
 * The codes of both services: the Security Token Service speaks RFC 6749 section 5.2 and RFC 8693 section 2.2.2 (an issuer
 * that Google cannot reach is an `invalid_grant` too), IAM Credentials speaks google.rpc.Code. A code that is not listed is
 * judged by its HTTP status.
 */
const CODES: ReadonlyMap<string, Prospect> = new Map([
  ['invalid_request', 'final'],
  ['invalid_target', 'final'],
  ['invalid_grant', 'final'],
  ['invalid_scope', 'final'],
  ['invalid_client', 'final'],
  ['unauthorized_client', 'final'],
  ['unsupported_grant_type', 'final'],
  ['server_error', 'transient'],
  ['temporarily_unavailable', 'transient'],
  ['INVALID_ARGUMENT', 'final'],
  ['FAILED_PRECONDITION', 'final'],
  ['UNAUTHENTICATED', 'final'],
  ['PERMISSION_DENIED', 'final'],
  ['NOT_FOUND', 'final'],
  ['ABORTED', 'transient'],
  ['DEADLINE_EXCEEDED', 'transient'],
  ['INTERNAL', 'transient'],
  ['RESOURCE_EXHAUSTED', 'transient'],
  ['UNAVAILABLE', 'transient'],
])

/** Codes of node and of its fetch for a peer that could not be reached or went away. A TLS failure is not among them. */
const NETWORK: ReadonlySet<unknown> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'],
  ...['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL'],
  ...[
    'UND_ERR_SOCKET',
    'UND_ERR_CONNECT_TIMEOUT',
    'UND_ERR_HEADERS_TIMEOUT',
    'UND_ERR_BODY_TIMEOUT',
  ],
])

const final = (about: string, cause: string): MintRefusal => ({
  ok: false,
  target: 'gcp',
  code: 'target_refused',
  about,
  cause,
})

const transient = (about: string, cause: string): MintRefusal => ({
  ...final(about, cause),
  code: 'target_unavailable',
})

/** The bound was reached while Google had not answered. */
export const outOfTime: MintRefusal = transient('Timeout', 'Google did not answer in time')

/** Google answered, and not with what was asked. */
export const unlike = (about: string): MintRefusal =>
  final(about, 'what Google answered is not what was asked')

/** What was to be asked would have been refused, or would have been wrong. */
export const unasked = (about: string, cause: string): MintRefusal => final(about, cause)

/**
 * What an answer with another status than 200 means. `about` is the cloud's code; `cause` is its sentence for the operator,
 * without `secrets` and without whatever else looks like a token.
 */
export const refusalOf = (
  status: number,
  body: unknown,
  secrets: readonly Secret[],
): MintRefusal => {
  const { code, message } = readError(body)
  const byStatus = status === 408 || status === 429 || status >= 500 ? 'transient' : 'final'
  const prospect = (code === null ? undefined : CODES.get(code)) ?? byStatus
  const refuse = prospect === 'transient' ? transient : final
  return refuse(code ?? 'UnreadableAnswer', `HTTP ${status}: ${withoutTokens(message, secrets)}`)
}

/** A request that ended without an answer. */
export const transportRefusal = (error: unknown, secrets: readonly Secret[]): MintRefusal => {
  const { code } = record(record(error)['cause'])
  const message = withoutTokens(record(error)['message'], secrets)
  return NETWORK.has(code) ? transient('NetworkError', message) : final('CallFailed', message)
}

interface Said {
  readonly code: string | null
  readonly message: unknown
}

/** `{error, error_description}` of STS, or `{error: {status, message}}` of every other Google API. */
const readError = (body: unknown): Said => {
  const { error, error_description } = record(body)
  if (typeof error === 'string') return { code: plainCode(error), message: error_description }
  const { status, message } = record(error)
  return { code: plainCode(status), message }
}

const plainCode = (code: unknown): string | null =>
  typeof code === 'string' && /^[A-Za-z_]{1,64}$/.test(code) ? code : null

/** Google's sentence is the only hint at which part of a trust is wrong, but it is a peer's text. */
const withoutTokens = (message: unknown, secrets: readonly Secret[]): string => {
  if (typeof message !== 'string') return 'no message'
  const known = secrets.reduce((text, secret) => text.replaceAll(secret.reveal(), '[cut]'), message)
  return known
    .replace(/[^\x20-\x7e]/g, ' ')
    .replace(/[\w~-]{32,}/g, '[cut]')
    .slice(0, 300)
}

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
