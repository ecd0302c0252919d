import type { Result } from '../refusal.ts'
import { accept, refuse } from '../refusal.ts'
import type { Session } from './session.ts'
import { isLive, moveTo } from './session.ts'

/**
 * A job's hold on a grant: all its sessions of that grant, one after another. It belongs to one key, and its length is
 * bounded once, by the first session; every later session carries `renewUntil` forward, so that the newest row
 * of a job and grant says all there is to know.
 */

/** What an allowed exchange asks of the hold. */
export interface Ask {
  /** Thumbprint of the key that was proved; null for a bearer token. */
  readonly jkt: string | null
  /** Milliseconds. */
  readonly now: number
  /** Seconds that the decision gives to the credentials: `Decision.ttl`. */
  readonly ttl: number
  /** Seconds that the job may renew: `Grant.session`. */
  readonly session: number
}

/** What the exchange may intend. Times in milliseconds. */
export interface Hold {
  /** The session that is renewed (it keeps its id); null: a new one. */
  readonly renews: Session | null
  /** When the credentials must end; never after `renewUntil`. */
  readonly expiresAt: number
  readonly renewUntil: number
}

/** Credentials for less than a minute (or than was asked for) help no job. */
const LEAST_SECONDS = 60

/**
 * May this key go on with the job's hold? `existing`: the newest session of this job and grant, whatever its state.
 *
 * - another key than the first, or none, or one where a bearer token was first → `session_bound`, whatever became of the
 *   session since: whoever asks again, after a failure too, shows the key he had
 * - no time left before `renewUntil` → `session_exhausted`. It counts from the job's first session of this grant, whatever became of
 *   it since, so that ending and opening sessions gains no time. With the default, `session` = `ttl`, a job that uses the action
 *   twice gets credentials that end when the first ones do, and nothing after that: a job that needs longer needs `session:`.
 *   A policy that has become shorter meanwhile counts at once; one that has become longer helps the next job.
 * - pending or active → that session is renewed, expired or not. Pending may mean that another exchange of the same
 *   key is still minting: the newer one takes the session over, and the older one's `settle` finds that and is withheld.
 * - ended, withheld, failed → a new session, inside the same bound
 */
export const renewal = (existing: Session | null, ask: Ask): Result<Hold> => {
  const first = existing === null
  if (!first && existing.jkt !== ask.jkt)
    return refuse('session_bound', { about: existing.grant, cause: `held by ${existing.id}` })
  const began = existing?.createdAt ?? ask.now
  const renewUntil = Math.min(existing?.renewUntil ?? Infinity, began + ask.session * 1000)
  if (!first && renewUntil - ask.now < Math.min(ask.ttl, LEAST_SECONDS) * 1000)
    return refuse('session_exhausted', { about: existing.grant, cause: `held by ${existing.id}` })
  const expiresAt = Math.min(ask.now + ask.ttl * 1000, renewUntil)
  const renews = !first && isLive(existing) ? existing : null
  return accept({ renews, expiresAt, renewUntil })
}

/** What the broker knows about a session that the hold does not. `id` and `tokenHash` are used by a new one only. */
export type Fresh = Omit<Session, 'state' | 'createdAt' | 'expiresAt' | 'renewUntil'> & {
  readonly now: number
}

/**
 * The row that step 8 intends. A renewed session keeps its id, beginning, key and, until the new credentials are handed
 * out, its token: so the job can still end it.
 */
export const pendingSession = (hold: Hold, fresh: Fresh): Session => {
  const { now, ...told } = fresh
  const { renews, expiresAt, renewUntil } = hold
  const base: Session =
    renews === null
      ? { ...told, state: 'pending', createdAt: now, expiresAt, renewUntil }
      : { ...moveTo(renews, 'pending'), expiresAt, renewUntil }
  const { decisionId, revision, scope } = told
  return { ...base, decisionId, revision, scope, subjects: withOwn(told.subjects, base.id) }
}

const withOwn = (subjects: readonly string[], id: string): readonly string[] => [
  ...new Set([...subjects, `session:${id}`]),
]

/** The row of step 10 when every target gave: `expiresAt` is the true end of the credentials. */
export const handedOut = (
  pending: Session,
  now: { readonly tokenHash: string; readonly expiresAt: number },
): Session => ({
  ...moveTo(pending, 'active'),
  tokenHash: now.tokenHash,
  expiresAt: now.expiresAt,
})

/**
 * The row of step 10 when a target refused. Credentials of an earlier exchange live on after a renewal that failed, so that
 * session is again what it was; a new session has failed.
 */
export const afterFailure = (renews: Session | null, pending: Session): Session => {
  if (renews?.state !== 'active') return moveTo(pending, 'failed')
  return { ...moveTo(pending, 'active'), expiresAt: renews.expiresAt }
}
