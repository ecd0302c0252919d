/** One job's hold on one grant, from its first exchange to expiry, end or revocation. */

/**
 * pending: intended, not yet handed out. active: handed out. failed: a target refused. withheld: locked or ended
 * while it was being minted. ended: by its job.
 */
export type SessionState = 'pending' | 'active' | 'failed' | 'withheld' | 'ended'

export interface Session {
  readonly id: string
  readonly state: SessionState
  readonly grant: string
  readonly issuer: string
  /** Job key, see Principal.job. */
  readonly job: string
  /** Thumbprint of the first key that was shown; null for a bearer session. */
  readonly jkt: string | null
  /** Base64url SHA-256 of the session token. */
  readonly tokenHash: string
  readonly scope: 'end' | 'vend'
  /** Milliseconds since the epoch, as all times here. */
  readonly createdAt: number
  /** When the credentials of the newest exchange end. */
  readonly expiresAt: number
  /** Until when the job may renew. */
  readonly renewUntil: number
  readonly decisionId: string
  readonly revision: string
  /** What a lock may name about this session: see `lockSubjects`. */
  readonly subjects: readonly string[]
}

/** A session as stored: with the MAC over all of it, whose key is not in the database. */
export interface StoredSession extends Session {
  readonly mac: string
}
