import type { ExchangeFacts } from '../audit/bodies.ts'
import { makeId } from '../id.ts'
import type { Principal } from '../identity/principal.ts'
import type { PolicySet } from '../policy/grant.ts'
import { isConfirmed } from '../policy/source.ts'
import { accept, refuse, type Result } from '../refusal.ts'
import * as admission from '../session/admit.ts'
import type { Bucket, Look, Looked, OneTime } from '../session/store.ts'
import type { BrokerParts, ExchangeAsk } from './ports.ts'

/** An exchange past its third step: known, and from here on recorded. */
export interface Attempt extends ExchangeFacts {
  readonly now: number
  readonly set: PolicySet
  readonly ttl: number | null
  readonly subjects: readonly string[]
  readonly once: readonly OneTime[]
  readonly buckets: readonly Bucket[]
}

/** Step 3, on policies that are fresh enough to decide with. */
export const attempt = (
  { world, policies, maxPolicyAge, strangers, limits }: BrokerParts,
  ask: ExchangeAsk,
  principal: Principal,
  now: number,
): Result<Attempt> => {
  const current = policies.current()
  if (current === null) return refuse('policy_unavailable', { cause: 'no policies are loaded' })
  if (!isConfirmed(current.seenAt, now, maxPolicyAge))
    return refuse('policy_unavailable', { cause: 'the policies were not confirmed for too long' })
  const known = admission.admitOwner(current.set.owners, principal)
  if (!known.ok) {
    strangers.countOwner(principal.issuer, principal.ownerId, now)
    return known
  }
  return accept({
    requestId: ask.requestId,
    decisionId: makeId('dec', now, world.random(10)),
    revision: current.set.revision,
    address: ask.address,
    principal,
    grants: ask.grants,
    now,
    set: current.set,
    ttl: ask.ttl,
    subjects: admission.lockSubjects(principal, ask.grants),
    once: admission.onceValues(principal),
    buckets: admission.buckets(principal, limits, now),
  })
}

export const lookOf = ({ now, subjects, buckets, once, principal, grants }: Attempt): Look => ({
  now,
  subjects,
  buckets,
  once,
  job: principal.job,
  grants,
})

/**
 * Where one limit is full already, a refusal counts in none: else a job far past its own limit, or locked, would use up those of
 * its owner and its issuer, and so stop everybody else's jobs.
 */
export const uncounted = (it: Attempt, { full }: Looked): Attempt =>
  full.length === 0 ? it : { ...it, buckets: [] }

/** What every answer past step 3 names: the decision, and the policies that it was made on. */
export const decided = ({ decisionId, revision }: Attempt) => ({ decisionId, revision })
