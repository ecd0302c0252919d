import { accept, type Accepted } from '../../refusal.ts'
import { Secret } from '../../secret.ts'
import type { GcpBoundaryRule } from '../../policy/grant.ts'
import { accessBoundaryOptions } from '../../policy/target-gcp.ts'
import { unlike } from './error.ts'
import type { Post } from './post.ts'
import type { MintRefusal } from '../target.ts'

/** A token of Google's, and when it ends. */
export interface AccessToken {
  readonly token: Secret
  /** Milliseconds; null where Google does not say. */
  readonly expiresAt: number | null
}

/** Closed, because it becomes an environment variable of the job. */
export const ACCESS_TOKEN = /^[\w.~+/-]{16,12288}=*$/

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token'
const JWT = 'urn:ietf:params:oauth:token-type:jwt'

/** The full resource name of a provider: the audience of our JWT and of its exchange. */
export const audienceOf = (provider: string): string => `//iam.googleapis.com/${provider}`

/** Our JWT for a federated token (STS API reference, `token`; RFC 8693 section 2.1). */
export const federationRequest = (
  endpoint: string,
  provider: string,
  scopes: readonly string[],
  jwt: Secret,
): Post =>
  exchangeRequest(endpoint, jwt, {
    audience: audienceOf(provider),
    scope: scopes.join(' '),
    subject_token_type: JWT,
  })

/** A service account's token for the same one cut down (Credential Access Boundaries). */
export const boundaryRequest = (
  endpoint: string,
  rules: readonly GcpBoundaryRule[],
  token: Secret,
): Post =>
  exchangeRequest(endpoint, token, {
    options: accessBoundaryOptions(rules),
    subject_token_type: ACCESS,
  })

const exchangeRequest = (
  endpoint: string,
  token: Secret,
  more: Readonly<Record<string, string>>,
): Post => ({
  url: `${endpoint}/v1/token`,
  headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
  body: new URLSearchParams({
    grant_type: EXCHANGE,
    requested_token_type: ACCESS,
    subject_token: token.reveal(),
    ...more,
  }).toString(),
  secrets: [token],
})

/** What an answer of STS is held against. */
export interface Exchanged {
  /** What went in: its coming back unchanged would be no exchange. */
  readonly subject: Secret
  /** null: the scopes stay those of the token that went in. */
  readonly scopes: readonly string[] | null
  /** Milliseconds: before the request went out, so that the end is told no later than it is. */
  readonly askedAt: number
}

/** RFC 8693 section 2.2.1: `scope` is there when it is not what was asked. */
export const readExchange = (
  answer: unknown,
  { subject, scopes, askedAt }: Exchanged,
): Accepted<AccessToken> | MintRefusal => {
  const said = record(answer)
  const token = said['access_token']
  if (typeof token !== 'string' || !ACCESS_TOKEN.test(token)) return unlike('AnswerIncomplete')
  if (said['issued_token_type'] !== ACCESS || !isBearer(said['token_type']))
    return unlike('AnswerOfAnotherKind')
  if (token === subject.reveal()) return unlike('TokenNotExchanged')
  if (isWider(said['scope'], scopes)) return unlike('ScopeNotAsAsked')
  const expiresAt = endOf(said['expires_in'], askedAt)
  return Number.isNaN(expiresAt)
    ? unlike('ExpirationNotAsAsked')
    : accept({ token: new Secret(token), expiresAt })
}

const isBearer = (type: unknown): boolean =>
  typeof type === 'string' && type.toLowerCase() === 'bearer'

const isWider = (scope: unknown, asked: readonly string[] | null): boolean => {
  if (scope === undefined || asked === null) return false
  return typeof scope !== 'string' || scope.split(' ').some((one) => !asked.includes(one))
}

/** NaN: it is there and no time. */
const endOf = (seconds: unknown, askedAt: number): number | null => {
  if (seconds === undefined) return null
  return typeof seconds === 'number' && Number.isSafeInteger(seconds) && seconds > 0
    ? askedAt + seconds * 1000
    : Number.NaN
}

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
