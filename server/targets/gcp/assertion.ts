import { signCloudToken } from '../../issuer/sign.ts'
import type { Signer } from '../../issuer/signer.ts'
import type { GcpGrant } from '../../policy/grant.ts'
import { accept, type Accepted } from '../../refusal.ts'
import type { Secret } from '../../secret.ts'
import type { World } from '../../world.ts'
import { unasked } from './error.ts'
import { audienceOf } from './sts.ts'
import type { MintOrder, MintRefusal } from '../target.ts'

export interface AssertionParts {
  /** Holds the cloud issuer's key. */
  readonly signer: Signer
  readonly issuerUrl: string
  readonly world: Pick<World, 'random'>
}

/** `google.subject` has at most 127 bytes (IAM API, WorkloadIdentityPoolProvider). */
const MAX_SUBJECT = 127

/** Our token for one exchange: a minute, or with direct federation until the end of the order, since Google's token ends with it. */
export const assertion = async (
  { signer, issuerUrl, world }: AssertionParts,
  spec: GcpGrant,
  order: MintOrder,
): Promise<Accepted<Secret> | MintRefusal> => {
  const { job, repositoryId } = order.principal
  if (Buffer.byteLength(job) > MAX_SUBJECT)
    return unasked('SubjectTooLong', `the job key has more than ${MAX_SUBJECT} bytes`)
  try {
    const jwt = await signCloudToken(signer, {
      issuer: issuerUrl,
      audience: audienceOf(spec.provider),
      grant: order.grant.name,
      job,
      repositoryId,
      jti: Buffer.from(world.random(16)).toString('base64url'),
      now: order.now,
      ...(spec.serviceAccount === null && { exp: Math.floor(order.expiresAt / 1000) }),
    })
    return accept(jwt)
  } catch {
    return { ok: false, code: 'signer_unavailable', target: 'gcp' }
  }
}
