import { Secret } from '../secret.ts'
import type { Principal } from '../identity/principal.ts'
import type { Signer } from './signer.ts'

/** What AWS reads from our token beyond the registered claims. */
export interface AwsClaims {
  /** Session tags; keys and values already in AWS's tag alphabet. */
  readonly tags: Readonly<Record<string, string>>
  /** Tags that a chained session keeps and cannot overwrite. */
  readonly transitive: readonly string[]
  readonly sourceIdentity: string
  /** Role ARNs the token is good for; AWS refuses every other before it reads a trust policy. */
  readonly roles: readonly [string, ...string[]]
}

/** One use of one cloud by one job. */
export interface CloudToken {
  readonly issuer: string
  readonly audience: string
  readonly grant: string
  readonly job: string
  readonly repositoryId: string
  readonly jti: string
  /** Milliseconds. */
  readonly now: number
  /** Seconds since the epoch; a minute from now when absent. Google's federated token lives as long as ours. */
  readonly exp?: number
  readonly aws?: AwsClaims
}

export interface AccessToken {
  readonly issuer: string
  readonly audience: string
  readonly scope: readonly string[]
  readonly grant: string
  readonly principal: Principal
  readonly sessionId: string
  readonly decisionId: string
  readonly revision: string
  readonly jti: string
  /** Milliseconds. */
  readonly now: number
  /** Seconds since the epoch. */
  readonly exp: number
}

export const CLOUD_TOKEN_CLAIMS = [
  ...['iss', 'sub', 'aud', 'iat', 'nbf', 'exp', 'jti', 'grant', 'job', 'repository_id'],
] as const

export const ACCESS_TOKEN_CLAIMS = [
  ...['iss', 'sub', 'aud', 'iat', 'nbf', 'exp', 'jti', 'client_id', 'scope', 'cnf', 'act'],
  ...['grant', 'issuer', 'repository_id', 'repository', 'ref', 'environment', 'run', 'sha'],
  ...['session_id', 'decision_id', 'revision'],
] as const

/** Seconds that a cloud has to take our token. */
const CLOUD_LIFETIME = 60

/** Seconds; a verifier whose clock is a little behind ours must not find the token in its future. */
const BACKDATE = 5

/**
 * The token that a cloud trades for credentials. Only this function uses the cloud issuer's key, and its
 * result goes to that cloud and nowhere else: whoever holds it could ask for more than we do.
 */
export const signCloudToken = (signer: Signer, token: CloudToken): Promise<Secret> =>
  compactJws(signer, 'JWT', {
    iss: token.issuer,
    sub: `grant:${token.grant}`,
    aud: token.audience,
    ...times(token.now),
    exp: token.exp ?? seconds(token.now) + CLOUD_LIFETIME,
    jti: token.jti,
    grant: token.grant,
    job: token.job,
    repository_id: token.repositoryId,
    ...(token.aws && awsClaims(token.aws)),
  })

/** https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html: each value is an array of one string. */
const awsClaims = (aws: AwsClaims): Readonly<Record<string, unknown>> => ({
  'https://aws.amazon.com/tags': {
    principal_tags: Object.fromEntries(
      Object.entries(aws.tags).map(([key, value]) => [key, [value]]),
    ),
    transitive_tag_keys: aws.transitive,
  },
  'https://aws.amazon.com/source_identity': aws.sourceIdentity,
  'https://aws.amazon.com/roles': aws.roles,
})

/** RFC 9068 access token for a service of the operator's own; `act` (RFC 8693 section 4.1) is who started the job. */
export const signAccessToken = (signer: Signer, token: AccessToken): Promise<Secret> => {
  const { principal, grant } = token
  return compactJws(signer, 'at+jwt', {
    iss: token.issuer,
    sub: `job:${principal.job}`,
    aud: token.audience,
    ...times(token.now),
    exp: token.exp,
    jti: token.jti,
    client_id: `grant:${grant}`,
    ...(token.scope.length > 0 && { scope: token.scope.join(' ') }),
    ...(principal.jkt !== null && { cnf: { jkt: principal.jkt } }),
    ...jobClaims(principal),
    grant,
    session_id: token.sessionId,
    decision_id: token.decisionId,
    revision: token.revision,
  })
}

/** What a service can authorise on. A claim that the job's own token lacks is absent here too. */
const jobClaims = (principal: Principal): Readonly<Record<string, unknown>> => {
  const { claims, dialect } = principal
  const actor = claims[dialect.actorId]
  return {
    ...(actor !== undefined && { act: { sub: `actor:${principal.issuer}:${actor}` } }),
    issuer: principal.issuer,
    repository_id: principal.repositoryId,
    repository: claims[dialect.repository],
    ref: claims[dialect.ref],
    environment: claims[dialect.environment],
    run: runOf(principal),
    sha: claims['sha'],
  }
}

/** `<run_id>/<run_attempt>`, as in the job key; undefined when the token names no run. */
export const runOf = ({ claims, dialect }: Principal): string | undefined => {
  const parts = dialect.run.map((name) => claims[name])
  return parts.includes(undefined) ? undefined : parts.join('/')
}

const seconds = (ms: number): number => Math.floor(ms / 1000)

const times = (now: number): { readonly iat: number; readonly nbf: number } => ({
  iat: seconds(now) - BACKDATE,
  nbf: seconds(now) - BACKDATE,
})

/** RFC 7515 section 7.1, over the port: a KMS signs bytes and knows no JWS. */
const compactJws = async (
  signer: Signer,
  typ: 'JWT' | 'at+jwt',
  payload: Readonly<Record<string, unknown>>,
): Promise<Secret> => {
  const kid = signer.publicKeys()[0]?.kid
  if (kid === undefined) throw new Error('the signer has no key')
  const input = `${base64url({ alg: 'RS256', typ, kid })}.${base64url(payload)}`
  const signature = await signer.sign(Buffer.from(input, 'ascii'))
  return new Secret(`${input}.${Buffer.from(signature).toString('base64url')}`)
}

const base64url = (value: unknown): string =>
  Buffer.from(JSON.stringify(value), 'utf8').toString('base64url')
