import { randomBytes } from 'node:crypto'
import { GcpError, json, type Answer } from './answer.ts'
import { readBoundary } from './boundary.ts'
import { judgeClaims, mapAttributes, readToken, verifySignature } from './identity-token.ts'
import { verificationKey, type Issuers } from './issuer.ts'
import type { Identity, Provider, State, Token } from './project.ts'
import { nameOf } from './roles.ts'

/** The Security Token Service: `POST /v1/token`. */
export interface StsWorld {
  readonly state: State
  readonly issuers: Issuers
  /** Milliseconds. */
  readonly now: number
}

/** What a call was about, for the log: verified facts, no secrets. Filled in as they become known. */
export type About = Record<string, string>

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const ACCESS = 'urn:ietf:params:oauth:token-type:access_token'
const IDENTITY = [
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:ietf:params:oauth:token-type:id_token',
]
const NAMES = [
  ...['grant_type', 'audience', 'scope', 'requested_token_type'],
  ...['subject_token', 'subject_token_type', 'options'],
]

/** Seconds. */
const LONGEST = 3600

/** Throws GcpError, with an OAuth code. */
export async function answerSts(
  form: URLSearchParams,
  world: StsWorld,
  about: About,
): Promise<Answer> {
  for (const name of new Set(form.keys())) {
    if (!NAMES.includes(name)) throw badRequest(`Unknown parameter "${name}".`)
    if (form.getAll(name).length > 1) throw badRequest(`"${name}" is repeated.`)
  }
  if (form.get('grant_type') !== EXCHANGE) {
    throw new GcpError('unsupported_grant_type', 'Invalid value for "grant_type".')
  }
  if (form.get('requested_token_type') !== ACCESS) {
    throw badRequest('Invalid value for "requested_token_type".')
  }
  const type = form.get('subject_token_type') ?? ''
  if (type === ACCESS) return cutDown(form, world, about)
  if (IDENTITY.includes(type)) return federate(form, world, about)
  throw badRequest('Invalid value for "subject_token_type".')
}

async function federate(form: URLSearchParams, world: StsWorld, about: About): Promise<Answer> {
  if (form.has('options')) throw badRequest('"options" is not for this exchange here.')
  const provider = findProvider(form.get('audience') ?? '', world.state)
  about['provider'] = provider.name
  const scopes = readScopes(form.get('scope') ?? '')
  const text = form.get('subject_token') ?? ''
  const token = readToken(text)
  // Before the issuer is asked for its key: nothing is asked of an issuer that is not the provider's.
  const exp = judgeClaims(token.claims, provider, world.now)
  verifySignature(text, await verificationKey(provider, token, world.issuers), provider.issuerUri)
  const { subject, attributes } = mapAttributes(token.claims, provider)
  about['subject'] = subject
  about['scope'] = scopes.join(' ')
  const seconds = Math.min(LONGEST, Math.floor(exp - world.now / 1000))
  const identity = { kind: 'federated', pool: provider.pool, subject, attributes } as const
  const expiresAt = world.now + seconds * 1000
  const access = handOut(world.state, 'd', { identity, scopes, expiresAt, boundary: null })
  return exchanged(access, seconds)
}

function findProvider(audience: string, { providers }: State): Provider {
  const name =
    /^\/\/iam\.googleapis\.com\/(projects\/\d+\/locations\/global\/workloadIdentityPools\/[^/]+\/providers\/[^/]+)$/.exec(
      audience,
    )?.[1]
  if (name === undefined) {
    throw badRequest(
      'Invalid value for "audience". This value should be the full resource name of the Identity Provider.',
    )
  }
  const provider = providers.get(name)
  if (provider === undefined || provider.disabled || provider.pool.disabled) {
    throw new GcpError(
      'invalid_target',
      'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn\'t exist.',
    )
  }
  return provider
}

function readScopes(scope: string): readonly string[] {
  const scopes = scope.split(' ')
  if (!scopes.every((one) => SCOPE.test(one))) {
    throw new GcpError('invalid_scope', 'A scope is missing, or is none of Google’s.')
  }
  return scopes
}

export const SCOPE = /^https:\/\/www\.googleapis\.com\/auth\/[a-z0-9._-]+$/

function cutDown(form: URLSearchParams, { state, now }: StsWorld, about: About): Answer {
  if (form.has('audience') || form.has('scope')) {
    throw badRequest('"audience" and "scope" are not for this exchange here.')
  }
  const token = state.tokens.get(form.get('subject_token') ?? '')
  if (token === undefined || !isAlive(token, now)) {
    throw new GcpError('invalid_grant', 'The subject token is invalid or has expired.')
  }
  about['principal'] = nameOf(state.number, token.identity)
  if (token.identity.kind !== 'account' || token.boundary !== null) {
    throw badRequest('The subject token cannot be downscoped.')
  }
  const boundary = readBoundary(form.get('options'))
  about['boundary'] = form.get('options') ?? ''
  // The end is that of the token that went in, and is not said (STS API reference, expires_in).
  return exchanged(handOut(state, 'dr', { ...token, boundary }))
}

/** Neither expired nor of somebody who has been switched off since. */
export function isAlive({ identity, expiresAt }: Token, now: number): boolean {
  return now < expiresAt && !isOff(identity)
}

function isOff(identity: Identity): boolean {
  return identity.kind === 'account' ? identity.account.disabled : identity.pool.disabled
}

/** Remembers a new access token and gives its text. */
export function handOut(state: State, kind: 'c' | 'd' | 'dr', token: Token): string {
  const text = `ya29.${kind}.${randomBytes(96).toString('base64url')}`
  state.tokens.set(text, token)
  return text
}

function exchanged(access_token: string, expires_in?: number): Answer {
  return json(200, { access_token, issued_token_type: ACCESS, token_type: 'Bearer', expires_in })
}

function badRequest(message: string): GcpError {
  return new GcpError('invalid_request', message)
}
