/** What happened. Every value is public to an operator: ids, names, digests, verdicts; never a token or a secret. */

export type AuditEvent =
  | 'exchange.refused'
  | 'exchange.intent'
  | 'exchange.outcome'
  | 'exchange.failed'
  | 'exchange.withheld'
  | 'session.ended'
  | 'strangers.summary'
  /** Refusals that were counted and not recorded, while the store was past its high-water mark. */
  | 'refusals.summary'
  | 'lock.added'
  | 'lock.removed'
  | 'broker.started'
  | 'broker.stopped'
  | 'grants.listed'

export type AuditValue =
  string | number | boolean | null | readonly AuditValue[] | { readonly [key: string]: AuditValue }

/** What the writer says; position, time and hashes are the chain's. */
export interface AuditBody {
  readonly event: AuditEvent
  readonly decision_id?: string
  readonly request_id?: string
  readonly [key: string]: AuditValue | undefined
}

/** One link of the chain as stored and exported, one JSON object a line. */
export interface AuditRecord {
  /** From 1, without gaps. */
  readonly position: number
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Hex SHA-256 of the record before; 64 zeros for the first. */
  readonly previous: string
  readonly body: AuditBody
  /** Hex SHA-256 over the canonical JSON (RFC 8785) of {position, at, previous, body}. */
  readonly hash: string
}
