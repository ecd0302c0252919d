import {
  AssumeRoleWithWebIdentityCommand,
  STSClient,
  type AssumeRoleWithWebIdentityCommandInput,
  type AssumeRoleWithWebIdentityCommandOutput,
} from '@aws-sdk/client-sts'
import { signCloudToken } from '../issuer/sign.ts'
import type { Signer } from '../issuer/signer.ts'
import type { AwsGrant } from '../policy/grant.ts'
import { accept, type Accepted } from '../refusal.ts'
import type { Secret } from '../secret.ts'
import type { World } from '../world.ts'
import { AWS_REVOCABLE, readAssumedRole } from './aws/answer.ts'
import { awsClaims } from './aws/claims.ts'
import { outOfTime, refusalOf } from './aws/error.ts'
import { sessionPolicyOf } from './aws/policy.ts'
import { assumeRoleRequest } from './aws/request.ts'
import { retried, within } from './bounded.ts'
import type { MintOrder, MintRefusal, SealedAws, Target } from './target.ts'

export interface AwsParts {
  /** Holds the cloud issuer's key. */
  readonly signer: Signer
  readonly issuerUrl: string
  /** Where STS answers; null: the regional endpoint of the grant's region. */
  readonly endpoint: string | null
  readonly world: Pick<World, 'random' | 'sleep'>
  /** Milliseconds that one exchange may take, retries included. */
  readonly limit?: number
}

/** The audience that IAM's OIDC providers expect. */
export const AWS_AUDIENCE = 'sts.amazonaws.com'

const LIMIT = 10_000

/** AssumeRoleWithWebIdentity with our own token: the broker needs no AWS credentials. */
export const awsTarget = (parts: AwsParts): Target<AwsGrant, SealedAws> => {
  const limit = parts.limit ?? LIMIT
  const clientFor = stsClients(parts.endpoint, limit)
  return {
    name: 'aws',
    revocable: AWS_REVOCABLE,
    mint: async (spec, order) => {
      const policy = sessionPolicyOf(spec, order)
      if (!policy.ok) return policy
      const jwt = await cloudToken(parts, spec, order)
      if (!jwt.ok) return jwt
      const input = assumeRoleRequest(spec, order, policy.value, jwt.value)
      const signal = AbortSignal.any([order.signal, AbortSignal.timeout(limit)])
      const call = () => assume(clientFor(spec.region), input, signal)
      const answer = await retried(call, isTransient, parts.world, signal)
      return answer.ok ? readAssumedRole(answer.value, { spec, order, input }) : answer
    },
  }
}

const isTransient = (answer: Answer): boolean => !answer.ok && answer.code === 'target_unavailable'

const cloudToken = async (
  { signer, issuerUrl, world }: AwsParts,
  spec: AwsGrant,
  order: MintOrder,
): Promise<Accepted<Secret> | MintRefusal> => {
  try {
    const jwt = await signCloudToken(signer, {
      issuer: issuerUrl,
      audience: AWS_AUDIENCE,
      grant: order.grant.name,
      job: order.principal.job,
      repositoryId: order.principal.repositoryId,
      jti: Buffer.from(world.random(16)).toString('base64url'),
      now: order.now,
      aws: awsClaims(spec, order),
    })
    return accept(jwt)
  } catch {
    return { ok: false, code: 'signer_unavailable', target: 'aws' }
  }
}

type Answer = Accepted<AssumeRoleWithWebIdentityCommandOutput> | MintRefusal

/** The exception ends here: the SDK hangs request and response, and so our token, on it. */
const assume = async (
  client: STSClient,
  input: AssumeRoleWithWebIdentityCommandInput,
  signal: AbortSignal,
): Promise<Answer> => {
  try {
    const sent = client.send(new AssumeRoleWithWebIdentityCommand(input), { abortSignal: signal })
    const output = await within(signal, sent)
    return output === null ? outOfTime : accept(output)
  } catch (error) {
    return signal.aborted ? outOfTime : refusalOf(error)
  }
}

/** One client, and so one pool of connections, per region. Regions come from the policy and are few. */
const stsClients = (endpoint: string | null, limit: number): ((region: string) => STSClient) => {
  const clients = new Map<string, STSClient>()
  return (region) => {
    const client = clients.get(region) ?? stsClient(endpoint, region, limit)
    clients.set(region, client)
    return client
  }
}

const stsClient = (endpoint: string | null, region: string, limit: number): STSClient =>
  new STSClient({
    region,
    ...(endpoint !== null && { endpoint }),
    // AWS_ENDPOINT_URL in the broker's environment must not choose who is sent our tokens.
    ignoreConfiguredEndpointUrls: true,
    // Retries are ours: the SDK's table holds more codes than ours.
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: Math.ceil(limit * 0.3),
      requestTimeout: Math.ceil(limit * 0.4),
      throwOnRequestTimeout: true,
      httpsAgent: { maxSockets: 256 },
    },
  })
