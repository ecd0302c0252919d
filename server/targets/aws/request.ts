import type { AssumeRoleWithWebIdentityCommandInput } from '@aws-sdk/client-sts'
import type { AwsGrant } from '../../policy/grant.ts'
import type { Secret } from '../../secret.ts'
import { roleSessionName } from './claims.ts'
import type { MintOrder } from '../target.ts'

/** STS gives no shorter session; what the grant allows less is held by the session policy's time deny. */
const MIN_SECONDS = 900

/** The one call to STS. `policy` is the composed session policy, `jwt` our cloud issuer's token. */
export const assumeRoleRequest = (
  spec: AwsGrant,
  order: MintOrder,
  policy: string,
  jwt: Secret,
): AssumeRoleWithWebIdentityCommandInput => ({
  RoleArn: spec.role,
  RoleSessionName: roleSessionName(order),
  WebIdentityToken: jwt.reveal(),
  DurationSeconds: Math.max(MIN_SECONDS, order.ttl),
  Policy: policy,
  ...(spec.managedPolicies.length > 0 && {
    PolicyArns: spec.managedPolicies.map((arn) => ({ arn })),
  }),
})
