import { endedBody } from '../audit/bodies.ts'
import { decide } from '../policy/decide.ts'
import { accept, refuse, type Result } from '../refusal.ts'
import { admit, admitGrants } from '../session/admit.ts'
import {
  isLive,
  moveTo,
  openSession,
  ownsToken,
  sealSession,
  type Session,
} from '../session/session.ts'
import type { Change } from '../session/store.ts'
import { attempt, lookOf, uncounted } from './attempt.ts'
import { hold, intend, orderOf } from './hold.ts'
import { list } from './list.ts'
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
  list: (ask) => list(parts, ask),
  end: (ask) => end(parts, ask),
})

/** The exchange; the numbers are the steps of the design, and their order is law. Step 1 is the listener's. */
const exchange = async (parts: BrokerParts, ask: ExchangeAsk): Promise<Exchanged> => {
  const now = parts.world.now()
  const verified = await parts.verify(ask.presented, 'POST /v1/sessions', now) // 2
  if (!verified.ok) return verified
  const attempted = attempt(parts, ask, verified.value, now) // 3
  if (!attempted.ok) return attempted
  const it = attempted.value
  const looked = await stored(parts.store.look(lookOf(it)))
  if (!looked.ok) return looked
  const admitted = admit(looked.value) // 4, 5, 6
  if (!admitted.ok) return refused(parts, uncounted(it, looked.value), admitted, [])
  const decisions = it.grants.map((grant) =>
    decide(it.set, it.principal, { grant, ttl: it.ttl }, now),
  ) // 7
  const allowed = allAllowed(decisions)
  if (!allowed.ok) return refused(parts, it, allowed, decisions)
  const unlocked = admitGrants(looked.value) // 4, of the grants
  if (!unlocked.ok) return refused(parts, it, unlocked, decisions)
  const held = hold(parts, it, looked.value, allowed.value)
  if (!held.ok) return refused(parts, it, held, decisions)
  const intended = await intend(parts, it, held.value, decisions) // 8
  if (!intended.ok) return refused(parts, it, intended, decisions)
  const minted = await parts.mintAll(held.value.map((each) => orderOf(it, each))) // 9
  return minted.ok
    ? handOut(parts, it, held.value, minted) // 10, 11
    : giveUp(parts, it, held.value, minted)
}

/** A session that is renewed or handed out while it is being ended is read again, and ended as it is then. */
const ENDING_TRIES = 3

const end = async (
  parts: BrokerParts,
  ask: EndAsk,
  tries = ENDING_TRIES,
): Promise<Result<null>> => {
  const found = await stored(parts.store.session(ask.id))
  if (!found.ok) return found
  const session = found.value === null ? null : openSession(found.value, parts.sessionKey)
  if (found.value !== null && session === null)
    return refuse('store_unavailable', { cause: `the row of session ${ask.id} was altered` })
  if (session === null || !ownsToken(session, ask.token.reveal()))
    return refuse('session_token_invalid')
  if (!isLive(session)) return accept(null)
  const ended = await stored(parts.store.commit(ending(parts, ask, session)))
  if (!ended.ok) return ended
  if (ended.value.done) return accept(null)
  return tries > 1
    ? end(parts, ask, tries - 1)
    : refuse('store_unavailable', { cause: `session ${ask.id} did not keep still to be ended` })
}

const ending = (
  { sessionKey, world }: BrokerParts,
  { requestId }: EndAsk,
  session: Session,
): Change => ({
  kind: 'end',
  now: world.now(),
  row: sealSession(moveTo(session, 'ended'), sessionKey),
  from: [session.state],
  body: endedBody(requestId, session),
})
