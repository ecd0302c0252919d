import type { Code, Explain, Problem } from '../api.ts'
import type { Refusal } from '../refusal.ts'
import { ERRORS } from './errors.ts'

/** Seconds after which asking again makes sense; sent as Retry-After (RFC 9110 section 10.2.3). */
const RETRY_AFTER: Partial<Record<Code, number>> = {
  rate_limited: 30,
  issuer_keys_unavailable: 5,
  policy_unavailable: 10,
  store_unavailable: 5,
  signer_unavailable: 5,
  target_unavailable: 5,
}

const DOCS = 'https://github.com/org/tvm-action#'

const filled = (detail: string, about: string | undefined): string =>
  detail.replace(/\{about\|([^}]*)\}/, (_, otherwise: string) => about ?? otherwise)

const titleOf = (code: Code): string =>
  code.charAt(0).toUpperCase() + code.slice(1).replaceAll('_', ' ')

export interface ProblemMore {
  readonly requestId: string
  readonly decisionId?: string | undefined
  readonly revision?: string | undefined
  readonly explain?: Explain | undefined
}

export const problemBody = (refusal: Refusal, more: ProblemMore): Problem => {
  const row = ERRORS[refusal.code]
  return {
    type: DOCS + refusal.code,
    title: titleOf(refusal.code),
    status: row.status,
    code: refusal.code,
    detail: filled(row.detail, refusal.about),
    hint: row.hint,
    request_id: more.requestId,
    ...(more.decisionId === undefined ? {} : { decision_id: more.decisionId }),
    ...(more.revision === undefined ? {} : { revision: more.revision }),
    ...(more.explain === undefined ? {} : { explain: more.explain }),
  }
}

/** RFC 9449 section 7.1 and RFC 9110 section 11.6.1: a 401 says which scheme would do. */
const challenge = (code: Code): string =>
  code === 'authorization_missing'
    ? 'DPoP algs="ES256"'
    : `DPoP error="${code.startsWith('proof_') ? 'invalid_dpop_proof' : 'invalid_token'}", algs="ES256"`

/** The refusal as an HTTP answer: problem+json (RFC 9457), never cached. */
export const problem = (refusal: Refusal, more: ProblemMore): Response => {
  const body = problemBody(refusal, more)
  const headers = new Headers({
    'Content-Type': 'application/problem+json',
    'Cache-Control': 'no-store',
    'X-Request-Id': more.requestId,
  })
  const wait = RETRY_AFTER[refusal.code]
  if (wait !== undefined) headers.set('Retry-After', String(wait))
  if (body.status === 401) headers.set('WWW-Authenticate', challenge(refusal.code))
  return new Response(JSON.stringify(body), { status: body.status, headers })
}
