import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { canonicalJson } from '../audit/chain.ts'
import { Secret } from '../secret.ts'

/** One job's hold on one grant, from its first exchange to expiry, end or revocation. */

/**
 * pending: intended, not yet handed out. active: handed out. failed: a target refused. withheld: locked or ended
 * while it was being minted. ended: by its job. Expiry is no state: it follows from `expiresAt` and the time.
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
  /** Until when the job may renew, or open another session of this grant: see `renewal`. */
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

/**
 * pending → pending: the same key asks again before the answer to its first request came (its broker died, its
 * connection broke); the newer exchange takes the session over. active → pending: a renewal is being minted.
 */
export const TRANSITIONS = {
  pending: ['pending', 'active', 'failed', 'withheld', 'ended'],
  active: ['pending', 'ended'],
  failed: [],
  withheld: [],
  ended: [],
} as const satisfies Record<SessionState, readonly SessionState[]>

/** Throws on a transition that is not in the table: that is a fault of ours, never of a caller. */
export const moveTo = (session: Session, state: SessionState): Session => {
  const legal: readonly SessionState[] = TRANSITIONS[session.state]
  if (!legal.includes(state))
    throw new Error(`session ${session.id} cannot go from ${session.state} to ${state}`)
  return { ...session, state }
}

/** The states from which a session can still be ended or handed out. */
export const isLive = (session: Session): boolean =>
  session.state === 'pending' || session.state === 'active'

/** A record, so that a new field cannot be left out of the MAC. */
const FIELDS = {
  id: true,
  state: true,
  grant: true,
  issuer: true,
  job: true,
  jkt: true,
  tokenHash: true,
  scope: true,
  createdAt: true,
  expiresAt: true,
  renewUntil: true,
  decisionId: true,
  revision: true,
  subjects: true,
} as const satisfies Record<keyof Session, true>

/**
 * Adds the HMAC-SHA256 (base64url) over the canonical JSON of every field. `key`: 32 bytes or more, kept outside the
 * database. Whoever can write to the database cannot make or change a session; he can put an older row back, which the
 * audit chain shows.
 */
export const sealSession = (session: Session, key: Uint8Array): StoredSession => {
  const bare = fieldsOf(session)
  return { ...bare, mac: macOf(bare, key).toString('base64url') }
}

/**
 * The session, or null when the row is not what we sealed. null means that the database was altered, or that the key
 * is another one: a broken world (503), and never "no such session".
 */
export const openSession = (stored: StoredSession, key: Uint8Array): Session | null => {
  const bare = fieldsOf(stored)
  const shown = Buffer.from(stored.mac, 'base64url')
  const due = macOf(bare, key)
  return shown.length === due.length && timingSafeEqual(shown, due) ? bare : null
}

/** What a session's row is as one value: no member more, none less. */
const fieldsOf = (session: Session): Session => {
  const names = Object.keys(FIELDS) as (keyof Session)[]
  return Object.fromEntries(names.map((name) => [name, session[name]])) as unknown as Session
}

const macOf = (session: Session, key: Uint8Array): Buffer => {
  if (key.length < 32) throw new RangeError('the session key is shorter than 32 bytes')
  return createHmac('sha256', key)
    .update(`tvm session 1\n${canonicalJson({ ...session })}`)
    .digest()
}

const TOKEN = /^tvm_[A-Za-z0-9_-]{43}$/

/** `tvm_` + 256 random bits in base64url. */
export const makeSessionToken = (random: (bytes: number) => Uint8Array): Secret =>
  new Secret(`tvm_${Buffer.from(random(32)).toString('base64url')}`)

/** Has `text` the shape of a session token? Ask before anything else is done with it. */
export const isSessionToken = (text: string): boolean => TOKEN.test(text)

/** Base64url SHA-256; enough for a value of 256 random bits, which no one can guess from its digest. */
export const hashToken = (token: string): string =>
  createHash('sha256').update(token).digest('base64url')

/** Is `token` this session's? In constant time. */
export const ownsToken = (session: Session, token: string): boolean => {
  const shown = Buffer.from(hashToken(token))
  const due = Buffer.from(session.tokenHash)
  return shown.length === due.length && timingSafeEqual(shown, due)
}
