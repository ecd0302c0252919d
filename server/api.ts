/** The wire: requests and replies of the broker's HTTP interface. Types only; the action reads them too. */

/** Every refusal the broker can send, as the `code` of a problem+json body (RFC 9457). */
export type Code =
  // the request
  | 'not_found'
  | 'method_not_allowed'
  | 'content_type_unsupported'
  | 'request_too_large'
  | 'headers_too_large'
  | 'request_timeout'
  | 'request_malformed'
  | 'request_invalid'
  | 'delivery_unsupported'
  // the identity token
  | 'authorization_missing'
  | 'authorization_malformed'
  | 'token_too_large'
  | 'token_malformed'
  | 'token_algorithm_refused'
  | 'token_issuer_unknown'
  | 'token_key_unknown'
  | 'token_signature_invalid'
  | 'token_audience_refused'
  | 'token_expired'
  | 'token_not_yet_valid'
  | 'token_too_old'
  | 'token_claim_missing'
  | 'token_claim_invalid'
  | 'token_replayed'
  | 'no_job_identity'
  // the proof of possession
  | 'proof_missing'
  | 'proof_malformed'
  | 'proof_invalid'
  | 'proof_stale'
  | 'proof_key_mismatch'
  | 'proof_replayed'
  // admission
  | 'owner_unknown'
  | 'rate_limited'
  | 'locked'
  // the decision
  | 'grant_refused'
  | 'ttl_refused'
  | 'template_value_refused'
  | 'address_unpinnable'
  // the session
  | 'session_bound'
  | 'session_exhausted'
  | 'session_token_invalid'
  | 'withheld'
  // the targets
  | 'target_refused'
  | 'target_unavailable'
  // broken worlds
  | 'issuer_keys_unavailable'
  | 'policy_unavailable'
  | 'store_unavailable'
  | 'signer_unavailable'
  | 'internal_error'

export type TargetName = 'aws' | 'azure' | 'gcp' | 'token'

/** `immediate`: ending the session ends the credentials; `expiry_only`: they live until they expire. */
export type Revocable = 'immediate' | 'eventual' | 'expiry_only'

export interface SessionRequest {
  readonly grants: readonly string[]
  /** Seconds; at most the grant's ttl, which is also the default. */
  readonly ttl?: number
  readonly delivery?: 'credentials' | 'session'
}

export interface AwsReply {
  readonly access_key_id: string
  readonly secret_access_key: string
  readonly session_token: string
  readonly account_id: string
  readonly role_arn: string
  readonly region: string
  /** RFC 3339. When the credentials stop working, which may be earlier than AWS's own Expiration. */
  readonly expires_at: string
  readonly revocable: Revocable
}

/** One token for one resource. */
export interface AzureToken {
  readonly scope: string
  readonly access_token: string
  /** RFC 3339. Entra's own end: later than the session's. */
  readonly expires_at: string
}

export interface AzureReply {
  readonly tenant_id: string
  readonly client_id: string
  readonly subscription_id: string | null
  /** In the order of the grant's scopes. */
  readonly tokens: readonly AzureToken[]
  /** RFC 3339. When the last of them ends. */
  readonly expires_at: string
  readonly revocable: Revocable
}

export interface GcpReply {
  readonly access_token: string
  readonly project_id: string
  /** E-mail address; null: the token is the job's own federated identity. */
  readonly service_account: string | null
  readonly scopes: readonly string[]
  readonly expires_at: string
  readonly revocable: Revocable
}

export interface TokenReply {
  readonly token: string
  readonly token_type: 'DPoP' | 'Bearer'
  readonly audience: string
  readonly scope: string
  readonly expires_at: string
  readonly revocable: Revocable
}

export interface TargetReplies {
  readonly aws?: AwsReply
  readonly azure?: AzureReply
  readonly gcp?: GcpReply
  readonly token?: TokenReply
}

export interface SessionReply {
  readonly id: string
  /** Ends the session (`DELETE /v1/sessions/:id`). */
  readonly token: string
  readonly grant: string
  readonly expires_at: string
  readonly targets: TargetReplies
}

/** Position (from 1) and hash (hex SHA-256) of the audit record that this exchange left. */
export interface Receipt {
  readonly position: number
  readonly hash: string
}

export interface SessionsReply {
  readonly decision_id: string
  readonly revision: string
  readonly receipt: Receipt
  readonly sessions: readonly SessionReply[]
}

/** A grant that a job could ask for, as it stands in the policy. */
export interface GrantReply {
  readonly name: string
  readonly description: string
  /** Seconds that credentials live, and that the job may renew. */
  readonly ttl: number
  readonly session: number
  readonly targets: readonly TargetName[]
}

/** Of GET /v1/grants. */
export interface GrantsReply {
  readonly decision_id: string
  readonly revision: string
  readonly receipt: Receipt
  readonly grants: readonly GrantReply[]
}

export interface ExplainedLine {
  readonly claim: string
  readonly held: boolean
  /** The caller's own value; null when its token has no such claim. */
  readonly got: string | null
  /** What the policy wants, as written; absent where the caller may not see it. */
  readonly wanted?: string
}

export interface ExplainedBlock {
  /** `file:line` of the block in the policy repository; absent where the caller may not see it. */
  readonly at?: string
  readonly lines: readonly ExplainedLine[]
}

export interface ExplainedGrant {
  readonly grant: string
  /** Nearest miss first; empty when the caller may see no block of it, or there is no such grant. */
  readonly blocks: readonly ExplainedBlock[]
}

export interface Explain {
  /** The claims that the caller's own verified token carries. */
  readonly claims: Readonly<Record<string, string>>
  readonly grants: readonly ExplainedGrant[]
}

/** RFC 9457 problem details. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: Code
  readonly detail: string
  /** How to mend it, for the person who reads the job's log. */
  readonly hint: string
  readonly request_id: string
  readonly decision_id?: string
  /** Of the policies that decided. */
  readonly revision?: string
  readonly explain?: Explain
}
