import type { Dialect } from './dialects.ts'

/** The verified payload of a CI token: own-property strings on a null prototype, frozen. */
export type Claims = Readonly<Record<string, string>>

/** Claims plus what follows from them. Only `verify` makes one. */
export interface Principal {
  /** Alias of the configured issuer, e.g. `github`; ids mean nothing outside it. */
  readonly issuer: string
  readonly dialect: Dialect
  readonly claims: Claims
  readonly repositoryId: string
  readonly ownerId: string
  /** One job: `<alias>/<repository_id>/<run_id>/<run_attempt>/<check_run_id | jkt:thumbprint>`. */
  readonly job: string
  /** RFC 7638 SHA-256 thumbprint of the key that the caller proved to hold; null for a bearer token. */
  readonly jkt: string | null
  readonly jti: string
  /** `jti` of the DPoP proof; null for a bearer token. */
  readonly proofJti: string | null
  /** `kid` that signed the token, so that one key of an issuer can be locked. */
  readonly kid: string
  /** Base64url SHA-256 of the token; what the audit keeps instead of it. */
  readonly tokenHash: string
  /**
   * Milliseconds, tolerance included: from then on the token is refused for its age, and the proof with it, whose `ath` ties
   * it to this token. Both `jti` must be remembered until then.
   */
  readonly replayableUntil: number
}
