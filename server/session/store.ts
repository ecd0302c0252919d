import type { AuditBody } from '../audit/record.ts'
import type { Receipt } from '../api.ts'
import type { SessionState, StoredSession } from './session.ts'

/** An operator's stop; it holds while `now < expiresAt`. `subject` is one of the strings that `lockSubjects` makes, e.g. `repository:github:99120`. */
export interface Lock {
  readonly id: string
  readonly subject: string
  readonly reason: string
  readonly createdAt: number
  /** null: until it is removed. */
  readonly expiresAt: number | null
}

/** A fixed-window counter: at most `limit` commits carry `key` between `start` and `start + length` (ms). */
export interface Bucket {
  readonly key: string
  readonly limit: number
  readonly start: number
  readonly length: number
}

/** A one-time value, e.g. the `jti` of a token or a proof, remembered until `until` (ms). */
export interface OneTime {
  readonly key: string
  readonly until: number
}

/** What steps 4 to 6 of the exchange need, read in one snapshot. It reads the store itself, never a copy of it. */
export interface Look {
  readonly now: number
  readonly subjects: readonly string[]
  readonly buckets: readonly Bucket[]
  readonly once: readonly OneTime[]
  /** Sessions of this job on these grants, whatever their state. */
  readonly job: string
  readonly grants: readonly string[]
}

export interface Looked {
  /** Those that hold on one of the subjects, or on `session:<id>` of a session below. */
  readonly locks: readonly Lock[]
  /** Keys of the buckets that are full. */
  readonly full: readonly string[]
  /** Keys of the one-time values already used, expired or not. */
  readonly used: readonly string[]
  /** The newest session of this job per asked grant: the one that `renewal` judges. */
  readonly sessions: readonly StoredSession[]
}

/** One durable commit. Every kind appends its audit body to the chain in the same transaction. */
export type Change =
  /**
   * A refusal: claims the one-time values (already used ones are no error here) and counts the buckets, full ones too. Past
   * the store's high-water mark its body is counted instead of recorded, and the answer is marked `summarised`.
   */
  | {
      readonly kind: 'refuse'
      readonly now: number
      readonly once: readonly OneTime[]
      readonly buckets: readonly Bucket[]
      readonly body: AuditBody
    }
  /**
   * Step 8. Fails whole, and writes nothing, with `replayed` if a one-time value is used, `limited` if a bucket is
   * full, `raced` if the sessions are not as they were looked at. `expect` is the mac of the newest session of the
   * row's job and grant, be it renewed (same id) or followed by a new one; null when there was none.
   */
  | {
      readonly kind: 'intend'
      readonly now: number
      readonly once: readonly OneTime[]
      readonly buckets: readonly Bucket[]
      readonly sessions: readonly { readonly row: StoredSession; readonly expect: string | null }[]
      readonly body: AuditBody
    }
  /**
   * Step 10. Locks are read again (on `subjects`, and on `session:<id>` of every row); every session goes from pending to
   * `row.state` by compare-and-set. If a lock holds or a row is no longer pending, the rows still pending become their
   * `withheld` form and `withheldBody` is recorded. Pending means: pending by the same `decisionId`; a newer exchange of the
   * same key may have taken the session over.
   */
  | {
      readonly kind: 'settle'
      readonly now: number
      readonly subjects: readonly string[]
      readonly sessions: readonly {
        readonly row: StoredSession
        readonly withheld: StoredSession
      }[]
      readonly body: AuditBody
      readonly withheldBody: AuditBody
    }
  /**
   * Ends a session that is in one of the states `from` and still of the row's decision; `unchanged` when it is not (nothing is
   * recorded): it is over already, or another exchange has renewed or handed it out since it was read.
   */
  | {
      readonly kind: 'end'
      readonly now: number
      readonly row: StoredSession
      readonly from: readonly SessionState[]
      readonly body: AuditBody
    }
  /** Adds or removes locks. */
  | {
      readonly kind: 'lock'
      readonly now: number
      readonly add: readonly Lock[]
      readonly remove: readonly string[]
      readonly body: AuditBody
    }
  /** A record of its own: start, stop, summaries of what was refused from memory. */
  | { readonly kind: 'note'; readonly now: number; readonly body: AuditBody }

export type Committed =
  | {
      readonly done: true
      /** Of the record it left; of the chain's newest record when it was summarised. */
      readonly receipt: Receipt
      /** A refusal that was counted and not recorded. */
      readonly summarised?: true
    }
  | {
      readonly done: false
      readonly because: 'replayed' | 'limited' | 'raced' | 'withheld' | 'unchanged'
      /** The audit record, where one was written (`withheld`). */
      readonly receipt?: Receipt
      /** For the log: the one-time values, buckets, session ids or lock subjects that it was about. */
      readonly keys?: readonly string[]
    }

/**
 * What the exchange needs of a store. A rejected promise is a broken store: 503, nothing minted. It says nothing about whether
 * a commit was written: one that was shows later as an intent without an answer.
 */
export interface SessionStore {
  look(look: Look): Promise<Looked>
  commit(change: Change): Promise<Committed>
  /** The session whose id this is, whatever its state; null when there is none. */
  session(id: string): Promise<StoredSession | null>
}
