/**
 * What one kind of issuer's tokens look like, as data. Nothing outside this table knows a claim's name
 * by heart: to add a kind of issuer, add a row.
 */
export interface Dialect {
  /** `iss`, byte for byte; `{name}` stands for a parameter. A token never says it. */
  readonly issuer: string
  /** Where its keys stand unless the configuration says otherwise; `{name}` as above. Discovery is never followed. */
  readonly jwks: string
  /** What the configuration must say of such an issuer, all of it. */
  readonly parameters: Partial<Readonly<Record<ParameterName, Parameter>>>
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
  /** May an operator say of one issuer of this kind that its tokens lack the job claim (`job_key: run`)? */
  readonly mayLackJob: boolean
  readonly event: string
  /** Events that an allow block without an event line accepts. */
  readonly defaultEvents: readonly string[]
  /** Oldest token accepted, in seconds from `iat`. */
  readonly maxAge: number
}

/** Names of parameters; each is a key of an issuer in tvm.yaml. */
export type ParameterName = 'enterprise' | 'subdomain' | 'host'

/** One part of an issuer's URL that differs from issuer to issuer. */
export interface Parameter {
  /** Closed: what matches leads to nowhere but the issuers of the kind. */
  readonly pattern: RegExp
  /** What it must be, as a problem says it. */
  readonly form: string
}

export type DialectName =
  | 'github'
  | 'github-enterprise-cloud'
  | 'github-data-residency'
  | 'github-data-residency-unique'
  | 'github-enterprise-server'

/**
 * GitHub Actions: https://docs.github.com/en/actions/reference/security/oidc
 * `check_run_id` (since 2025-11-13) is the id of the job; `sub` is never read, its format changed in 2026-07.
 */
const github: Dialect = {
  issuer: 'https://token.actions.githubusercontent.com',
  jwks: 'https://token.actions.githubusercontent.com/.well-known/jwks',
  parameters: {},
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
  mayLackJob: false,
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

/**
 * An enterprise on github.com that has set "include_enterprise_slug". The keys stand at the root, and are those of github.com: below
 * the slug there is a discovery document, but no key set.
 */
const githubEnterpriseCloud: Dialect = {
  ...github,
  issuer: 'https://token.actions.githubusercontent.com/{enterprise}',
  parameters: {
    enterprise: {
      pattern: /^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$/,
      form: 'must be the slug of an enterprise as its issuer shows it: a-z, 0-9 and -, such as acme-inc',
    },
  },
}

/** An enterprise on SUBDOMAIN.ghe.com. */
const githubDataResidency: Dialect = {
  ...github,
  issuer: 'https://token.actions.{subdomain}.ghe.com',
  jwks: 'https://token.actions.{subdomain}.ghe.com/.well-known/jwks',
  parameters: {
    subdomain: {
      pattern: /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/,
      form: 'must be what stands before .ghe.com: a-z, 0-9 and -, such as acme',
    },
  },
}

/** The same with "include_enterprise_slug": there the slug is the subdomain. */
const githubDataResidencyUnique: Dialect = {
  ...githubDataResidency,
  issuer: 'https://token.actions.{subdomain}.ghe.com/{subdomain}',
}

/** In the tokens of github.com, and by GitHub's documentation in those of no GitHub Enterprise Server up to 3.22. */
const CLOUD_ONLY = ['environment_node_id', 'issuer_scope']

/**
 * GitHub Enterprise Server 3.9 or newer: older ones lack `runner_environment`, `workflow_ref` and more, and are refused. No release
 * up to 3.22 is documented to send `check_run_id`, or custom properties: a law on one of those holds, as what cannot be judged does.
 */
const githubEnterpriseServer: Dialect = {
  ...github,
  issuer: 'https://{host}/_services/token',
  jwks: 'https://{host}/_services/token/.well-known/jwks',
  parameters: {
    host: {
      pattern:
        /^(?!(?:.*\.)?(?:github|githubusercontent|ghe)\.com$)(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])$/,
      form: 'must be the host name of your own server, in lower case and without scheme, port and path, such as github.acme.internal',
    },
  },
  claims: github.claims.filter((name) => !CLOUD_ONLY.includes(name)),
  families: [],
  mayLackJob: true,
}

export const DIALECTS = {
  github,
  'github-enterprise-cloud': githubEnterpriseCloud,
  'github-data-residency': githubDataResidency,
  'github-data-residency-unique': githubDataResidencyUnique,
  'github-enterprise-server': githubEnterpriseServer,
} as const satisfies Record<DialectName, Dialect>

/** The kind of one issuer whose tokens do not name the job. Throws where the table does not allow that. */
export const withoutJobClaim = (dialect: Dialect): Dialect => {
  if (!dialect.mayLackJob) throw new Error('tokens of this kind of issuer always name the job')
  return { ...dialect, jobMandatory: false }
}

/** What a member of a family may be called; longer than any name that GitHub allows (75 characters). */
const FAMILY_NAME = /^[a-z0-9_]{1,128}$/

/** Does this dialect define the claim `name`? */
export const defines = (dialect: Dialect, name: string): boolean =>
  dialect.claims.includes(name) ||
  dialect.families.some(
    (prefix) => name.startsWith(prefix) && name.length > prefix.length && FAMILY_NAME.test(name),
  )
