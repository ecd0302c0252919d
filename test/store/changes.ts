import type { AuditBody } from '../../server/audit/record.ts'
import { sealSession, type Session, type StoredSession } from '../../server/session/session.ts'
import type { Bucket, Change, Committed, Look, OneTime } from '../../server/session/store.ts'
import { KEY, MINUTE, NOW, session } from '../session/rows.ts'

/** Changes as the broker makes them, short enough to see in a test what is different. */

export type Of<Kind extends Change['kind']> = Omit<
  Extract<Change, { readonly kind: Kind }>,
  'kind' | 'body'
> & { readonly body?: AuditBody }

export const row = (changes: Partial<Session> = {}): StoredSession =>
  sealSession(session(changes), KEY)

export const once = (...keys: readonly string[]): readonly OneTime[] =>
  keys.map((key) => ({ key, until: NOW + 11 * MINUTE }))

export const bucket = (key: string, limit: number): Bucket => ({
  key,
  limit,
  start: NOW,
  length: MINUTE,
})

export const look = (changes: Partial<Look> = {}): Look => ({
  now: NOW,
  subjects: [],
  buckets: [],
  once: [],
  job: session().job,
  grants: [session().grant],
  ...changes,
})

export const refuse = (changes: Partial<Of<'refuse'>> = {}): Change => ({
  kind: 'refuse',
  now: NOW,
  once: [],
  buckets: [],
  body: { event: 'exchange.refused' },
  ...changes,
})

/** One new session, or one that `expect`s what it follows. */
export const intend = (
  one: StoredSession,
  changes: Partial<Of<'intend'>> & { readonly expect?: string | null } = {},
): Change => {
  const { expect = null, ...more } = changes
  return {
    kind: 'intend',
    now: NOW,
    once: [],
    buckets: [],
    sessions: [{ row: one, expect }],
    body: { event: 'exchange.intent', decision_id: one.decisionId },
    ...more,
  }
}

/** From the pending `one` to `state`. */
export const settle = (
  one: Session,
  state: 'active' | 'failed' = 'active',
  changes: Partial<Of<'settle'>> = {},
): Change => ({
  kind: 'settle',
  now: NOW,
  subjects: one.subjects,
  sessions: [{ row: row({ ...one, state }), withheld: row({ ...one, state: 'withheld' }) }],
  body: { event: 'exchange.outcome', decision_id: one.decisionId },
  withheldBody: { event: 'exchange.withheld', decision_id: one.decisionId },
  ...changes,
})

export const end = (one: Session, changes: Partial<Of<'end'>> = {}): Change => ({
  kind: 'end',
  now: NOW,
  row: row({ ...one, state: 'ended' }),
  from: ['pending', 'active'],
  body: { event: 'session.ended' },
  ...changes,
})

export const lock = (subject: string, expiresAt: number | null = null, id = 'lck_1'): Change => ({
  kind: 'lock',
  now: NOW,
  add: [{ id, subject, reason: 'because', createdAt: NOW, expiresAt }],
  remove: [],
  body: { event: 'lock.added', subject },
})

export const unlock = (id = 'lck_1'): Change => ({
  kind: 'lock',
  now: NOW,
  add: [],
  remove: [id],
  body: { event: 'lock.removed', lock: id },
})

export const note = (n: number): Change => ({
  kind: 'note',
  now: NOW + n,
  body: { event: 'broker.stopped', revision: String(n) },
})

export const because = (committed: Committed): string =>
  committed.done ? 'done' : committed.because
