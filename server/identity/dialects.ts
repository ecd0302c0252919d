/**
 * What one kind of issuer's tokens look like, as data. Nothing outside this table knows a claim's name
 * by heart: to add a kind of issuer, add a row.
 */
export interface Dialect {
  /** The issuer when the configuration names none. */
  readonly issuer: string
  /** Where its keys stand, below the issuer. */
  readonly jwksPath: string
  readonly algorithm: 'RS256'
  readonly typ: 'JWT'
  /** Registered claims a token must carry (RFC 7519 section 4.1). */
  readonly registered: readonly string[]
  /** Further claims without which a token is refused. */
  readonly mandatory: readonly string[]
  /** Every claim a policy may name. */
  readonly claims: readonly string[]
  /** Prefixes of open families of claims, e.g. custom properties of a repository. */
  readonly families: readonly string[]
  /** Claims that take no wildcard: ids, closed vocabularies, digests, counters. */
  readonly literal: readonly string[]
  /** Claims that hold an immutable id: digits only. */
  readonly ids: readonly string[]
  /** Claims whose value may stand in a template (`${claims.x}`). */
  readonly templates: readonly string[]
  readonly repositoryId: string
  readonly repository: string
  readonly repositoryVisibility: string
  readonly ownerId: string
  readonly actorId: string
  /** The workflows that run the job: the top-level one, and the reusable one that it calls. */
  readonly workflows: readonly string[]
  readonly ref: string
  readonly environment: string
  /** The claims that name one run, and the one that names the job in it. */
  readonly run: readonly string[]
  readonly job: string
  /** False: tokens may lack the job claim, and then the proved key stands for the job. */
  readonly jobMandatory: boolean
  readonly event: string
  /** Events that an allow block without an event line accepts. */
  readonly defaultEvents: readonly string[]
  /** Oldest token accepted, in seconds from `iat`. */
  readonly maxAge: number
}

export type DialectName = 'github'

/**
 * GitHub Actions: https://docs.github.com/en/actions/reference/security/oidc
 * `check_run_id` (since 2025-11-13) is the id of the job; `sub` is never read, its format changed in 2026-07.
 */
const github: Dialect = {
  issuer: 'https://token.actions.githubusercontent.com',
  jwksPath: '/.well-known/jwks',
  algorithm: 'RS256',
  typ: 'JWT',
  registered: ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti'],
  mandatory: [
    'repository',
    'repository_id',
    'repository_owner',
    'repository_owner_id',
    'repository_visibility',
    'actor_id',
    'event_name',
    'ref',
    'sha',
    'workflow_ref',
    'job_workflow_ref',
    'run_id',
    'run_attempt',
    'runner_environment',
  ],
  claims: [
    'actor',
    'actor_id',
    'base_ref',
    'check_run_id',
    'enterprise',
    'enterprise_id',
    'environment',
    'environment_node_id',
    'event_name',
    'head_ref',
    'issuer_scope',
    'job_workflow_ref',
    'job_workflow_sha',
    'ref',
    'ref_protected',
    'ref_type',
    'repository',
    'repository_id',
    'repository_owner',
    'repository_owner_id',
    'repository_visibility',
    'run_attempt',
    'run_id',
    'run_number',
    'runner_environment',
    'sha',
    'sub',
    'workflow',
    'workflow_ref',
    'workflow_sha',
  ],
  families: ['repo_property_'],
  literal: [
    'actor_id',
    'check_run_id',
    'enterprise_id',
    'event_name',
    'job_workflow_sha',
    'ref_protected',
    'ref_type',
    'repository_id',
    'repository_owner_id',
    'repository_visibility',
    'run_attempt',
    'run_id',
    'run_number',
    'runner_environment',
    'sha',
    'workflow_sha',
  ],
  ids: [
    'actor_id',
    'check_run_id',
    'enterprise_id',
    'repository_id',
    'repository_owner_id',
    'run_id',
  ],
  templates: [
    'actor_id',
    'check_run_id',
    'enterprise_id',
    'environment',
    'ref',
    'repository',
    'repository_id',
    'repository_owner_id',
    'run_id',
    'sha',
  ],
  repositoryId: 'repository_id',
  repository: 'repository',
  repositoryVisibility: 'repository_visibility',
  ownerId: 'repository_owner_id',
  actorId: 'actor_id',
  workflows: ['workflow_ref', 'job_workflow_ref'],
  ref: 'ref',
  environment: 'environment',
  run: ['run_id', 'run_attempt'],
  job: 'check_run_id',
  jobMandatory: true,
  event: 'event_name',
  defaultEvents: [
    'push',
    'workflow_dispatch',
    'schedule',
    'release',
    'merge_group',
    'deployment',
    'repository_dispatch',
  ],
  maxAge: 600,
}

export const DIALECTS = { github } as const satisfies Record<DialectName, Dialect>

/** What a member of a family may be called; longer than any name that GitHub allows (75 characters). */
const FAMILY_NAME = /^[a-z0-9_]{1,128}$/

/** Does this dialect define the claim `name`? */
export const defines = (dialect: Dialect, name: string): boolean =>
  dialect.claims.includes(name) ||
  dialect.families.some(
    (prefix) => name.startsWith(prefix) && name.length > prefix.length && FAMILY_NAME.test(name),
  )
