import type { Dialect } from '../identity/dialects.ts'
import { readAddressBlocks } from './address-block.ts'
import type { AwsGrant, Place } from './grant.ts'
import { collectFindings, type Say } from './problem.ts'
import {
  invalid,
  readBoolean,
  readFields,
  readMap,
  readText,
  readTexts,
  type Fields,
} from './read.ts'
import { longestSessionPolicy, MAX_SESSION_POLICY } from './session-policy.ts'
import { readSessionPolicy } from './session-statement.ts'
import type { Node } from './yaml.ts'

const KEYS = {
  required: ['role', 'region'],
  optional: ['session_policy', 'managed_policies', 'tags', 'pin_source_ip', 'chaining'],
}

const PATH = '(?:[A-Za-z0-9_+=,.@-]+/)*[A-Za-z0-9_+=,.@-]{1,128}'
const ROLE = {
  pattern: new RegExp(`^arn:aws(?:-[a-z]+)*:iam::[0-9]{12}:role/${PATH}$`),
  hint: 'arn:aws:iam::<12 digits>:role/<path and name>, without wildcard or template',
}
const MANAGED = {
  pattern: new RegExp(`^arn:aws(?:-[a-z]+)*:iam::(?:aws|[0-9]{12}):policy/${PATH}$`),
  hint: 'arn:aws:iam::<12 digits, or aws>:policy/<path and name>',
}
const REGION = {
  pattern: /^[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[1-9][0-9]?$/,
  hint: 'a region, e.g. eu-west-1',
}
/** AWS compares tag keys without case; both prefixes are taken. */
const TAG_KEY = {
  pattern: /^(?!(?:tvm|aws):)[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/iu,
  hint: 'letters, digits, spaces and _.:/=+-@; never tvm: or aws:',
}
const TAG_VALUE = {
  pattern: /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u,
  hint: 'at most 256 letters, digits, spaces and _.:/=+-@',
}
/** 50 session tags at most, of which the broker keeps 12. */
const MAX_TAGS = 38
const MAX_MANAGED_POLICIES = 10
const MAX_ROLE = 2048

/** The `aws` section; null when anything in it was complained of. */
export const readAws = (node: Node, dialect: Dialect, say: Say): AwsGrant | null => {
  const { say: note, problems } = collectFindings()
  const fields = readFields(node, 'aws', KEYS, note)
  const grant = fields === null ? null : readSection(fields, dialect, note)
  problems.forEach(say)
  if (grant === null || problems.length > 0) return null
  refuseTooLong(grant, node.at, say)
  return grant
}

const readSection = (fields: Fields, dialect: Dialect, say: Say): AwsGrant => {
  const role = readRole(fields, say)
  return {
    role,
    accountId: role.split(':')[4] ?? '',
    region: take(fields, 'region', (value) => readText(value, 'region', REGION, say)) ?? '',
    sessionPolicy: take(fields, 'session_policy', (value) =>
      readSessionPolicy(value, { dialect, say }),
    ),
    managedPolicies:
      take(fields, 'managed_policies', (value) => readManaged(value, fields, say)) ?? [],
    tags: take(fields, 'tags', (value) => readTags(value, say)) ?? {},
    pinSourceIp: take(fields, 'pin_source_ip', (value) => readPin(value, say)) ?? false,
    chaining: take(fields, 'chaining', (value) => readBoolean(value, 'chaining', say)) ?? false,
  }
}

const take = <Value>(
  fields: Fields,
  key: string,
  read: (node: Node) => Value | null,
): Value | null => {
  const node = fields.get(key)
  return node === null ? null : read(node)
}

const readRole = (fields: Fields, say: Say): string => {
  const role = take(fields, 'role', (value) => readText(value, 'role', ROLE, say)) ?? ''
  const isDotted = role.split('/').some((segment) => segment === '.' || segment === '..')
  if (role.length > MAX_ROLE || isDotted) say(invalid(fields.at, 'role is refused', ROLE.hint))
  return role
}

/** `[]` bounds nothing, so it may stand only beside what does. */
const readManaged = (node: Node, fields: Fields, say: Say): readonly string[] | null => {
  const isEmpty = node.kind === 'list' && node.items.length === 0
  if (isEmpty && fields.get('session_policy') !== null) return []
  const arns = readTexts(node, 'managed_policies', MANAGED, say)
  const role = fields.get('role')
  const account = role?.kind === 'scalar' ? role.text.split(':')[4] : undefined
  const foreign = arns?.find((arn) => ![account, 'aws'].includes(arn.split(':')[4]))
  if (foreign !== undefined)
    say(invalid(node.at, `${foreign} is of another account than the role`, 'AWS would refuse it'))
  if (arns !== null && arns.length > MAX_MANAGED_POLICIES)
    say(invalid(node.at, 'too many managed policies', `at most ${MAX_MANAGED_POLICIES}`))
  return arns
}

const readTags = (node: Node, say: Say): Readonly<Record<string, string>> => {
  const entries = [...(readMap(node, 'tags', say)?.entries.values() ?? [])]
  const folded = entries.map(({ key }) => key.text.toLowerCase())
  entries.forEach(({ key }, i) => {
    readText({ ...key, is: 'string' }, 'a tag key', TAG_KEY, say)
    if (folded.indexOf(folded[i] ?? '') < i)
      say(invalid(key.at, `the tag '${key.text}' repeats another`, 'AWS tag keys ignore case'))
  })
  if (entries.length > MAX_TAGS) say(invalid(node.at, 'too many tags', `at most ${MAX_TAGS}`))
  return Object.fromEntries(
    entries.map(({ key, value }) => [
      key.text,
      readText(value, `the tag '${key.text}'`, TAG_VALUE, say) ?? '',
    ]),
  )
}

const readPin = (node: Node, say: Say): boolean | readonly string[] | null =>
  node.kind === 'list'
    ? readAddressBlocks(node, 'pin_source_ip', say)
    : readBoolean(node, 'pin_source_ip', say)

const refuseTooLong = (grant: AwsGrant, at: Place, say: Say): void => {
  const size = longestSessionPolicy(grant)
  if (size > MAX_SESSION_POLICY)
    say({
      code: 'session_policy_too_long',
      at,
      message: `the session policy can take ${size} characters, and AWS takes ${MAX_SESSION_POLICY}`,
      hint: 'templates count at their longest, the denies of the broker and the ARNs of managed_policies count too',
    })
}
