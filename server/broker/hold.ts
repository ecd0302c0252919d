import { intentBody } from '../audit/bodies.ts'
import type { AuditValue } from '../audit/record.ts'
import { makeId } from '../id.ts'
import { explainForOperator } from '../policy/explain.ts'
import type { Decision, Grant } from '../policy/grant.ts'
import { accept, refuse, type Result } from '../refusal.ts'
import { commitRefusal } from '../session/admit.ts'
import { pendingSession, renewal, type Fresh } from '../session/hold.ts'
import {
  hashToken,
  makeSessionToken,
  openSession,
  sealSession,
  type Session,
} from '../session/session.ts'
import type { Looked } from '../session/store.ts'
import type { MintOrder } from '../targets/target.ts'
import type { Attempt } from './attempt.ts'
import { stored, type BrokerParts } from './ports.ts'

/** One grant on its way to the job. `before`: the newest session of this job and grant. */
export interface Held {
  readonly grant: Grant
  readonly before: Session | null
  readonly expect: string | null
  readonly pending: Session
}

/** Each grant's session: renewed, or new; bound to the job's first key and the policy's length. */
export const hold = (
  parts: BrokerParts,
  it: Attempt,
  looked: Looked,
  allowed: readonly { grant: Grant; ttl: number }[],
): Result<readonly Held[]> => {
  const held: Held[] = []
  for (const { grant, ttl } of allowed) {
    const row = looked.sessions.find((session) => session.grant === grant.name) ?? null
    const before = row === null ? null : openSession(row, parts.sessionKey)
    if (row !== null && before === null)
      return refuse('store_unavailable', { cause: `the row of session ${row.id} was altered` })
    const { jkt } = it.principal
    const kept = renewal(before, { jkt, now: it.now, ttl, session: grant.session })
    if (!kept.ok) return kept
    const pending = pendingSession(kept.value, freshSession(parts, it, grant))
    held.push({ grant, before, expect: row?.mac ?? null, pending })
  }
  return accept(held)
}

const freshSession = ({ world }: BrokerParts, it: Attempt, grant: Grant): Fresh => ({
  id: makeId('ses', it.now, world.random(10)),
  grant: grant.name,
  issuer: it.principal.issuer,
  job: it.principal.job,
  jkt: it.principal.jkt,
  // Nobody knows the token of this hash: a session cannot be used before it is handed out.
  tokenHash: hashToken(makeSessionToken(world.random).reveal()),
  scope: 'end',
  now: it.now,
  decisionId: it.decisionId,
  revision: it.revision,
  subjects: it.subjects,
})

/** Step 8: one durable commit of what is about to happen. A clash there is a replay. */
export const intend = async (
  { store, sessionKey }: BrokerParts,
  it: Attempt,
  held: readonly Held[],
  decisions: readonly Decision[],
): Promise<Result<null>> => {
  const { now, once, buckets } = it
  const sessions = held.map(({ pending, expect }) => ({
    row: sealSession(pending, sessionKey),
    expect,
  }))
  const body = intentBody(
    it,
    held.map(({ pending }) => told(pending)),
    decisions.map(explainForOperator),
  )
  const committed = await stored(
    store.commit({ kind: 'intend', now, once, buckets, sessions, body }),
  )
  if (!committed.ok) return committed
  return committed.value.done ? accept(null) : commitRefusal(committed.value)
}

export const told = (session: Session): AuditValue => ({
  session: session.id,
  grant: session.grant,
  expires_at: session.expiresAt,
  renew_until: session.renewUntil,
})

export const orderOf = (it: Attempt, { grant, pending }: Held): Omit<MintOrder, 'signal'> => ({
  grant,
  principal: it.principal,
  sessionId: pending.id,
  decisionId: it.decisionId,
  revision: it.revision,
  ttl: Math.floor((pending.expiresAt - it.now) / 1000),
  now: it.now,
  expiresAt: pending.expiresAt,
  address: it.address === '' ? null : it.address,
})
