/** What a policy set is once it has been parsed: nothing in here can be malformed. */

/** A line of a policy file; `line` and `column` count from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** What is wrong with a policy file, and how to mend it. */
export interface PolicyProblem {
  readonly code: PolicyProblemCode
  readonly at: Place
  readonly message: string
  readonly hint: string
}

export type PolicyProblemCode =
  | 'policy_empty'
  | 'file_unreadable'
  | 'file_too_large'
  | 'file_name_refused'
  | 'yaml_malformed'
  | 'yaml_limits'
  | 'key_unknown'
  | 'key_missing'
  | 'value_invalid'
  | 'claim_unknown'
  | 'pattern_refused'
  | 'id_pin_missing'
  | 'issuer_unknown'
  | 'grant_duplicate'
  | 'grant_name_refused'
  | 'grant_retired'
  | 'target_unknown'
  | 'target_missing'
  | 'requirement_unknown'
  | 'template_refused'
  | 'session_policy_too_long'
  | 'owner_unknown'
  | 'owner_scope_exceeded'
  | 'owners_overlap'
  | 'laws_malformed'

/** A glob behind the fence of `glob.ts`. `regexp` null: no wildcard, compared with `===`. */
export interface Pattern {
  readonly source: string
  readonly regexp: RegExp | null
}

export type Test =
  | { readonly is: 'any_of'; readonly patterns: readonly Pattern[] }
  | { readonly is: 'not'; readonly patterns: readonly Pattern[] }
  | { readonly is: 'absent' }

/** One claim line of a block. */
export interface Line {
  readonly claim: string
  readonly test: Test
  readonly at: Place
  /** True for the event line that a block without one is given (the dialect's default events). */
  readonly implied?: true
}

/** Every line must hold. */
export interface Block {
  readonly lines: readonly Line[]
  readonly at: Place
}

/** What this version can require beyond claims. */
export type Requirement = never

export interface AwsGrant {
  /** `arn:aws:iam::<12 digits>:role/<path and name>` */
  readonly role: string
  readonly accountId: string
  readonly region: string
  /** The JSON policy as written; templates in `Resource` and `Condition` strings not yet filled. */
  readonly sessionPolicy: SessionPolicy | null
  readonly managedPolicies: readonly string[]
  readonly tags: Readonly<Record<string, string>>
  /** false; true: the address the request came from; or these CIDR blocks. */
  readonly pinSourceIp: boolean | readonly string[]
  /** Allows `sts:AssumeRole` from a bounded session. */
  readonly chaining: boolean
}

export interface SessionPolicy {
  readonly Version: '2012-10-17'
  readonly Statement: readonly SessionStatement[]
}

/** A statement of an IAM JSON policy; string values in `Resource` and `Condition` may hold templates. */
export interface SessionStatement {
  readonly Sid?: string
  readonly Effect: 'Allow' | 'Deny'
  readonly Action?: string | readonly string[]
  readonly NotAction?: string | readonly string[]
  readonly Resource?: string | readonly string[]
  readonly NotResource?: string | readonly string[]
  readonly Condition?: Readonly<
    Record<string, Readonly<Record<string, string | readonly string[]>>>
  >
}

export interface AzureGrant {
  /** GUID of the Entra tenant, lower case. */
  readonly tenant: string
  /** Application (client) id: a GUID, lower case. */
  readonly client: string
  readonly subscription: string | null
  /** At least one; `https://<host>[/path]/.default` or `<GUID>/.default`. A token is for one resource, so each is a token of its own. */
  readonly scopes: readonly string[]
}

export interface GcpGrant {
  /** `projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>` */
  readonly provider: string
  /** E-mail address of the account to act as; null: the job acts as its own federated identity. */
  readonly serviceAccount: string | null
  /** The project id that tools are told; it grants nothing. */
  readonly project: string
  /** OAuth scopes, written out as URLs. */
  readonly scopes: readonly string[]
  /** What the token is cut down to, in Cloud Storage; null: it can do what its account can. */
  readonly accessBoundary: readonly GcpBoundaryRule[] | null
}

