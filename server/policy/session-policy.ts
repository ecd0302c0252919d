import type { AwsGrant, SessionPolicy, SessionStatement } from './grant.ts'
import { longestTemplates } from './template.ts'

/** AWS counts the inline policy's characters and, in the same sum, the managed policies it is sent with. */
export const MAX_SESSION_POLICY = 2048

/** Longest address that can be pinned: an IPv6 address in full, as one block. */
const LONGEST_ADDRESS = `${'ffff:'.repeat(7)}ffff/128`

export interface BrokerDenies {
  /** Milliseconds; after that nothing is allowed. Whole seconds count, rounded down. */
  readonly expiresAt: number
  /** Addresses or CIDR blocks outside of which nothing is allowed; null when the grant pins none. */
  readonly addresses: readonly string[] | null
}

/**
 * The inline session policy that STS gets. `filled` is the grant's own policy with its templates filled, null when it
 * has none. With managed policies alone there is no Allow here: session permissions are the union of inline and managed
 * policies, so an Allow would undo the bound, while the denies hold over both.
 */
export const composeSessionPolicy = (
  grant: AwsGrant,
  filled: SessionPolicy | null,
  { expiresAt, addresses }: BrokerDenies,
): string => {
  if ((filled === null) !== (grant.sessionPolicy === null))
    throw new Error('the filled session policy is not of this grant')
  if ((grant.pinSourceIp === false) !== (addresses === null) || addresses?.length === 0)
    throw new Error('the addresses are not what this grant pins')
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      ...allowed(grant, filled),
      expiryDeny(expiresAt),
      ...(addresses === null ? [] : [addressDeny(addresses)]),
      ...(isBounded(grant) && !grant.chaining ? [CHAINING_DENY] : []),
    ],
  })
}

/** Characters that a composed policy takes of MAX_SESSION_POLICY. */
export const sessionPolicySize = ({ managedPolicies }: AwsGrant, composed: string): number =>
  managedPolicies.reduce((sum, arn) => sum + arn.length, composed.length)

/** The most that this grant's session policy can take: every template and address at its longest. */
export const longestSessionPolicy = (grant: AwsGrant): number =>
  sessionPolicySize(
    grant,
    composeSessionPolicy(
      grant,
      grant.sessionPolicy === null ? null : longestTemplates(grant.sessionPolicy),
      { expiresAt: 0, addresses: longestAddresses(grant) },
    ),
  )

const longestAddresses = ({ pinSourceIp }: AwsGrant): readonly string[] | null =>
  pinSourceIp === true ? [LONGEST_ADDRESS] : pinSourceIp === false ? null : pinSourceIp

const allowed = (
  { managedPolicies }: AwsGrant,
  filled: SessionPolicy | null,
): readonly SessionStatement[] => {
  if (filled !== null) return filled.Statement
  return managedPolicies.length > 0 ? [] : [{ Effect: 'Allow', Action: '*', Resource: '*' }]
}

/** Less than what its role may: by a policy, or to an address. Another role assumed from here would be neither. */
const isBounded = ({ sessionPolicy, managedPolicies, pinSourceIp }: AwsGrant): boolean =>
  sessionPolicy !== null || managedPolicies.length > 0 || pinSourceIp !== false

const CHAINING_DENY: SessionStatement = { Effect: 'Deny', Action: 'sts:AssumeRole', Resource: '*' }

const expiryDeny = (expiresAt: number): SessionStatement => ({
  Effect: 'Deny',
  Action: '*',
  Resource: '*',
  Condition: { DateGreaterThan: { 'aws:CurrentTime': isoSeconds(expiresAt) } },
})

/** Calls that AWS makes on the caller's behalf come from elsewhere: `aws:ViaAWSService`. */
const addressDeny = (addresses: readonly string[]): SessionStatement => ({
  Effect: 'Deny',
  Action: '*',
  Resource: '*',
  Condition: {
    NotIpAddress: { 'aws:SourceIp': addresses },
    Bool: { 'aws:ViaAWSService': 'false' },
  },
})

const isoSeconds = (ms: number): string =>
  new Date(Math.floor(ms / 1000) * 1000).toISOString().replace('.000Z', 'Z')
