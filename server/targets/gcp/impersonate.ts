import { accept, type Accepted } from '../../refusal.ts'
import { Secret } from '../../secret.ts'
import { unlike } from './error.ts'
import { postJson, type Post, type PostParts } from './post.ts'
import { ACCESS_TOKEN, type AccessToken } from './sts.ts'
import type { MintRefusal } from '../target.ts'

/** What generateAccessToken is asked. */
export interface Impersonation {
  /** The service account's e-mail address. */
  readonly email: string
  readonly scopes: readonly string[]
  /** Seconds. */
  readonly lifetime: number
  /** Who asks: the federated token. */
  readonly federated: Secret
}

/**
 * A service account's access token. Never rejects; ends when `signal` aborts. A port, so that a client library can take
 * the place of the POST below.
 */
export type GenerateAccessToken = (
  asked: Impersonation,
  signal: AbortSignal,
) => Promise<Accepted<AccessToken> | MintRefusal>

/** `projects.serviceAccounts.generateAccessToken` of the IAM Service Account Credentials API, by one bounded POST. */
export const generateByPost =
  (endpoint: string, parts: Omit<PostParts, 'signal'>): GenerateAccessToken =>
  async (asked, signal) => {
    const answer = await postJson(impersonationRequest(endpoint, asked), { ...parts, signal })
    return answer.ok ? readImpersonation(answer.value) : answer
  }

const impersonationRequest = (
  endpoint: string,
  { email, scopes, lifetime, federated }: Impersonation,
): Post => ({
  // `-` is all that is taken for the project; the address passed a closed pattern when the policy was read.
  url: `${endpoint}/v1/projects/-/serviceAccounts/${email}:generateAccessToken`,
  headers: {
    'content-type': 'application/json',
    accept: 'application/json',
    authorization: `Bearer ${federated.reveal()}`,
  },
  body: JSON.stringify({ scope: scopes, lifetime: `${lifetime}s` }),
  secrets: [federated],
})

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/

const readImpersonation = (answer: unknown): Accepted<AccessToken> | MintRefusal => {
  const { accessToken: token, expireTime: end } = (answer ?? {}) as Record<string, unknown>
  if (typeof token !== 'string' || !ACCESS_TOKEN.test(token)) return unlike('AnswerIncomplete')
  const expiresAt = typeof end === 'string' && RFC3339.test(end) ? Date.parse(end) : Number.NaN
  return Number.isNaN(expiresAt)
    ? unlike('ExpirationNotAsAsked')
    : accept({ token: new Secret(token), expiresAt })
}
