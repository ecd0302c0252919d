import { createHash, randomBytes, randomUUID } from 'node:crypto'

/** What a job is, as far as GitHub is asked. Everything has a default; ids follow from names. */
export interface JobOptions {
  /** `owner/name`; default `acme/payments`. */
  readonly repository?: string
  /** Default 99120 for `acme/payments`; for others see `idOf`. */
  readonly repositoryId?: string
  /** Default 8841 for `acme`; for others see `idOf`. */
  readonly ownerId?: string
  readonly visibility?: 'public' | 'private' | 'internal'
  /** Default `refs/heads/main`; under `pull_request` that is the base, and the job's ref is `refs/pull/7/merge`. */
  readonly ref?: string
  /** Default: branches `main` and `release/*`. */
  readonly refProtected?: boolean
  readonly event?: string
  readonly environment?: string
  /** Branch of the pull request; only under `pull_request*`. */
  readonly headRef?: string
  /** The pull request comes from this repository, a fork: no ID token, but under `pull_request_target`. */
  readonly fork?: string
  readonly actor?: string
  readonly actorId?: string
  readonly sha?: string
  /** File below `.github/workflows/`; default `deploy.yml`. */
  readonly workflowFile?: string
  /** The reusable workflow that really runs the job; default: the workflow itself. */
  readonly jobWorkflowRef?: string
  /** Key of the job in its workflow: GITHUB_JOB. Default `deploy`. */
  readonly name?: string
  readonly runId?: string
  readonly runNumber?: string
  readonly runAttempt?: string
  /** null: a GitHub Enterprise Server too old to tell. */
  readonly checkRunId?: string | null
  readonly runnerEnvironment?: 'github-hosted' | 'self-hosted'
  /** The format of `sub`; default `immutable`, which new repositories have since 2026-07-15. */
  readonly subject?: 'immutable' | 'legacy'
  /** Custom properties of the repository that its organisation put into its tokens. */
  readonly properties?: Readonly<Record<string, string>>
  readonly enterprise?: { readonly slug: string; readonly id: string }
  /** Does the job have `id-token: write`? Default: yes, unless it is of a fork. */
  readonly idToken?: boolean
  /** Laid over the claims at the very end; undefined takes one away. */
  readonly claims?: Readonly<Record<string, unknown>>
}

/** A job that GitHub has handed to a runner. */
export interface Job {
  readonly name: string
  /** The claims of its tokens but `iss aud iat nbf exp jti`. */
  readonly claims: Readonly<Record<string, string>>
  /** May it ask for ID tokens? */
  readonly idToken: boolean
  readonly requestUrl: string
  readonly requestToken: string
  /** The secret GITHUB_TOKEN. */
  readonly githubToken: string
  /** ACTIONS_ID_TOKEN_REQUEST_URL and _TOKEN; empty for a job that may not ask. */
  readonly env: Readonly<Record<string, string>>
  /** The webhook payload that started the run. */
  readonly event: Readonly<Record<string, unknown>>
}

const KNOWN_IDS: Readonly<Record<string, string>> = {
  acme: '8841',
  'acme/payments': '99120',
  octocat: '583231',
}

/** The id of an owner, a repository (`owner/name`) or an actor; the same name always has the same id. */
export const idOf = (name: string): string =>
  KNOWN_IDS[name] ??
  String(100_000 + (createHash('sha256').update(name).digest().readUInt32BE() % 900_000_000))

/** What GitHub numbers as it goes. */
export interface Numbers {
  readonly run: number
  readonly check: number
}

interface Facts {
  readonly repository: string
  readonly repositoryId: string
  readonly owner: string
  readonly ownerId: string
  readonly event: string
  readonly base: string
  readonly ref: string
  readonly headRef: string
  readonly sha: string
  readonly actor: string
  readonly actorId: string
  readonly options: JobOptions
}

const PULL_REQUEST = 7

export const makeJob = (options: JobOptions, numbers: Numbers, url: string): Job => {
  const facts = factsOf(options, numbers)
  const claims = { ...claimsOf(facts, numbers), ...options.claims }
  const idToken =
    options.idToken ?? (options.fork === undefined || facts.event === 'pull_request_target')
  const requestUrl = `${url}/runtime/${randomUUID()}/idtoken/${randomUUID()}?api-version=2.0`
  const requestToken = `eyJ${secret(40)}.${secret(600)}.${secret(256)}`
  return {
    name: options.name ?? 'deploy',
    claims: Object.fromEntries(
      Object.entries(claims).filter(([, value]) => value !== undefined),
    ) as Job['claims'],
    idToken,
    requestUrl,
    requestToken,
    githubToken: `ghs_${secret(24).replace(/[-_]/g, 'x')}`,
    env: idToken
      ? { ACTIONS_ID_TOKEN_REQUEST_URL: requestUrl, ACTIONS_ID_TOKEN_REQUEST_TOKEN: requestToken }
      : {},
    event: eventOf(facts),
  }
}

const secret = (bytes: number): string => randomBytes(bytes).toString('base64url')

const factsOf = (options: JobOptions, numbers: Numbers): Facts => {
  const { repository = 'acme/payments', event = 'push', fork } = options
  const owner = repository.split('/')[0] ?? ''
  const base = options.ref ?? 'refs/heads/main'
  const actor = options.actor ?? fork?.split('/')[0] ?? 'octocat'
  return {
    repository,
    repositoryId: options.repositoryId ?? idOf(repository),
    owner,
    ownerId: options.ownerId ?? idOf(owner),
    event,
    base,
    // Under pull_request_target the ref is the base's, whoever wrote the code.
    ref: event === 'pull_request' ? `refs/pull/${PULL_REQUEST}/merge` : base,
    headRef: isPullRequest(event) ? (options.headRef ?? 'feature/refunds') : '',
    sha: options.sha ?? createHash('sha1').update(`${repository} ${numbers.run}`).digest('hex'),
    actor,
    actorId: options.actorId ?? idOf(actor),
    options,
  }
}

