import type { Dialect } from '../identity/dialects.ts'
import type { SessionPolicy, SessionStatement } from './grant.ts'
import type { Say } from './problem.ts'
import {
  invalid,
  readFields,
  readList,
  readMap,
  readString,
  readText,
  type Fields,
} from './read.ts'
import { templatesIn } from './template.ts'
import type { Node } from './yaml.ts'

/** Which claims templates may name, and where to complain. */
interface Scope {
  readonly dialect: Dialect
  readonly say: Say
}

const KEYS = {
  required: ['Effect'],
  optional: ['Sid', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition'],
}
const SID = { pattern: /^[A-Za-z0-9]{1,64}$/, hint: 'letters and digits' }
const EFFECT = { pattern: /^(?:Allow|Deny)$/, hint: 'Allow or Deny' }
const VERSION = { pattern: /^2012-10-17$/, hint: 'write Version: "2012-10-17"' }
const ACTION = {
  pattern: /^(?:\*|[a-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128})$/,
  hint: 'service:Action, with * and ? in the action; no templates here',
}
const OPERATOR = {
  pattern:
    /^(?:(?:ForAllValues|ForAnyValue):)?(?:String(?:Not)?(?:Equals(?:IgnoreCase)?|Like)|(?:Numeric|Date)(?:(?:Not)?Equals|(?:Less|Greater)Than(?:Equals)?)|Arn(?:Not)?(?:Equals|Like)|(?:Not)?IpAddress|Bool|BinaryEquals|Null)(?:IfExists)?$/,
  hint: 'an IAM condition operator, e.g. StringEquals',
}
const CONDITION_KEY = {
  pattern: /^[A-Za-z0-9-]{1,64}:[A-Za-z0-9_.:/=+@-]{1,128}$/,
  hint: 'an IAM condition key, e.g. aws:PrincipalTag/team; no templates here',
}

/** A JSON policy written as YAML: only what IAM knows, templates only in Resource and Condition. */
export const readSessionPolicy = (node: Node, scope: Scope): SessionPolicy | null => {
  const { say } = scope
  const keys = { required: ['Version', 'Statement'], optional: [] }
  const fields = readFields(node, 'session_policy', keys, say)
  const version = fields?.get('Version') ?? null
  const list = fields?.get('Statement') ?? null
  if (version !== null) readText(version, 'Version', VERSION, say)
  const statements = list === null ? null : readList(list, 'Statement', say)
  const read = statements?.items.map((item) => readStatement(item, scope)) ?? []
  refuseRepeatedSids(read, node, say)
  return { Version: '2012-10-17', Statement: read.filter((statement) => statement !== null) }
}

const refuseRepeatedSids = (
  statements: readonly (SessionStatement | null)[],
  { at }: Node,
  say: Say,
): void => {
  const sids = statements.map((statement) => statement?.Sid).filter((sid) => sid !== undefined)
  const repeated = sids.find((sid, i) => sids.indexOf(sid) < i)
  if (repeated !== undefined)
    say(invalid(at, `two statements have the Sid '${repeated}'`, 'a Sid is unique in a policy'))
}

const readStatement = (node: Node, scope: Scope): SessionStatement | null => {
  const { say } = scope
  const fields = readFields(node, 'a statement', KEYS, say)
  if (fields === null) return null
  const effect = fields.get('Effect')
  const sid = fields.get('Sid')
  const condition = fields.get('Condition')
  const text = sid === null ? null : readText(sid, 'Sid', SID, say)
  const allow = effect === null ? null : readText(effect, 'Effect', EFFECT, say)
  return {
    ...(text !== null && { Sid: text }),
    Effect: allow === 'Allow' ? 'Allow' : 'Deny',
    ...readEither(fields, ['Action', 'NotAction'], (value) => readAction(value, say), say),
    ...readEither(fields, ['Resource', 'NotResource'], (value) => readResource(value, scope), say),
    ...(condition !== null && { Condition: readCondition(condition, scope) }),
  }
}

type Texts = string | readonly string[]

/** Exactly one of two keys. */
const readEither = <Key extends string>(
  fields: Fields,
  [one, other]: readonly [Key, Key],
  read: (node: Node) => Texts,
  say: Say,
): Partial<Record<Key, Texts>> => {
  const given = [one, other].filter((key) => fields.get(key) !== null)
  const key = given[0]
  const value = key === undefined ? null : fields.get(key)
  if (key === undefined || value === null || given.length > 1) {
    say(invalid(fields.at, `a statement needs ${one} or ${other}, one of them`, `write ${one}`))
    return {}
  }
  return { [key]: read(value) } as Partial<Record<Key, Texts>>
}

const readAction = (node: Node, say: Say): Texts =>
  eachText(node, 'Action', say, (item) => readText(item, 'an action', ACTION, say) ?? '')

const readResource = (node: Node, scope: Scope): Texts =>
  eachText(node, 'Resource', scope.say, (item) => {
    const text = readTemplated(item, 'a resource', scope)
    const isResource = text === '*' || /^arn:[^:]*:[^:]*:.+$/.test(text)
    if (!isResource)
      scope.say(invalid(item.at, 'a resource must be * or an ARN', 'e.g. arn:aws:s3:::bucket/*'))
    return text
  })

const readCondition = (
  node: Node,
  scope: Scope,
): Readonly<Record<string, Readonly<Record<string, Texts>>>> =>
  readRecord(node, OPERATOR, scope.say, (tests) =>
    readRecord(tests, CONDITION_KEY, scope.say, (values) =>
      eachText(values, 'a condition', scope.say, (item) =>
        readTemplated(item, 'a condition', scope),
      ),
    ),
  )

const readRecord = <Value>(
  node: Node,
  keys: { readonly pattern: RegExp; readonly hint: string },
  say: Say,
  read: (node: Node) => Value,
): Readonly<Record<string, Value>> => {
  const entries = [...(readMap(node, 'Condition', say)?.entries.values() ?? [])]
  for (const { key } of entries) readText({ ...key, is: 'string' }, 'a key of Condition', keys, say)
  return Object.fromEntries(entries.map(({ key, value }) => [key.text, read(value)]))
}

const eachText = (node: Node, what: string, say: Say, read: (item: Node) => string): Texts =>
  node.kind === 'list' ? (readList(node, what, say)?.items ?? []).map(read) : read(node)

/** STS takes U+0020 to U+00FF in a policy. */
const readTemplated = (node: Node, what: string, { dialect, say }: Scope): string => {
  const text = readString(node, what, say)?.text ?? ''
  if (!/^[\u0020-\u00ff]*$/.test(text))
    say(invalid(node.at, `${what} holds a character that AWS refuses`, 'U+0020 to U+00FF'))
  const claims = templatesIn(text)
  const refused = claims?.filter((claim) => !dialect.templates.includes(claim)) ?? ['']
  if (refused.length > 0)
    say({
      code: 'template_refused',
      at: node.at,
      message: `${what} holds ${refused[0] === '' ? "a '${' that is no template" : `a template of '${refused.join(', ')}'`}`,
      hint: `templates are \${claims.x}, x one of ${dialect.templates.join(', ')}`,
    })
  return text
}
