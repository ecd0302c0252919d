import type { AuditRecord } from '../audit/record.ts'
import type { Lock, SessionStore } from '../session/store.ts'
import type { StoredSession } from '../session/session.ts'

/** What a process that only looks (an operator's command) asks of a store. */
export interface ReadStore {
  session(id: string): Promise<StoredSession | null>
  /** Audit records from position `from` on, in order: `limit` at most, and never more than 1,000. */
  records(from: number, limit: number): Promise<readonly AuditRecord[]>
  /** Every lock that was not removed, those that ran out as well. */
  locks(): Promise<readonly Lock[]>
  close(): Promise<void>
}

/** What an operator's command that acts asks of a store: it commits locks beside the broker that serves. */
export interface Desk extends ReadStore, Pick<SessionStore, 'commit'> {}

/** What a broker's process asks of a store. Every rejection is a StoreError. */
export interface Store extends SessionStore, ReadStore {
  session(id: string): Promise<StoredSession | null>
  /** Never rejects. */
  health(): Promise<Health>
  /** Answers what it was asked before, and lets go of the database. */
  close(): Promise<void>
}

export type Health =
  | {
      readonly ok: true
      /** Position of the newest audit record; 0 when there is none. */
      readonly position: number
      /** Bytes in use. */
      readonly bytes: number
      /** Refusals counted and not recorded since the store went past its high-water mark. */
      readonly summarised: number
    }
  | { readonly ok: false; readonly because: string }

/** A broken store. Its message is for the operator. */
export class StoreError extends Error {
  override readonly name = 'StoreError'
}
