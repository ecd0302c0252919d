import { AwsError } from './answer.ts'
import { parsePolicy, type Policy } from './policy.ts'

/** What has been set up in this AWS, and what it has handed out. State; each rule of set-up is IAM's. */

export interface Provider {
  readonly arn: string
  /** Equal, byte for byte, to the `iss` of the tokens. */
  readonly url: string
  /** `url` without its scheme: the prefix of the condition keys. */
  readonly host: string
  readonly clientIds: readonly string[]
}

export interface Role {
  readonly arn: string
  readonly account: string
  readonly name: string
  /** `AROA…` */
  readonly id: string
  readonly trust: Policy
  readonly policies: readonly Policy[]
  /** Seconds. */
  readonly maxSessionDuration: number
}

/** One set of temporary credentials. */
export interface Session {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
  /** Milliseconds. */
  readonly issuedAt: number
  readonly expiresAt: number
  readonly role: Role
  readonly name: string
  readonly provider: Provider
  readonly subject: string
  readonly audience: string
  readonly tags: Readonly<Record<string, string>>
  readonly sourceIdentity: string | null
  /** null: none was passed, the role's permissions stand alone. */
  readonly sessionPolicies: readonly Policy[] | null
}

export interface StoredObject {
  readonly bytes: Uint8Array
  readonly contentType: string
  /** `x-amz-meta-…` without the prefix. */
  readonly metadata: Readonly<Record<string, string>>
  /** Hex MD5, unquoted. */
  readonly etag: string
  /** `x-amz-checksum-…` headers as the uploader gave them, verified. */
  readonly checksums: Readonly<Record<string, string>>
  /** Milliseconds. */
  readonly modifiedAt: number
}

export interface Bucket {
  readonly account: string
  readonly objects: Map<string, StoredObject>
}

export interface State {
  readonly providers: Map<string, Provider>
  readonly roles: Map<string, Role>
  readonly managedPolicies: Map<string, Policy>
  readonly buckets: Map<string, Bucket>
  /** By access key id. */
  readonly sessions: Map<string, Session>
}

export function emptyState(): State {
  return {
    providers: new Map(),
    roles: new Map(),
    managedPolicies: new Map(),
    buckets: new Map(),
    sessions: new Map(),
  }
}

export interface ProviderInput {
  /** `https://host[/path]`, at most 255 characters, no port, no query. */
  readonly url: string
  /** The audiences that its tokens may have; 1 to 100, each at most 255 characters. */
  readonly clientIds: readonly string[]
  /** 12 digits; the account of the world when absent. */
  readonly account?: string
}

/** Throws AwsError `InvalidInput`, `ValidationError`, `LimitExceeded`, `EntityAlreadyExists`. */
export function addProvider(
  state: State,
  input: ProviderInput & { readonly account: string },
  httpLoopback: boolean,
): Provider {
  const { url, clientIds, account } = input
  checkProviderUrl(url, httpLoopback)
  if (clientIds.length === 0 || clientIds.some((id) => id.length < 1 || id.length > 255)) {
    throw new AwsError('ValidationError', 'A client ID must have 1 to 255 characters.')
  }
  if (clientIds.length > 100) {
    throw new AwsError(
      'LimitExceeded',
      'Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100',
      409,
    )
  }
  const host = url.replace(/^https?:\/\//, '')
  const arn = `arn:aws:iam::${account}:oidc-provider/${host}`
  if (state.providers.has(arn)) {
    throw new AwsError('EntityAlreadyExists', `Provider with url ${url} already exists.`, 409)
  }
  const provider = { arn, url, host, clientIds: [...clientIds] }
  state.providers.set(arn, provider)
  return provider
}

function checkProviderUrl(url: string, httpLoopback: boolean): void {
  if (url.length < 1 || url.length > 255) {
    throw new AwsError('ValidationError', 'The provider URL must have 1 to 255 characters.')
  }
  if (httpLoopback && isHttpLoopback(url)) return
  if (!/^https:\/\/[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?:\/[A-Za-z0-9._~/-]*)?$/.test(url)) {
    throw new AwsError('InvalidInput', 'Invalid Open ID Connect Provider URL')
  }
}

/** What the zero-configuration broker is: `http://127.0.0.1:<port>`. */
export function isHttpLoopback(url: string): boolean {
  return /^http:\/\/127\.0\.0\.1:\d{1,5}(?:\/[A-Za-z0-9._~/-]*)?$/.test(url)
}

export interface RoleInput {
  /** `arn:aws:iam::<12 digits>:role/<path and name>` */
  readonly arn: string
  /** The trust policy: a document, or its JSON. */
  readonly trust: unknown
  /** The role's permission policies: documents, or their JSON. */
  readonly policies?: readonly unknown[]
  /** Seconds, 3600 to 43200; 3600 when absent. */
  readonly maxSessionDuration?: number
}

export const ROLE_ARN = /^arn:aws:iam::(\d{12}):role\/((?:[\x21-\x7e]+\/)?([\w+=,.@-]{1,64}))$/

/** Throws AwsError `ValidationError`, `MalformedPolicyDocument`, `EntityAlreadyExists`. */
export function addRole(state: State, input: RoleInput, id: string): Role {
  const [, account, , name] = ROLE_ARN.exec(input.arn) ?? []
  if (account === undefined || name === undefined) throw invalidArn(input.arn)
  const duration = input.maxSessionDuration ?? 3600
  if (!Number.isInteger(duration) || duration < 3600 || duration > 43_200) {
    throw new AwsError('ValidationError', 'MaxSessionDuration must be 3600 to 43200 seconds.')
  }
  if (state.roles.has(input.arn)) {
    throw new AwsError('EntityAlreadyExists', `Role with name ${name} already exists.`, 409)
  }
  const role: Role = {
    arn: input.arn,
    account,
    name,
    id,
    trust: parsePolicy('trust', input.trust),
    policies: (input.policies ?? []).map((document) => parsePolicy('permission', document)),
    maxSessionDuration: duration,
  }
  state.roles.set(role.arn, role)
  return role
}

export const POLICY_ARN = /^arn:aws:iam::(\d{12}|aws):policy\/[\x21-\x7e]+$/

/** A managed policy, for the `PolicyArns` of a session. Throws AwsError like `addRole`. */
export function addManagedPolicy(state: State, arn: string, document: unknown): void {
  if (!POLICY_ARN.test(arn)) throw invalidArn(arn)
  if (state.managedPolicies.has(arn)) {
    throw new AwsError('EntityAlreadyExists', `A policy called ${arn} already exists.`, 409)
  }
  state.managedPolicies.set(arn, parsePolicy('permission', document))
}

/** Throws AwsError `InvalidBucketName`, `BucketAlreadyExists`. */
export function addBucket(state: State, name: string, account: string): void {
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name)) {
    throw new AwsError('InvalidBucketName', 'The specified bucket is not valid.')
  }
  if (state.buckets.has(name)) {
    throw new AwsError('BucketAlreadyExists', 'The requested bucket name is not available.', 409)
  }
  state.buckets.set(name, { account, objects: new Map() })
}

export function assumedRoleArn(session: { readonly role: Role; readonly name: string }): string {
  return `arn:aws:sts::${session.role.account}:assumed-role/${session.role.name}/${session.name}`
}

function invalidArn(arn: string): AwsError {
  return new AwsError('ValidationError', `${arn} is invalid`)
}
