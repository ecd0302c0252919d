import type { GcpBoundaryRule, GcpGrant, Place } from './grant.ts'
import { collectFindings, type Say } from './problem.ts'
import { invalid, readFields, readList, readText, readTexts, type Fields } from './read.ts'
import type { Node } from './yaml.ts'

const KEYS = {
  required: ['provider', 'project', 'scopes'],
  optional: ['service_account', 'access_boundary'],
}
const RULE_KEYS = { required: ['resource', 'permissions'], optional: ['condition'] }

/** IAM API, workloadIdentityPools.create: 4 to 32 of [a-z0-9-], `gcp-` is Google's own. */
const POOL = '(?!gcp-)[a-z0-9-]{4,32}'
export const PROVIDER = {
  pattern: new RegExp(
    `^projects/[1-9][0-9]{0,18}/locations/global/workloadIdentityPools/${POOL}/providers/${POOL}$`,
  ),
  hint: 'projects/<project number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>; the number, not the id; pool and provider have 4 to 32 characters',
}
/** Old projects are named within a domain: `example.com:acme-prod`. */
const PROJECT = {
  pattern: /^(?:[a-z0-9][a-z0-9.-]{0,62}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$/,
  hint: 'a project id, e.g. acme-prod',
}
const SERVICE_ACCOUNT = {
  pattern: /^[a-z0-9][a-z0-9-]{0,62}@(?:[a-z0-9][a-z0-9-]*\.)+gserviceaccount\.com$/,
  hint: '<name>@<project>.iam.gserviceaccount.com; leave the key out for direct federation',
}
const SCOPE = {
  pattern: /^https:\/\/www\.googleapis\.com\/auth\/[a-z0-9][a-z0-9._-]{0,127}$/,
  hint: 'the whole URL, e.g. https://www.googleapis.com/auth/cloud-platform',
}
const BUCKET = {
  pattern:
    /^\/\/storage\.googleapis\.com\/projects\/_\/buckets\/[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/,
  hint: '//storage.googleapis.com/projects/_/buckets/<bucket>: boundaries are for Cloud Storage only',
}
const PERMISSION = {
  pattern: /^inRole:roles\/storage\.[A-Za-z]{1,64}$/,
  hint: 'inRole:roles/storage.<role>, e.g. inRole:roles/storage.objectViewer',
}
/** Templates do not stand here: one that was taken for one would be matched letter by letter. */
const CONDITION = {
  pattern: /^(?! *$)(?!.*\$\{)[\x20-\x7e]{1,1024}$/,
  hint: 'a CEL expression in printable ASCII, without ${…}',
}
const MAX_EMAIL = 254
const MAX_SCOPES = 32
const MAX_RULES = 10
/** STS API, `options.accessBoundary`. */
const MAX_BOUNDARY = 2048

/** The `gcp` section; null when anything in it was complained of. */
export const readGcp = (node: Node, say: Say): GcpGrant | null => {
  const { say: note, problems } = collectFindings()
  const fields = readFields(node, 'gcp', KEYS, note)
  const grant = fields === null ? null : readSection(fields, note)
  problems.forEach(say)
  return problems.length > 0 ? null : grant
}

/** The `options` of an STS request, as JSON: what a token is to be cut down to. */
export const accessBoundaryOptions = (rules: readonly GcpBoundaryRule[]): string =>
  JSON.stringify({
    accessBoundary: {
      accessBoundaryRules: rules.map(({ resource, permissions, condition }) => ({
        availableResource: resource,
        availablePermissions: permissions,
        ...(condition !== null && { availabilityCondition: { expression: condition } }),
      })),
    },
  })

const readSection = (fields: Fields, say: Say): GcpGrant => {
  const [provider, project, scopes] = KEYS.required.map(fields.get)
  const [account, boundary] = KEYS.optional.map(fields.get)
  if (boundary && !account)
    say(
      invalid(
        boundary.at,
        'access_boundary needs a service_account',
        'Google cuts down the tokens of service accounts only',
      ),
    )
  return {
    provider: (provider && readText(provider, 'provider', PROVIDER, say)) ?? '',
    project: (project && readText(project, 'project', PROJECT, say)) ?? '',
    scopes: scopes ? readScopes(scopes, say) : [],
    serviceAccount: account ? readAccount(account, say) : null,
    accessBoundary: boundary ? readBoundary(boundary, say) : null,
  }
}

const readScopes = (node: Node, say: Say): readonly string[] => {
  const scopes = readTexts(node, 'scopes', SCOPE, say) ?? []
  if (scopes.length > MAX_SCOPES) say(invalid(node.at, 'too many scopes', `at most ${MAX_SCOPES}`))
  return scopes
}

const readAccount = (node: Node, say: Say): string | null => {
  const email = readText(node, 'service_account', SERVICE_ACCOUNT, say)
  return email !== null && email.length > MAX_EMAIL
    ? say(invalid(node.at, 'service_account is refused', SERVICE_ACCOUNT.hint))
    : email
}

const readBoundary = (node: Node, say: Say): readonly GcpBoundaryRule[] => {
  const items = readList(node, 'access_boundary', say)?.items ?? []
  if (items.length > MAX_RULES)
    say(invalid(node.at, 'too many rules in access_boundary', `at most ${MAX_RULES}`))
  const rules = items.map((item) => readRule(item, say)).filter((rule) => rule !== null)
  refuseTooLong(rules, node.at, say)
  return rules
}

const readRule = (node: Node, say: Say): GcpBoundaryRule | null => {
  const fields = readFields(node, 'a rule of access_boundary', RULE_KEYS, say)
  if (fields === null) return null
  const [resource, permissions] = RULE_KEYS.required.map(fields.get)
  const condition = fields.get('condition')
  return {
    resource: (resource && readText(resource, 'resource', BUCKET, say)) ?? '',
    permissions: (permissions && readTexts(permissions, 'permissions', PERMISSION, say)) ?? [],
    condition: condition && readText(condition, 'condition', CONDITION, say),
  }
}

const refuseTooLong = (rules: readonly GcpBoundaryRule[], at: Place, say: Say): void => {
  const size = accessBoundaryOptions(rules).length
  if (size > MAX_BOUNDARY)
    say(
      invalid(
        at,
        `access_boundary takes ${size} characters as JSON, and Google takes ${MAX_BOUNDARY}`,
        'fewer rules, or shorter conditions',
      ),
    )
}
