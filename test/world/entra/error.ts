import type { Answer } from '../fault.ts'

/** How this Entra says no. `code` is the AADSTS number; `why` goes to the call log alone. */
export class EntraError extends Error {
  readonly code: number
  readonly oauth: string
  readonly status: number
  readonly why: string | null

  constructor(code: number, message: string, why: string | null = null) {
    super(message)
    this.name = 'EntraError'
    const [oauth, status] = KINDS[code] ?? ['invalid_request', 400]
    this.code = code
    this.oauth = oauth
    this.status = status
    this.why = why
  }
}

const INVALID_CLIENT = ['invalid_client', 401] as const

/** OAuth error and status of a code; `invalid_request` with 400 for those that are not here. */
const KINDS: Readonly<Record<number, readonly [string, number]>> = {
  50013: INVALID_CLIENT,
  50027: INVALID_CLIENT,
  70003: ['unsupported_grant_type', 400],
  70011: ['invalid_scope', 400],
  70025: INVALID_CLIENT,
  500011: ['invalid_resource', 400],
  700016: ['unauthorized_client', 400],
  700024: INVALID_CLIENT,
  700211: INVALID_CLIENT,
  700212: INVALID_CLIENT,
  700213: INVALID_CLIENT,
  700222: INVALID_CLIENT,
  700238: INVALID_CLIENT,
  1002012: ['invalid_scope', 400],
  7000112: ['unauthorized_client', 400],
  7000216: INVALID_CLIENT,
  7000272: INVALID_CLIENT,
  7002138: INVALID_CLIENT,
}

/** What identifies one request in Entra's logs. */
export interface Trace {
  readonly traceId: string
  readonly correlationId: string
  /** Milliseconds. */
  readonly now: number
}

export function entraAnswer(status: number, body: unknown, trace: Trace): Answer {
  return {
    status,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store, no-cache',
      pragma: 'no-cache',
      date: new Date(trace.now).toUTCString(),
      'x-ms-request-id': trace.traceId,
    },
    body: JSON.stringify(body),
  }
}

export function errorAnswer(error: EntraError, trace: Trace): Answer {
  const timestamp = new Date(trace.now)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/, 'Z')
  const ids = `Trace ID: ${trace.traceId} Correlation ID: ${trace.correlationId} Timestamp: ${timestamp}`
  const body = {
    error: error.oauth,
    error_description: `AADSTS${error.code}: ${error.message} ${ids}`,
    error_codes: [error.code],
    timestamp,
    trace_id: trace.traceId,
    correlation_id: trace.correlationId,
    error_uri: `https://login.microsoftonline.com/error?code=${error.code}`,
  }
  return entraAnswer(error.status, body, trace)
}
