import type { Principal } from '../identity/principal.ts'
import type { BlockTrace, Decision, DecisionReason, Grant, PolicySet } from './grant.ts'
import { forbids } from './forbid.ts'
import { traceAllow, traceLaw } from './hold.ts'

export interface Ask {
  readonly grant: string
  /** Seconds; null asks for the grant's own ttl. */
  readonly ttl: number | null
}

/** The verdict on one grant. Its cost does not grow with the number of grants loaded. */
export const decide = (set: PolicySet, principal: Principal, ask: Ask, now: number): Decision => {
  const nothing = unexamined(set, ask, now)
  if (set.closed !== null) return { ...nothing, reason: 'laws_closed' }
  const grant = set.grants.get(ask.grant) ?? null
  if (grant === null) return nothing
  if (grant.issuer !== principal.issuer) return { ...nothing, grant, reason: 'issuer_mismatch' }
  const found = examine(set, grant, principal)
  const reason = judge(found, grant, principal, ask.ttl)
  if (reason !== 'allowed') return { ...nothing, ...found, grant, reason }
  return { ...nothing, ...found, grant, reason, verdict: 'allow', ttl: ask.ttl ?? grant.ttl }
}

const unexamined = (set: PolicySet, ask: Ask, now: number): Decision => ({
  verdict: 'deny',
  reason: 'no_such_grant',
  missing: [],
  name: ask.grant,
  grant: null,
  blocks: [],
  denies: [],
  guardrails: [],
  ttl: 0,
  revision: set.revision,
  at: now,
})

type Found = Pick<Decision, 'blocks' | 'denies' | 'guardrails'>

const examine = (set: PolicySet, grant: Grant, principal: Principal): Found => ({
  blocks: grant.allow.map((block) => traceAllow(block, principal)).sort(byMisses),
  denies: grant.deny.map((block) => traceLaw(block, principal)).filter(({ held }) => held),
  guardrails: set.guardrails
    .filter((guardrail) => forbids(guardrail, grant, principal))
    .map(({ id }) => id),
})

const byMisses = (a: BlockTrace, b: BlockTrace): number => misses(a) - misses(b)

const misses = ({ lines }: BlockTrace): number => lines.filter(({ held }) => !held).length

/**
 * The order is a promise to the caller's neighbours: whoever no block admits hears `no_block_held`, whatever else is
 * wrong with what it asked, and so learns nothing about the grant.
 */
const judge = (
  { blocks, denies, guardrails }: Found,
  grant: Grant,
  principal: Principal,
  ttl: number | null,
): DecisionReason => {
  if (!blocks.some(({ held }) => held)) return 'no_block_held'
  if (denies.length > 0) return 'denied'
  if (guardrails.length > 0) return 'guardrail'
  if (principal.jkt === null && !grant.bearer) return 'proof_required'
  return isWithin(ttl, grant.ttl) ? 'allowed' : 'ttl_too_long'
}

const isWithin = (ttl: number | null, cap: number): boolean =>
  ttl === null || (Number.isSafeInteger(ttl) && ttl >= 1 && ttl <= cap)
