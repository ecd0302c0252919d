import type { Explain, GrantsReply, Receipt } from '../api.ts'
import type { Principal } from '../identity/principal.ts'
import type { Presented } from '../identity/verify.ts'
import type { PolicySource } from '../policy/source.ts'
import { accept, refuse, type Refusal, type Result } from '../refusal.ts'
import type { Secret } from '../secret.ts'
import type { Limits } from '../session/admit.ts'
import type { SessionStore } from '../session/store.ts'
import type { Strangers } from '../session/strangers.ts'
import type { MintAll, SealedReplies } from '../targets/target.ts'
import type { World } from '../world.ts'

/** What the exchange needs of the rest of the house. */
export interface BrokerParts {
  readonly world: World
  /** Step 2: token and proof, the latter made for this endpoint. */
  readonly verify: (
    presented: Presented,
    endpoint: Endpoint,
    now: number,
  ) => Promise<Result<Principal>>
  readonly policies: PolicySource
  /** Milliseconds; policies that were looked at longer ago decide nothing. */
  readonly maxPolicyAge: number
  readonly strangers: Pick<Strangers, 'countOwner'>
  readonly limits: Limits
  readonly store: SessionStore
  /** Key of the MAC over session rows; not in the store. */
  readonly sessionKey: Uint8Array
  /** Step 9. */
  readonly mintAll: MintAll
}

/** The endpoints that take an identity token; a proof names one of them. */
export type Endpoint = 'POST /v1/sessions' | 'GET /v1/grants'

export interface ExchangeAsk {
  readonly requestId: string
  readonly presented: Presented
  readonly grants: readonly string[]
  /** Seconds; null: what each grant gives. */
  readonly ttl: number | null
  readonly address: string
}

/** `SessionsReply` of the wire before `revealedJson`. */
export interface SealedSessionsReply {
  readonly decision_id: string
  readonly revision: string
  readonly receipt: Receipt
  readonly sessions: readonly {
    readonly id: string
    readonly token: Secret
    readonly grant: string
    readonly expires_at: string
    readonly targets: SealedReplies
  }[]
}

/** A refusal past step 3 has a decision, and may explain itself. */
export type Rejected = Refusal & {
  readonly decisionId?: string
  readonly revision?: string
  readonly explain?: Explain
}

export type Exchanged = { readonly ok: true; readonly reply: SealedSessionsReply } | Rejected

export type ListAsk = Pick<ExchangeAsk, 'requestId' | 'presented' | 'address'>

export type Listed = { readonly ok: true; readonly reply: GrantsReply } | Rejected

export interface EndAsk {
  readonly requestId: string
  readonly id: string
  readonly token: Secret
}

export interface Broker {
  /** An identity token for credentials. Never rejects for anything a caller can send. */
  exchange(ask: ExchangeAsk): Promise<Exchanged>
  /** The grants that this token's job could ask for. */
  list(ask: ListAsk): Promise<Listed>
  /** Ends a session by its own token; accepted also when it is over already. */
  end(ask: EndAsk): Promise<Result<null>>
}

/** A store that fails is a broken world: nothing is minted, and the caller may try again. */
export const stored = async <T>(answer: Promise<T>): Promise<Result<T>> => {
  try {
    return accept(await answer)
  } catch (error) {
    return refuse('store_unavailable', { cause: String(error) })
  }
}
