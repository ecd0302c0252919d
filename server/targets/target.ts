import type {
  AwsReply,
  AzureReply,
  AzureToken,
  GcpReply,
  Revocable,
  TargetName,
  TokenReply,
} from '../api.ts'
import type { AuditValue } from '../audit/record.ts'
import type { Principal } from '../identity/principal.ts'
import type { Grant } from '../policy/grant.ts'
import type { Refusal } from '../refusal.ts'
import type { Secret } from '../secret.ts'

/** A section of the reply as a target makes it: what is secret stands in a Secret until the edge reveals it. */
export type Sealed<Reply, Keys extends keyof Reply> = Omit<Reply, Keys> &
  Readonly<Record<Keys, Secret>>

export type SealedAws = Sealed<AwsReply, 'secret_access_key' | 'session_token'>
export type SealedAzure = Omit<AzureReply, 'tokens'> & {
  readonly tokens: readonly Sealed<AzureToken, 'access_token'>[]
}
export type SealedGcp = Sealed<GcpReply, 'access_token'>
export type SealedToken = Sealed<TokenReply, 'token'>

/** `TargetReplies` of the wire before `revealedJson`. */
export interface SealedReplies {
  readonly aws?: SealedAws
  readonly azure?: SealedAzure
  readonly gcp?: SealedGcp
  readonly token?: SealedToken
}

/** One order for one target of one grant, in one session. */
export interface MintOrder {
  readonly grant: Grant
  readonly principal: Principal
  readonly sessionId: string
  readonly decisionId: string
  readonly revision: string
  /** Seconds the credentials may work. */
  readonly ttl: number
  /** Milliseconds: now, and when the credentials must have stopped working. */
  readonly now: number
  readonly expiresAt: number
  /** The caller's address, or null where it is not known or cannot be pinned. */
  readonly address: string | null
  /** Aborts when the time for all targets is over. */
  readonly signal: AbortSignal
}

/** What a target made. `reply` holds the secrets, each in a Secret; `facts` goes to the audit and holds none. */
export interface Minted<Reply> {
  readonly ok: true
  readonly reply: Reply
  readonly facts: Readonly<Record<string, AuditValue>>
  /** Milliseconds; the true end of the credentials. */
  readonly expiresAt: number
  readonly revocable: Revocable
}

/** A target's refusal says which cloud code it was, in `about`, and whether asking again could help. */
export interface MintRefusal extends Refusal {
  readonly code:
    | 'target_refused'
    | 'target_unavailable'
    | 'template_value_refused'
    | 'address_unpinnable'
    | 'signer_unavailable'
  readonly target: TargetName
}

/** A kind of credentials. `Spec` is its section of a grant; `Reply` its section of the reply. */
export interface Target<Spec, Reply> {
  readonly name: TargetName
  readonly revocable: Revocable
  mint(spec: Spec, order: MintOrder): Promise<Minted<Reply> | MintRefusal>
}

/** One target of one grant, and what came of it; both kinds go to the audit. */
export interface MintOutcome {
  readonly grant: string
  readonly sessionId: string
  readonly target: TargetName
  readonly result: Minted<SealedAws | SealedAzure | SealedGcp | SealedToken> | MintRefusal
}

/** Everything that one grant vends. */
export interface MintedGrant {
  readonly grant: string
  readonly sessionId: string
  readonly replies: SealedReplies
  /** Milliseconds; when the first of its credentials ends. */
  readonly expiresAt: number
}

/** All targets of all grants, or none: `refusal` is the first that failed, in the order asked. */
export type MintedAll =
  | {
      readonly ok: true
      readonly grants: readonly MintedGrant[]
      readonly outcomes: readonly MintOutcome[]
    }
  | {
      readonly ok: false
      readonly refusal: MintRefusal
      readonly outcomes: readonly MintOutcome[]
    }

/** Step 9 of the exchange: mints every order's targets side by side, within one bound. Never rejects. */
export type MintAll = (orders: readonly Omit<MintOrder, 'signal'>[]) => Promise<MintedAll>
