import { GcpError } from './answer.ts'
import { CelError, compile, evaluateBoolean, type Program } from './cel.ts'
import type { BoundaryRule } from './project.ts'
import { ROLES, type Permission } from './roles.ts'

/** Credential Access Boundaries: what a token is cut down to, whatever its account may do. */

const BUCKET =
  /^\/\/storage\.googleapis\.com\/projects\/_\/buckets\/([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])$/

/** The `options` of an exchange. Throws GcpError `invalid_request`. */
export function readBoundary(options: string | null): readonly BoundaryRule[] {
  const { accessBoundary } = members(parsed(options ?? ''), ['accessBoundary'])
  if (JSON.stringify(accessBoundary ?? null).length > 2048) throw refused('it is too long')
  const { accessBoundaryRules: rules } = members(accessBoundary, ['accessBoundaryRules'])
  if (!Array.isArray(rules) || rules.length < 1 || rules.length > 10) {
    throw refused('1 to 10 rules')
  }
  return rules.map(readRule)
}

function readRule(rule: unknown): BoundaryRule {
  const { availableResource, availablePermissions, availabilityCondition } = members(
    rule,
    ['availableResource', 'availablePermissions'],
    ['availabilityCondition'],
  )
  const bucket = BUCKET.exec(typeof availableResource === 'string' ? availableResource : '')?.[1]
  if (bucket === undefined) throw refused('a resource that is no bucket')
  return {
    bucket,
    roles: readRoles(availablePermissions),
    condition: availabilityCondition === undefined ? null : readCondition(availabilityCondition),
  }
}

function readRoles(permissions: unknown): readonly string[] {
  const written: readonly unknown[] = Array.isArray(permissions) ? permissions : []
  const roles = written.map((one) => (typeof one === 'string' ? one.replace(/^inRole:/, '') : ''))
  const known = roles.every(
    (role, i) =>
      written[i] === `inRole:${role}` && role.startsWith('roles/storage.') && role in ROLES,
  )
  if (roles.length === 0 || !known) throw refused('a permission that is no role of Cloud Storage')
  return roles
}

function readCondition(condition: unknown): Program {
  const { expression } = members(condition, ['expression'], ['title', 'description'])
  try {
    return compile(typeof expression === 'string' ? expression : '', ['resource', 'api'])
  } catch (problem) {
    throw refused(problem instanceof CelError ? problem.message : 'the condition')
  }
}

/** What is asked of Cloud Storage, as conditions see it. */
export interface Ask {
  readonly bucket: string
  /** null: the bucket itself. */
  readonly object: string | null
  readonly permission: Permission
  /** The `prefix` of a listing. */
  readonly prefix: string
}

/** Does any rule let it through? A condition that cannot be worked out lets nothing through. */
export function isWithin(rules: readonly BoundaryRule[], ask: Ask): boolean {
  return rules.some(
    ({ bucket, roles, condition }) =>
      bucket === ask.bucket &&
      roles.some((role) => ROLES[role]?.includes(ask.permission) === true) &&
      (condition === null || holds(condition, ask)),
  )
}

function holds(condition: Program, { bucket, object, prefix }: Ask): boolean {
  const base = `projects/_/buckets/${bucket}`
  const resource = {
    name: object === null ? base : `${base}/objects/${object}`,
    type: `storage.googleapis.com/${object === null ? 'Bucket' : 'Object'}`,
    service: 'storage.googleapis.com',
  }
  const listing = prefix === '' ? {} : { 'storage.googleapis.com/objectListPrefix': prefix }
  try {
    return evaluateBoolean(condition, { resource, api: listing })
  } catch {
    return false
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw refused('it is not JSON')
  }
}

/** An object with these members and no others. */
function members(
  value: unknown,
  required: readonly string[],
  optional: readonly string[] = [],
): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refused('no object')
  const names = Object.keys(value)
  if (!required.every((name) => names.includes(name))) throw refused('a member is missing')
  if (!names.every((name) => required.includes(name) || optional.includes(name))) {
    throw refused('an unknown member')
  }
  return value as Record<string, unknown>
}

function refused(why: string): GcpError {
  return new GcpError('invalid_request', 'Invalid value for "options".', `access boundary: ${why}`)
}
