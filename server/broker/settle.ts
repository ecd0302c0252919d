import type { Receipt } from '../api.ts'
import { failedBody, outcomeBody, withheldBody } from '../audit/bodies.ts'
import type { AuditBody, AuditValue } from '../audit/record.ts'
import { accept, type Result } from '../refusal.ts'
import type { Secret } from '../secret.ts'
import { commitRefusal } from '../session/admit.ts'
import { afterFailure, handedOut } from '../session/hold.ts'
import {
  hashToken,
  makeSessionToken,
  moveTo,
  sealSession,
  type Session,
} from '../session/session.ts'
import type { Change, Committed } from '../session/store.ts'
import type { MintedAll, MintedGrant, MintOutcome } from '../targets/target.ts'
import { rfc3339 } from '../world.ts'
import { decided, type Attempt } from './attempt.ts'
import { told, type Held } from './hold.ts'
import { stored, type BrokerParts, type Exchanged } from './ports.ts'

type Minted = Extract<MintedAll, { ok: true }>
type Unminted = Extract<MintedAll, { ok: false }>

/** Step 10: locks again, then pending → active, with the outcome. Step 11: the reply. */
export const handOut = async (
  parts: BrokerParts,
  it: Attempt,
  held: readonly Held[],
  minted: Minted,
): Promise<Exchanged> => {
  const out = held.flatMap(({ pending }) => {
    const made = minted.grants.find(({ sessionId }) => sessionId === pending.id)
    if (made === undefined) return []
    const token = makeSessionToken(parts.world.random)
    const tokenHash = hashToken(token.reveal())
    return [
      { made, token, row: handedOut(pending, { tokenHash, expiresAt: made.expiresAt }), pending },
    ]
  })
  const body = outcomeBody(
    it,
    out.map(({ row }) => told(row)),
    minted.outcomes.map(outcomeOf),
  )
  const settled = await settle(parts, it, { rows: out, body, outcomes: minted.outcomes })
  if (!settled.ok) return { ...settled, ...decided(it) }
  const sessions = out.map(({ made, token }) => sessionReply(made, token))
  const { decisionId: decision_id, revision } = it
  return { ok: true, reply: { decision_id, revision, receipt: settled.value, sessions } }
}

const sessionReply = ({ sessionId, grant, expiresAt, replies }: MintedGrant, token: Secret) => ({
  id: sessionId,
  token,
  grant,
  expires_at: rfc3339(expiresAt),
  targets: replies,
})

/** Step 10 when a target refused: nothing is handed out, and each target's outcome is recorded. */
export const giveUp = async (
  parts: BrokerParts,
  it: Attempt,
  held: readonly Held[],
  { refusal, outcomes }: Unminted,
): Promise<Exchanged> => {
  const rows = held.map(({ before, pending }) => ({ row: afterFailure(before, pending), pending }))
  const body = failedBody(it, refusal, outcomes.map(outcomeOf))
  const settled = await settle(parts, it, { rows, body, outcomes })
  return { ...(settled.ok ? refusal : settled), ...decided(it) }
}

interface Settlement {
  readonly rows: readonly { readonly row: Session; readonly pending: Session }[]
  readonly body: AuditBody
  readonly outcomes: readonly MintOutcome[]
}

const settle = async (
  { store, sessionKey, world }: BrokerParts,
  it: Attempt,
  { rows, body, outcomes }: Settlement,
): Promise<Result<Receipt>> => {
  const sessions = rows.map(({ row, pending }) => ({
    row: sealSession(row, sessionKey),
    withheld: sealSession(moveTo(pending, 'withheld'), sessionKey),
  }))
  const withheld = withheldBody(it, outcomes.map(outcomeOf))
  const { subjects } = it
  const change: Change = {
    kind: 'settle',
    now: world.now(),
    subjects,
    sessions,
    body,
    withheldBody: withheld,
  }
  const committed = await stored<Committed>(store.commit(change))
  if (!committed.ok) return committed
  return committed.value.done ? accept(committed.value.receipt) : commitRefusal(committed.value)
}

const outcomeOf = ({ grant, sessionId, target, result }: MintOutcome): AuditValue => ({
  grant,
  session: sessionId,
  target,
  ...(result.ok
    ? { expires_at: result.expiresAt, revocable: result.revocable, facts: result.facts }
    : { code: result.code, about: result.about ?? null, cause: result.cause ?? null }),
})
