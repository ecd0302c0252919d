import type { Explain } from '../api.ts'
import { refusedBody } from '../audit/bodies.ts'
import { explainForCaller, explainForOperator } from '../policy/explain.ts'
import type { Decision, DecisionReason, Grant } from '../policy/grant.ts'
import { accept, refuse, type Refusal, type Result } from '../refusal.ts'
import { decided, type Attempt } from './attempt.ts'
import { stored, type BrokerParts, type Rejected } from './ports.ts'

/** The one enforcement point. Every grant asked for is allowed, or nothing is. */
export const allAllowed = (
  decisions: readonly Decision[],
): Result<readonly { grant: Grant; ttl: number }[]> => {
  const grants: { grant: Grant; ttl: number }[] = []
  for (const { verdict, grant, ttl, reason, name } of decisions) {
    if (verdict === 'allow' && grant !== null) grants.push({ grant, ttl })
    else return refuse(REFUSED[reason], { cause: `${name}: ${reason}` })
  }
  return accept(grants)
}

/** What a caller hears for each reason; the ones that could tell it of others' policies are all one. */
const REFUSED = {
  allowed: 'grant_refused',
  no_such_grant: 'grant_refused',
  issuer_mismatch: 'grant_refused',
  no_block_held: 'grant_refused',
  denied: 'grant_refused',
  guardrail: 'grant_refused',
  laws_closed: 'policy_unavailable',
  proof_required: 'proof_missing',
  ttl_too_long: 'ttl_refused',
} as const satisfies Record<DecisionReason, Refusal['code']>

/** Commits the refusal with what it used up, then says it; a caller is told nothing that is not recorded. */
export const refused = async (
  parts: BrokerParts,
  it: Attempt,
  refusal: Refusal,
  decisions: readonly Decision[],
): Promise<Rejected> => {
  if (refusal.code === 'store_unavailable') return { ...refusal, ...decided(it) }
  const { now, once, buckets } = it
  const body = refusedBody(it, refusal, decisions.map(explainForOperator))
  const recorded = await stored(parts.store.commit({ kind: 'refuse', now, once, buckets, body }))
  if (!recorded.ok) return { ...recorded, ...decided(it) }
  return { ...refusal, ...decided(it), ...explained(it, refusal, decisions) }
}

const explained = (
  it: Attempt,
  refusal: Refusal,
  decisions: readonly Decision[],
): { readonly explain?: Explain } => {
  if (refusal.code !== 'grant_refused') return {}
  const missed = decisions.filter(({ verdict }) => verdict !== 'allow')
  const grants = missed.map((decision) => explainForCaller(decision, it.principal))
  return { explain: { claims: it.principal.claims, grants } }
}
