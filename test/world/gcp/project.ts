import { GcpError } from './answer.ts'
import { compile, type CelError, type Program } from './cel.ts'
import { isHttpLoopback, isJwks, type Jwk } from './issuer.ts'
import { ROLES } from './roles.ts'

/** What has been set up in this project, and what it has handed out. State; each rule of set-up is Google's. */

export interface Pool {
  readonly id: string
  disabled: boolean
}

export interface Provider {
  /** `projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>` */
  readonly name: string
  readonly pool: Pool
  readonly issuerUri: string
  readonly mapping: ReadonlyMap<string, Program>
  /** null: every valid credential is taken. */
  readonly condition: Program | null
  readonly audiences: readonly string[]
  /** null: the issuer is asked. */
  readonly jwks: readonly Jwk[] | null
  disabled: boolean
}

export interface ServiceAccount {
  readonly email: string
  readonly policy: Binding[]
  disabled: boolean
}

export interface Binding {
  readonly role: string
  /** `principal://…`, `principalSet://…` or `serviceAccount:…` */
  readonly member: string
}

export interface StoredObject {
  readonly bytes: Uint8Array
  readonly contentType: string
  /** Milliseconds. */
  readonly modifiedAt: number
  readonly generation: number
}

export interface Bucket {
  readonly policy: Binding[]
  readonly objects: Map<string, StoredObject>
}

/** One rule of an access boundary, compiled. */
export interface BoundaryRule {
  readonly bucket: string
  readonly roles: readonly string[]
  readonly condition: Program | null
}

/** Who a token speaks for. */
export type Identity =
  | {
      readonly kind: 'federated'
      readonly pool: Pool
      readonly subject: string
      /** Custom attributes, without `attribute.`. */
      readonly attributes: Readonly<Record<string, string>>
    }
  | { readonly kind: 'account'; readonly account: ServiceAccount }

/** An access token that was handed out. */
export interface Token {
  readonly identity: Identity
  readonly scopes: readonly string[]
  /** Milliseconds. */
  readonly expiresAt: number
  readonly boundary: readonly BoundaryRule[] | null
}

export interface State {
  readonly number: string
  readonly pools: Map<string, Pool>
  readonly providers: Map<string, Provider>
  readonly accounts: Map<string, ServiceAccount>
  readonly buckets: Map<string, Bucket>
  readonly tokens: Map<string, Token>
}

export function emptyState(number: string): State {
  if (!/^[1-9]\d{5,18}$/.test(number)) throw invalid('A project number is digits.')
  const maps = { pools: new Map(), providers: new Map(), accounts: new Map() }
  return { number, ...maps, buckets: new Map(), tokens: new Map() }
}

const POOL_ID = /^(?!gcp-)[a-z0-9-]{4,32}$/

/** Throws GcpError `INVALID_ARGUMENT`, `ALREADY_EXISTS`. */
export function addPool(state: State, id: string): void {
  if (!POOL_ID.test(id)) throw invalid('A pool id is 4 to 32 of [a-z0-9-], and not gcp-….')
  if (state.pools.has(id)) throw exists(id)
  state.pools.set(id, { id, disabled: false })
}

export interface ProviderInput {
  readonly pool: string
  readonly id: string
  /** https, equal to the `iss` of the tokens byte for byte. */
  readonly issuerUri: string
  /** `google.subject` and `attribute.<name>` → CEL over `assertion`. */
  readonly attributeMapping: Readonly<Record<string, string>>
  /** CEL over `assertion`, `google` and `attribute`. */
  readonly attributeCondition?: string
  /** At most 10 of at most 256 characters; the provider's own name, with or without `https:`, when absent. */
  readonly allowedAudiences?: readonly string[]
  /** An uploaded key set: the issuer is then not asked. */
  readonly jwksJson?: string
}

/** Throws GcpError as IAM would. */
export function addProvider(state: State, input: ProviderInput, httpLoopback: boolean): Provider {
  const { issuerUri, allowedAudiences = [], attributeCondition = '' } = input
  const pool = state.pools.get(input.pool)
  if (pool === undefined) throw new GcpError('NOT_FOUND', `There is no pool ${input.pool}.`)
  if (!POOL_ID.test(input.id)) throw invalid('A provider id is 4 to 32 of [a-z0-9-].')
  if (!isIssuer(issuerUri, httpLoopback)) throw invalid('The issuer URI must be https.')
  const path = `projects/${state.number}/locations/global/workloadIdentityPools/${pool.id}`
  const name = `${path}/providers/${input.id}`
  if (state.providers.has(name)) throw exists(name)
  if (allowedAudiences.length > 10 || allowedAudiences.some((one) => one.length > 256)) {
    throw invalid('At most 10 audiences of at most 256 characters.')
  }
  if (attributeCondition.length > 4096) throw invalid('The condition has over 4096 characters.')
  const provider: Provider = {
    name,
    pool,
    issuerUri,
    mapping: readMapping(input.attributeMapping),
    condition:
      attributeCondition === ''
        ? null
        : compiled(attributeCondition, ['assertion', 'google', 'attribute']),
    audiences:
      allowedAudiences.length > 0
        ? [...allowedAudiences]
        : [`//iam.googleapis.com/${name}`, `https://iam.googleapis.com/${name}`],
    jwks: input.jwksJson === undefined ? null : readJwks(input.jwksJson),
    disabled: false,
  }
  state.providers.set(name, provider)
  return provider
}

