import type { TargetName } from '../api.ts'
import type { Principal } from '../identity/principal.ts'
import { matches } from './glob.ts'
import type {
  AwsGrant,
  AzureGrant,
  GcpGrant,
  Grant,
  Guardrail,
  TargetSpecs,
  Test,
  TokenGrant,
} from './grant.ts'
import { escapes, traceLaw } from './hold.ts'

type Facts<Spec> = Readonly<Record<string, (spec: Spec) => readonly string[]>>

const AWS: Facts<AwsGrant> = {
  role: ({ role }) => [role],
  account: ({ accountId }) => [accountId],
  region: ({ region }) => [region],
  session_policy: ({ sessionPolicy }) => (sessionPolicy === null ? [] : ['present']),
  managed_policies: ({ managedPolicies }) => managedPolicies,
  pin_source_ip: ({ pinSourceIp }) =>
    pinSourceIp === true ? ['true'] : pinSourceIp === false ? [] : pinSourceIp,
  chaining: ({ chaining }) => [String(chaining)],
}

const AZURE: Facts<AzureGrant> = {
  tenant: ({ tenant }) => [tenant],
  client: ({ client }) => [client],
  subscription: ({ subscription }) => (subscription === null ? [] : [subscription]),
  scopes: ({ scopes }) => scopes,
}

const GCP: Facts<GcpGrant> = {
  provider: ({ provider }) => [provider],
  service_account: ({ serviceAccount }) => (serviceAccount === null ? [] : [serviceAccount]),
  project: ({ project }) => [project],
  scopes: ({ scopes }) => scopes,
  access_boundary: ({ accessBoundary }) => (accessBoundary === null ? [] : ['present']),
}

const TOKEN: Facts<TokenGrant> = {
  audience: ({ audience }) => [audience],
  scope: ({ scope }) => scope,
}

/** What a guardrail can speak of in each target's section, and its values in a grant; none: the section has no such thing. */
const FACTS = { aws: AWS, azure: AZURE, gcp: GCP, token: TOKEN } satisfies {
  [Name in TargetName]: Facts<Required<TargetSpecs>[Name]>
}

export const FACT_PATHS: readonly string[] = Object.entries(FACTS).flatMap(([target, facts]) =>
  Object.keys(facts).map((fact) => `${target}.${fact}`),
)

/** Facts that take no wildcard. */
export const LITERAL_FACTS: readonly string[] = [
  'azure.scopes',
  'gcp.scopes',
  'token.audience',
  'token.scope',
]

/** Does this law speak of this grant in the hands of this principal? */
export const forbids = (guardrail: Guardrail, grant: Grant, principal: Principal): boolean =>
  (guardrail.grant === null || matches(guardrail.grant, grant.name)) &&
  (guardrail.target === null ||
    guardrail.target.every(({ path, test }) => speaksOf(path, test, grant.targets))) &&
  (guardrail.when === null || traceLaw(guardrail.when, principal).held)

const speaksOf = (path: string, test: Test, targets: TargetSpecs): boolean => {
  const values = factOf(path, targets)
  return values !== null && holds(test, values)
}

/** null: the grant has no such target. */
const factOf = (
  path: string,
  { aws, azure, gcp, token }: TargetSpecs,
): readonly string[] | null => {
  const [target, fact = ''] = path.split('.')
  if (target === 'aws' && aws !== undefined) return AWS[fact]?.(aws) ?? null
  if (target === 'azure' && azure !== undefined) return AZURE[fact]?.(azure) ?? null
  if (target === 'gcp' && gcp !== undefined) return GCP[fact]?.(gcp) ?? null
  if (target === 'token' && token !== undefined) return TOKEN[fact]?.(token) ?? null
  return null
}

/**
 * Of several values one forbidden one is enough, or one that no wildcard may judge; `not` also forbids there being none at all.
 */
const holds = (test: Test, values: readonly string[]): boolean => {
  if (test.is === 'absent') return values.length === 0
  const known = (value: string): boolean => test.patterns.some((pattern) => matches(pattern, value))
  if (test.is === 'any_of')
    return values.some((value) => known(value) || escapes(test.patterns, value))
  return values.length === 0 || !values.every(known)
}
