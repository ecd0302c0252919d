import type { GrantReply, TargetName } from '../api.ts'
import { listedBody } from '../audit/bodies.ts'
import { decide } from '../policy/decide.ts'
import type { Grant } from '../policy/grant.ts'
import { admit, commitRefusal } from '../session/admit.ts'
import type { Change } from '../session/store.ts'
import { attempt, decided, lookOf, uncounted, type Attempt } from './attempt.ts'
import { stored, type BrokerParts, type ListAsk, type Listed } from './ports.ts'
import { refused } from './verdict.ts'

/**
 * What this job could ask for: the exchange's own steps up to its decision, for every grant, and one commit, since the
 * answer is worth something to whoever found a token. Only grants that would be allowed are named.
 */
export const list = async (parts: BrokerParts, ask: ListAsk): Promise<Listed> => {
  const now = parts.world.now()
  const verified = await parts.verify(ask.presented, 'GET /v1/grants', now)
  if (!verified.ok) return verified
  const attempted = attempt(parts, { ...ask, grants: [], ttl: null }, verified.value, now)
  if (!attempted.ok) return attempted
  const it = attempted.value
  const looked = await stored(parts.store.look(lookOf(it)))
  if (!looked.ok) return looked
  const admitted = admit(looked.value)
  if (!admitted.ok) return refused(parts, uncounted(it, looked.value), admitted, [])
  return told(parts, it, allowedGrants(it))
}

const allowedGrants = ({ set, principal, now }: Attempt): readonly Grant[] =>
  [...set.grants.values()].filter(
    ({ name }) => decide(set, principal, { grant: name, ttl: null }, now).verdict === 'allow',
  )

const told = async (parts: BrokerParts, it: Attempt, grants: readonly Grant[]): Promise<Listed> => {
  const { now, once, buckets, decisionId: decision_id, revision } = it
  const body = listedBody({ ...it, grants: grants.map(({ name }) => name) })
  // An intent of no session: of two requests with one token at once, one is answered.
  const change: Change = { kind: 'intend', now, once, buckets, sessions: [], body }
  const recorded = await stored(parts.store.commit(change))
  if (!recorded.ok) return { ...recorded, ...decided(it) }
  if (!recorded.value.done) return refused(parts, it, commitRefusal(recorded.value), [])
  const { receipt } = recorded.value
  return { ok: true, reply: { decision_id, revision, receipt, grants: grants.map(grantReply) } }
}

const grantReply = ({ name, description, ttl, session, targets }: Grant): GrantReply => ({
  name,
  description,
  ttl,
  session,
  targets: Object.keys(targets) as TargetName[],
})