function isIssuer(uri: string, httpLoopback: boolean): boolean {
  if (httpLoopback && isHttpLoopback(uri)) return true
  return /^https:\/\/[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?:\/[A-Za-z0-9._~/-]*)?$/.test(uri)
}

function readMapping(written: Readonly<Record<string, string>>): ReadonlyMap<string, Program> {
  const entries = Object.entries(written)
  if (!Object.hasOwn(written, 'google.subject')) throw invalid('google.subject must be mapped.')
  if (entries.length > 51) throw invalid('At most 50 custom attributes.')
  return new Map(
    entries.map(([key, expression]) => {
      if (key !== 'google.subject' && !/^attribute\.[a-z0-9_]{1,100}$/.test(key)) {
        throw invalid(`${key} cannot be mapped.`)
      }
      if (expression.length > 2048) throw invalid('An expression has over 2048 characters.')
      return [key, compiled(expression, ['assertion'])]
    }),
  )
}

function compiled(source: string, roots: readonly string[]): Program {
  try {
    return compile(source, roots)
  } catch (problem) {
    throw invalid(`The expression is refused: ${(problem as CelError).message}`)
  }
}

function readJwks(text: string): readonly Jwk[] {
  const known = ['kty', 'alg', 'use', 'kid', 'n', 'e', 'x', 'y', 'crv']
  const jwks = parsed(text)
  if (!isJwks(jwks)) throw invalid('Input JWK is not in a valid json format')
  const odd = jwks.keys.flatMap((key) => Object.keys(key)).find((name) => !known.includes(name))
  if (odd !== undefined) throw invalid('Input JWK is not in a valid json format')
  return jwks.keys
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return null
  }
}

const EMAIL =
  /^[a-z](?:[a-z0-9-]{4,28}[a-z0-9])@[a-z][a-z0-9-]{4,28}[a-z0-9]\.iam\.gserviceaccount\.com$/

/** Throws GcpError `INVALID_ARGUMENT`, `ALREADY_EXISTS`. */
export function addServiceAccount(state: State, email: string): void {
  if (!EMAIL.test(email)) throw invalid('<6 to 30 characters>@<project>.iam.gserviceaccount.com')
  if (state.accounts.has(email)) throw exists(email)
  state.accounts.set(email, { email, policy: [], disabled: false })
}

/** Throws GcpError `INVALID_ARGUMENT`, `ALREADY_EXISTS`. */
export function addBucket(state: State, name: string): void {
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/.test(name)) throw invalid('Invalid bucket name')
  if (state.buckets.has(name)) throw exists(name)
  state.buckets.set(name, { policy: [], objects: new Map() })
}

/** `resource` is a service account's address or a bucket's name. Throws GcpError as IAM would. */
export function bind(state: State, resource: string, binding: Binding): void {
  const { role, member } = binding
  const target = state.accounts.get(resource) ?? state.buckets.get(resource)
  if (target === undefined) throw new GcpError('NOT_FOUND', `There is no ${resource}.`)
  if (!Object.hasOwn(ROLES, role)) throw invalid(`Role ${role} is not supported for this resource.`)
  if (!isMember(member)) throw invalid(`The member ${member} is of an unknown type.`)
  if (!target.policy.some((one) => one.role === role && one.member === member)) {
    target.policy.push({ role, member })
  }
}

const IN_POOL =
  '//iam\\.googleapis\\.com/projects/[1-9]\\d*/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/'

/** `allUsers` and the like would make a wrong binding look right. */
function isMember(member: string): boolean {
  return [
    new RegExp(`^principal:${IN_POOL}subject/.+$`),
    new RegExp(`^principalSet:${IN_POOL}(?:\\*|attribute\\.[a-z0-9_]{1,100}/.+)$`),
    /^serviceAccount:[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com$/,
  ].some((pattern) => pattern.test(member))
}

function invalid(message: string): GcpError {
  return new GcpError('INVALID_ARGUMENT', message)
}

function exists(name: string): GcpError {
  return new GcpError('ALREADY_EXISTS', `${name} already exists.`)
}
