import type { AwsGrant, SessionPolicy } from '../../policy/grant.ts'
import { composeSessionPolicy } from '../../policy/session-policy.ts'
import { fillTemplates } from '../../policy/template.ts'
import { accept, type Accepted } from '../../refusal.ts'
import { pinnable } from './address.ts'
import type { MintOrder, MintRefusal } from '../target.ts'

/** The grant's session policy for this job, with the broker's denies: as sent to STS. */
export const sessionPolicyOf = (
  spec: AwsGrant,
  order: MintOrder,
): Accepted<string> | MintRefusal => {
  const filled = filledPolicy(spec, order)
  if (!filled.ok) return filled
  const addresses = addressesOf(spec, order)
  if (!addresses.ok) return addresses
  const denies = { expiresAt: order.expiresAt, addresses: addresses.value }
  return accept(composeSessionPolicy(spec, filled.value, denies))
}

const filledPolicy = (
  { sessionPolicy }: AwsGrant,
  { principal }: MintOrder,
): Accepted<SessionPolicy | null> | MintRefusal => {
  if (sessionPolicy === null) return accept(null)
  const filled = fillTemplates(sessionPolicy, principal.claims)
  return filled.ok ? filled : { ...filled, code: 'template_value_refused', target: 'aws' }
}

const addressesOf = (
  { pinSourceIp }: AwsGrant,
  { address }: MintOrder,
): Accepted<readonly string[] | null> | MintRefusal => {
  if (pinSourceIp === false) return accept(null)
  if (pinSourceIp !== true) return accept(pinSourceIp)
  const pinned = pinnable(address)
  return pinned === null
    ? { ok: false, code: 'address_unpinnable', target: 'aws' }
    : accept([pinned])
}
