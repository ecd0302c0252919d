import { endedBody } from '../audit/bodies.ts'
import { decide } from '../policy/decide.ts'
import { accept, refuse, type Result } from '../refusal.ts'
import { admit } from '../session/admit.ts'
import { isLive, moveTo, openSession, ownsToken, sealSession } from '../session/session.ts'
import { attempt, lookOf } from './attempt.ts'
import { hold, intend, orderOf } from './hold.ts'
import {
  stored,
  type Broker,
  type BrokerParts,
  type EndAsk,
  type ExchangeAsk,
  type Exchanged,
} from './ports.ts'
import { giveUp, handOut } from './settle.ts'
import { allAllowed, refused } from './verdict.ts'

export const makeBroker = (parts: BrokerParts): Broker => ({
  exchange: (ask) => exchange(parts, ask),
  end: (ask) => end(parts, ask),
})

/** The exchange; the numbers are the steps of the design, and their order is law. Step 1 is the listener's. */
const exchange = async (parts: BrokerParts, ask: ExchangeAsk): Promise<Exchanged> => {
  const now = parts.world.now()
  const verified = await parts.verify(ask.presented, now) // 2
  if (!verified.ok) return verified
  const attempted = attempt(parts, ask, verified.value, now) // 3
  if (!attempted.ok) return attempted
  const it = attempted.value
  const looked = await stored(parts.store.look(lookOf(it)))
  if (!looked.ok) return looked
  const admitted = admit(looked.value) // 4, 5, 6
  if (!admitted.ok) return refused(parts, it, admitted, [])
  const decisions = it.grants.map((grant) =>
    decide(it.set, it.principal, { grant, ttl: it.ttl }, now),
  ) // 7
  const allowed = allAllowed(decisions)
  if (!allowed.ok) return refused(parts, it, allowed, decisions)
  const held = hold(parts, it, looked.value, allowed.value)
  if (!held.ok) return refused(parts, it, held, decisions)
  const intended = await intend(parts, it, held.value, decisions) // 8
  if (!intended.ok) return refused(parts, it, intended, decisions)
  const minted = await parts.mintAll(held.value.map((each) => orderOf(it, each))) // 9
  return minted.ok
    ? handOut(parts, it, held.value, minted) // 10, 11
    : giveUp(parts, it, held.value, minted)
}

const end = async (parts: BrokerParts, { requestId, id, token }: EndAsk): Promise<Result<null>> => {
  const found = await stored(parts.store.session(id))
  if (!found.ok) return found
  const session = found.value === null ? null : openSession(found.value, parts.sessionKey)
  if (found.value !== null && session === null)
    return refuse('store_unavailable', { cause: `the row of session ${id} was altered` })
  if (session === null || !ownsToken(session, token.reveal()))
    return refuse('session_token_invalid')
  if (!isLive(session)) return accept(null)
  const row = sealSession(moveTo(session, 'ended'), parts.sessionKey)
  const body = endedBody(requestId, session)
  const now = parts.world.now()
  const ended = await stored(
    parts.store.commit({ kind: 'end', now, row, from: ['pending', 'active'], body }),
  )
  return ended.ok ? accept(null) : ended
}