/** One rule of a Credential Access Boundary; what any of them allows is allowed. */
export interface GcpBoundaryRule {
  /** `//storage.googleapis.com/projects/_/buckets/<bucket>` */
  readonly resource: string
  /** `inRole:roles/storage.<name>` */
  readonly permissions: readonly string[]
  /** A CEL expression over `resource.name` and `api.getAttribute`; null: always. */
  readonly condition: string | null
}

export interface TokenGrant {
  readonly audience: string
  readonly scope: readonly string[]
  /** Seconds; at most the grant's ttl. */
  readonly ttl: number
}

export interface TargetSpecs {
  readonly aws?: AwsGrant
  readonly azure?: AzureGrant
  readonly gcp?: GcpGrant
  readonly token?: TokenGrant
}

export interface Grant {
  readonly name: string
  readonly description: string
  readonly owner: string | null
  /** Alias of the issuer whose tokens this grant is for. */
  readonly issuer: string
  readonly at: Place
  readonly allow: readonly [Block, ...Block[]]
  readonly deny: readonly Block[]
  /** True: a token without proof of possession is enough. */
  readonly bearer: boolean
  readonly require: readonly Requirement[]
  /** Seconds that credentials live; at most 3600. */
  readonly ttl: number
  /** Seconds that the job may renew; at least `ttl`. */
  readonly session: number
  /** Seconds; the longest lifetime accepted from a target that cannot hold `ttl`. */
  readonly acceptLifetime: number | null
  readonly targets: TargetSpecs
}

/** A law over all grants: no decision may allow what it describes. */
export interface Guardrail {
  readonly id: string
  readonly at: Place
  /** Grants it speaks of; null for all. */
  readonly grant: Pattern | null
  /** It applies when every line holds; null: always. */
  readonly when: Block | null
  /** Dotted paths into the grant's target sections (`aws.role`) and what is forbidden there; null: any target. */
  readonly target: readonly { readonly path: string; readonly test: Test }[] | null
}

export interface PolicySet {
  /** Commit, or `sha256:` + hex digest of the content. */
  readonly revision: string
  readonly grants: ReadonlyMap<string, Grant>
  readonly guardrails: readonly Guardrail[]
  readonly problems: readonly PolicyProblem[]
  /** Why nothing is granted at all: an unreadable or malformed law. null: laws are in order. */
  readonly closed: PolicyProblem | null
  /** `<issuer alias>/<owner id>` of every owner that some loaded grant names. */
  readonly owners: ReadonlySet<string>
}

/** One claim line against one principal. */
export interface LineTrace {
  readonly claim: string
  readonly wanted: string
  readonly got: string | null
  readonly held: boolean
  readonly at: Place
}

export interface BlockTrace {
  readonly at: Place
  readonly held: boolean
  readonly lines: readonly LineTrace[]
}

export type DecisionReason =
  | 'allowed'
  | 'no_such_grant'
  | 'issuer_mismatch'
  | 'no_block_held'
  | 'denied'
  | 'guardrail'
  | 'laws_closed'
  | 'proof_required'
  | 'ttl_too_long'

/**
 * The pure verdict on one grant. Whoever enforces it tests `verdict === 'allow'` and nothing else.
 * `pending` names what is missing; no requirement of this version can pend, the type is the contract.
 */
export interface Decision {
  readonly verdict: 'allow' | 'deny' | 'pending'
  readonly reason: DecisionReason
  readonly missing: readonly Requirement[]
  /** The grant as asked for; it may not exist. */
  readonly name: string
  readonly grant: Grant | null
  /** Every allow block, nearest miss first. */
  readonly blocks: readonly BlockTrace[]
  /** The deny blocks that held; operators only. */
  readonly denies: readonly BlockTrace[]
  /** The guardrails that forbade it; operators only. */
  readonly guardrails: readonly string[]
  /** Seconds granted when allowed, else 0. */
  readonly ttl: number
  readonly revision: string
  /** The `now` that it was asked for, in milliseconds. */
  readonly at?: number
}
