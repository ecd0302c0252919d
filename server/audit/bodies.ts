import type { Principal } from '../identity/principal.ts'
import type { Refusal } from '../refusal.ts'
import type { AuditBody, AuditValue } from './record.ts'

/** What every record of one exchange says: who asked, from where, under which policies. */
export interface ExchangeFacts {
  readonly decisionId: string
  readonly requestId: string
  readonly revision: string
  readonly address: string
  readonly principal: Principal
  readonly grants: readonly string[]
}

/** Enough to replay the decision: the claims and the revision; of the token only its hash. */
const exchange = (facts: ExchangeFacts): Omit<AuditBody, 'event'> => {
  const { principal } = facts
  return {
    decision_id: facts.decisionId,
    request_id: facts.requestId,
    revision: facts.revision,
    address: facts.address,
    issuer: principal.issuer,
    kid: principal.kid,
    token_hash: principal.tokenHash,
    jkt: principal.jkt,
    job: principal.job,
    claims: { ...principal.claims },
    grants: [...facts.grants],
  }
}

const why = ({ code, about, cause }: Refusal): Readonly<Record<string, AuditValue>> => ({
  code,
  ...(about === undefined ? {} : { about }),
  ...(cause === undefined ? {} : { cause }),
})

export const refusedBody = (
  facts: ExchangeFacts,
  refusal: Refusal,
  decisions: readonly AuditValue[],
): AuditBody => ({ event: 'exchange.refused', ...exchange(facts), ...why(refusal), decisions })

export const listedBody = (facts: ExchangeFacts): AuditBody => ({
  event: 'grants.listed',
  ...exchange(facts),
})

export const intentBody = (
  facts: ExchangeFacts,
  sessions: readonly AuditValue[],
  decisions: readonly AuditValue[],
): AuditBody => ({ event: 'exchange.intent', ...exchange(facts), sessions, decisions })

/** What came of an intent; `targets` tells each target's own outcome. */
export const outcomeBody = (
  { decisionId, requestId }: ExchangeFacts,
  sessions: readonly AuditValue[],
  targets: readonly AuditValue[],
): AuditBody => ({
  event: 'exchange.outcome',
  decision_id: decisionId,
  request_id: requestId,
  sessions,
  targets,
})

export const failedBody = (
  { decisionId, requestId }: ExchangeFacts,
  refusal: Refusal,
  targets: readonly AuditValue[],
): AuditBody => ({
  event: 'exchange.failed',
  decision_id: decisionId,
  request_id: requestId,
  ...why(refusal),
  targets,
})

export const withheldBody = (
  { decisionId, requestId }: ExchangeFacts,
  targets: readonly AuditValue[],
): AuditBody => ({
  event: 'exchange.withheld',
  decision_id: decisionId,
  request_id: requestId,
  targets,
})

export const endedBody = (
  requestId: string,
  session: { readonly id: string; readonly grant: string; readonly job: string },
): AuditBody => ({
  event: 'session.ended',
  request_id: requestId,
  session: session.id,
  grant: session.grant,
  job: session.job,
  by: 'job',
})