const isPullRequest = (event: string): boolean => event.startsWith('pull_request')

/** https://docs.github.com/en/actions/reference/security/oidc: every value is a string. */
const claimsOf = (facts: Facts, numbers: Numbers): Record<string, string | undefined> => {
  const { repository, ref, sha, options } = facts
  const file = options.workflowFile ?? 'deploy.yml'
  const workflowRef = `${repository}/.github/workflows/${file}@${ref}`
  return {
    sub: subjectOf(facts),
    environment: options.environment,
    environment_node_id: options.environment && nodeIdOf(repository, options.environment),
    ref,
    sha,
    repository,
    repository_owner: facts.owner,
    repository_owner_id: facts.ownerId,
    run_id: options.runId ?? String(18_170_960_955 + numbers.run),
    run_number: options.runNumber ?? String(numbers.run),
    run_attempt: options.runAttempt ?? '1',
    repository_visibility: options.visibility ?? 'private',
    repository_id: facts.repositoryId,
    actor_id: facts.actorId,
    actor: facts.actor,
    workflow: file.replace(/\.ya?ml$/, ''),
    head_ref: facts.headRef,
    base_ref: isPullRequest(facts.event) ? shortName(facts.base) : '',
    event_name: facts.event,
    ref_protected: String(options.refProtected ?? /^refs\/heads\/(main$|release\/)/.test(ref)),
    ref_type: ref.startsWith('refs/tags/') ? 'tag' : 'branch',
    workflow_ref: workflowRef,
    workflow_sha: sha,
    job_workflow_ref: options.jobWorkflowRef ?? workflowRef,
    job_workflow_sha:
      options.jobWorkflowRef === undefined
        ? sha
        : createHash('sha1').update(options.jobWorkflowRef).digest('hex'),
    runner_environment: options.runnerEnvironment ?? 'github-hosted',
    check_run_id:
      options.checkRunId === null
        ? undefined
        : (options.checkRunId ?? String(51_725_241_954 + numbers.check)),
    enterprise: options.enterprise?.slug,
    enterprise_id: options.enterprise?.id,
    ...Object.fromEntries(
      Object.entries(options.properties ?? {}).map(([name, value]) => [
        `repo_property_${name}`,
        value,
      ]),
    ),
  }
}

const nodeIdOf = (repository: string, environment: string): string =>
  `EN_${createHash('sha256').update(`${repository} ${environment}`).digest('base64url').slice(0, 18)}`

/** An environment wins over everything, and a colon in a value is %3A. */
const subjectOf = ({ repository, owner, options, ...facts }: Facts): string => {
  const name = repository.slice(owner.length + 1)
  const where =
    (options.subject ?? 'immutable') === 'legacy'
      ? repository
      : `${owner}@${facts.ownerId}/${name}@${facts.repositoryId}`
  return `repo:${where}:${contextOf(facts.event, facts.ref, options.environment)}`
}

const contextOf = (event: string, ref: string, environment: string | undefined): string => {
  if (environment !== undefined) return `environment:${environment.replaceAll(':', '%3A')}`
  return event === 'pull_request' ? 'pull_request' : `ref:${ref.replaceAll(':', '%3A')}`
}

const shortName = (ref: string): string => ref.replace(/^refs\/(heads|tags|pull)\//, '')

/** https://docs.github.com/en/webhooks/webhook-events-and-payloads, the members that actions read. */
const eventOf = (facts: Facts): Readonly<Record<string, unknown>> => {
  const { event, base, sha, options } = facts
  const shared = {
    repository: repositoryOf(facts.repository, facts.repositoryId, facts.ownerId, {
      visibility: options.visibility ?? 'private',
    }),
    sender: { login: facts.actor, id: Number(facts.actorId), type: 'User' },
  }
  if (isPullRequest(event)) return { ...pullRequestOf(facts), ...shared }
  if (event === 'push')
    return { ref: base, before: '0'.repeat(40), after: sha, head_commit: { id: sha }, ...shared }
  if (event === 'schedule') return { schedule: '17 3 * * *', ...shared }
  if (event === 'workflow_dispatch') return { ref: base, inputs: null, ...shared }
  return shared
}

const pullRequestOf = ({ repository, sha, base, headRef, options, ...facts }: Facts): object => {
  const from = options.fork ?? repository
  const own = { visibility: options.visibility ?? 'private' }
  return {
    action: 'synchronize',
    number: PULL_REQUEST,
    pull_request: {
      number: PULL_REQUEST,
      state: 'open',
      merged: false,
      head: {
        ref: headRef,
        sha: createHash('sha1').update(`${from} ${sha}`).digest('hex'),
        repo: {
          ...repositoryOf(from, idOf(from), idOf(from.split('/')[0] ?? ''), own),
          fork: options.fork !== undefined,
        },
      },
      base: {
        ref: shortName(base),
        sha,
        repo: repositoryOf(repository, facts.repositoryId, facts.ownerId, own),
      },
    },
  }
}

const repositoryOf = (
  fullName: string,
  id: string,
  ownerId: string,
  { visibility }: { readonly visibility: string },
): object => {
  const [login = '', name = ''] = fullName.split('/')
  return {
    id: Number(id),
    name,
    full_name: fullName,
    owner: { login, id: Number(ownerId) },
    private: visibility !== 'public',
    visibility,
    fork: false,
    default_branch: 'main',
  }
}
