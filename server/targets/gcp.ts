import type { Signer } from '../issuer/signer.ts'
import type { GcpBoundaryRule, GcpGrant } from '../policy/grant.ts'
import { accept, type Accepted } from '../refusal.ts'
import type { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import { within } from './bounded.ts'
import { GCP_REVOCABLE, readMinted } from './gcp/answer.ts'
import { assertion } from './gcp/assertion.ts'
import { outOfTime, unlike } from './gcp/error.ts'
import { generateByPost, type GenerateAccessToken } from './gcp/impersonate.ts'
import { postJson, type PostParts } from './gcp/post.ts'
import { boundaryRequest, federationRequest, readExchange, type AccessToken } from './gcp/sts.ts'
import type { MintOrder, MintRefusal, SealedGcp, Target } from './target.ts'

export type { GenerateAccessToken } from './gcp/impersonate.ts'

export interface GcpParts {
  /** Holds the cloud issuer's key. */
  readonly signer: Signer
  readonly issuerUrl: string
  /** Where STS and IAM Credentials answer, without a trailing slash; null: Google's own hosts. */
  readonly endpoint: string | null
  readonly world: Pick<World, 'now' | 'random' | 'sleep' | 'fetch'>
  /** Default: a POST of our own. */
  readonly generateAccessToken?: GenerateAccessToken
  /** Milliseconds that one mint may take, retries included. */
  readonly limit?: number
}

const STS = 'https://sts.googleapis.com'
const IAM_CREDENTIALS = 'https://iamcredentials.googleapis.com'
const LIMIT = 10_000

/** Who acts as a service account needs no other scope to ask for its token; what the token may do is asked for there. */
const TO_IMPERSONATE = ['https://www.googleapis.com/auth/cloud-platform']

/** Workload identity federation with our own token: the broker needs no Google credentials. */
export const gcpTarget = (parts: GcpParts): Target<GcpGrant, SealedGcp> => ({
  name: 'gcp',
  revocable: GCP_REVOCABLE,
  mint: async (spec, order) => {
    const call = callOf(parts, order)
    if (call.signal.aborted) return outOfTime
    const jwt = await assertion(parts, spec, order)
    if (!jwt.ok) return jwt
    const federated = await federate(spec, jwt.value, call)
    if (!federated.ok) return federated
    const acting = await actAs(spec, federated.value, order, call)
    if (!acting.ok) return acting
    const bounded = await bound(spec.accessBoundary, acting.value, call)
    return bounded.ok ? readMinted(bounded.value, spec, order) : bounded
  },
})

type Answer = Accepted<AccessToken> | MintRefusal

interface Call extends PostParts {
  readonly sts: string
  readonly now: World['now']
  readonly generateAccessToken: GenerateAccessToken
}

const callOf = ({ endpoint, world, limit = LIMIT, ...parts }: GcpParts, order: MintOrder): Call => {
  const bounds = { world, tryLimit: Math.ceil(limit * 0.4) }
  return {
    ...bounds,
    signal: AbortSignal.any([order.signal, AbortSignal.timeout(limit)]),
    sts: endpoint ?? STS,
    now: world.now,
    generateAccessToken:
      parts.generateAccessToken ?? generateByPost(endpoint ?? IAM_CREDENTIALS, bounds),
  }
}

const federate = async (spec: GcpGrant, jwt: Secret, call: Call): Promise<Answer> => {
  const scopes = spec.serviceAccount === null ? spec.scopes : TO_IMPERSONATE
  const askedAt = call.now()
  const answer = await postJson(federationRequest(call.sts, spec.provider, scopes, jwt), call)
  return answer.ok ? readExchange(answer.value, { subject: jwt, scopes, askedAt }) : answer
}

/** The service account's token; with direct federation the federated token itself. */
const actAs = async (
  { serviceAccount, scopes }: GcpGrant,
  federated: AccessToken,
  order: MintOrder,
  call: Call,
): Promise<Answer> => {
  if (serviceAccount === null) return accept(federated)
  const lifetime = secondsLeft(order, call.now())
  if (lifetime < 1) return outOfTime
  const asked = { email: serviceAccount, scopes, lifetime, federated: federated.token }
  const answer =
    (await within(call.signal, call.generateAccessToken(asked, call.signal))) ?? outOfTime
  return answer.ok && answer.value.token.reveal() === federated.token.reveal()
    ? unlike('TokenNotExchanged')
    : answer
}

/** The whole ttl when asked within a second; what earlier legs took longer is not added to the end. */
const secondsLeft = ({ ttl, expiresAt }: MintOrder, now: number): number =>
  Math.min(ttl, Math.ceil((expiresAt - now) / 1000))

/** The same token within its boundary. Google need not say when it ends: no later than the one it is made from. */
const bound = async (
  rules: readonly GcpBoundaryRule[] | null,
  acting: AccessToken,
  call: Call,
): Promise<Answer> => {
  if (rules === null) return accept(acting)
  const askedAt = call.now()
  const answer = await postJson(boundaryRequest(call.sts, rules, acting.token), call)
  if (!answer.ok) return answer
  const read = readExchange(answer.value, { subject: acting.token, scopes: null, askedAt })
  return read.ok
    ? accept({ ...read.value, expiresAt: read.value.expiresAt ?? acting.expiresAt })
    : read
}
