import { signCloudToken } from '../issuer/sign.ts'
import type { Signer } from '../issuer/signer.ts'
import { accept, type Accepted } from '../refusal.ts'
import type { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import {
  AZURE_REVOCABLE,
  checkedToken,
  mintedAzure,
  type Asked,
  type CheckedToken,
} from './azure/answer.ts'
import { entraByPost, type AskEntra } from './azure/exchange.ts'
import type { AzureRefusal, AzureTarget } from './azure/reply.ts'
import { retried } from './bounded.ts'

export interface AzureParts {
  /** Holds the cloud issuer's key. */
  readonly signer: Signer
  readonly issuerUrl: string
  /** Origin of the login host; null: the public cloud's. */
  readonly authority: string | null
  readonly world: Pick<World, 'random' | 'sleep' | 'fetch'>
  /** How Entra is asked; a POST of our own when absent. */
  readonly ask?: AskEntra
  /** Milliseconds that one exchange may take, retries included. */
  readonly limit?: number
}

/** The audience that Entra recommends for federated credentials. */
export const AZURE_AUDIENCE = 'api://AzureADTokenExchange'

const PUBLIC_CLOUD = 'https://login.microsoftonline.com'
const LIMIT = 10_000

/**
 * A token of Entra for each of the grant's scopes, for our own token as client assertion: the broker holds no secret of the app. Entra
 * decides how long they live; what is longer than the grant accepts is refused.
 */
export const azureTarget = (parts: AzureParts): AzureTarget => {
  const limit = parts.limit ?? LIMIT
  const authority = parts.authority ?? PUBLIC_CLOUD
  const ask = parts.ask ?? entraByPost({ authority, fetch: parts.world.fetch })
  return {
    name: 'azure',
    revocable: AZURE_REVOCABLE,
    mint: async (spec, order) => {
      const signal = AbortSignal.any([order.signal, AbortSignal.timeout(limit)])
      const asking = spec.scopes.map((scope) => {
        const asked = { spec, order, scope, correlationId: uuid(parts.world) }
        return oneToken(parts, ask, asked, { signal, limit })
      })
      const tokens: CheckedToken[] = []
      for (const token of await Promise.all(asking)) {
        if (!token.ok) return token
        tokens.push(token.value)
      }
      return mintedAzure(spec, tokens)
    },
  }
}

interface Bound {
  readonly signal: AbortSignal
  readonly limit: number
}

const oneToken = async (
  parts: AzureParts,
  ask: AskEntra,
  asked: Asked,
  { signal, limit }: Bound,
): Promise<Accepted<CheckedToken> | AzureRefusal> => {
  const assertion = await cloudToken(parts, asked)
  if (!assertion.ok) return assertion
  const { spec, order, scope, correlationId } = asked
  const once = () =>
    ask({
      tenant: spec.tenant,
      client: spec.client,
      scope,
      assertion: assertion.value,
      correlationId,
      now: order.now,
      // One try that hangs leaves time for another.
      signal: AbortSignal.any([signal, AbortSignal.timeout(Math.ceil(limit * 0.4))]),
    })
  const answer = await retried(once, isTransient, parts.world, signal)
  return answer.ok ? checkedToken(answer.value, asked) : answer
}

const isTransient = (answer: Awaited<ReturnType<AskEntra>>): boolean =>
  !answer.ok && answer.code === 'target_unavailable'

/** Entra matches issuer, subject and audience letter for letter, and reads nothing else of it. */
const cloudToken = async (
  { signer, issuerUrl, world }: AzureParts,
  { order }: Asked,
): Promise<Accepted<Secret> | AzureRefusal> => {
  try {
    const jwt = await signCloudToken(signer, {
      issuer: issuerUrl,
      audience: AZURE_AUDIENCE,
      grant: order.grant.name,
      job: order.principal.job,
      repositoryId: order.principal.repositoryId,
      jti: Buffer.from(world.random(16)).toString('base64url'),
      now: order.now,
    })
    return accept(jwt)
  } catch {
    return { ok: false, code: 'signer_unavailable', target: 'azure' }
  }
}

/** Version 4 (RFC 9562 section 5.4). */
const uuid = ({ random }: Pick<World, 'random'>): string => {
  const bytes = Buffer.from(random(16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  const hex = bytes.toString('hex')
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-')
}
