/** What this Google Cloud says back, and how it says no. */

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/** Which of Google's ways to word an error a service has. */
export type Face = 'sts' | 'iam' | 'storage'

/** google.rpc.Code → HTTP status; whatever is not listed is an OAuth code, and those come with 400. */
const STATUS: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: 400,
  FAILED_PRECONDITION: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  ABORTED: 409,
  RESOURCE_EXHAUSTED: 429,
  INTERNAL: 500,
  UNIMPLEMENTED: 501,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
  temporarily_unavailable: 503,
  server_error: 500,
}

/** `code`, `status` and the message reach the caller; `why` goes to the call log alone. */
export class GcpError extends Error {
  readonly code: string
  readonly status: number
  readonly why: string | null

  constructor(code: string, message: string, why: string | null = null, status?: number) {
    super(message)
    this.name = 'GcpError'
    this.code = code
    this.status = status ?? STATUS[code] ?? 400
    this.why = why
  }
}

export function json(status: number, value: unknown): Answer {
  const headers = { 'content-type': 'application/json; charset=UTF-8', 'cache-control': 'no-store' }
  return { status, headers, body: JSON.stringify(value) }
}

export function errorAnswer(face: Face, { code, message, status }: GcpError): Answer {
  return json(status, FACES[face](code, message, status))
}

type Words = (code: string, message: string, status: number) => unknown

const FACES: Readonly<Record<Face, Words>> = {
  sts: (error, error_description) => ({ error, error_description }),
  iam: (code, message, status) => ({ error: { code: status, message, status: code } }),
  storage: (code, message, status) => ({
    error: {
      code: status,
      message,
      errors: [{ message, domain: 'global', reason: REASONS[code] ?? 'invalid' }],
    },
  }),
}

const REASONS: Readonly<Record<string, string>> = {
  UNAUTHENTICATED: 'authError',
  PERMISSION_DENIED: 'forbidden',
  NOT_FOUND: 'notFound',
  ALREADY_EXISTS: 'conflict',
  RESOURCE_EXHAUSTED: 'rateLimitExceeded',
  INTERNAL: 'backendError',
  UNAVAILABLE: 'backendError',
}
