import { AwsError } from './answer.ts'

/** An IAM policy document that has passed IAM's grammar. */
export interface Policy {
  readonly statements: readonly Statement[]
}

export interface Statement {
  readonly effect: 'Allow' | 'Deny'
  readonly actions: Patterns
  /** null: a trust policy, whose resource is the role that it hangs on. */
  readonly resources: Patterns | null
  /** null: a permission policy, whose principal is the one that it hangs on. */
  readonly principals: Principals | null
  readonly conditions: readonly Condition[]
  /** Policy variables are plain text before version 2012-10-17. */
  readonly variables: boolean
}

/** `not`: the statement speaks of everything but these. */
export interface Patterns {
  readonly not: boolean
  readonly patterns: readonly string[]
}

export interface Principals {
  readonly federated: readonly string[]
  /** `*`; it denies everyone and, as measured on AWS, lets no federated caller in. */
  readonly everyone: boolean
}

/** One operator on one key; `operator` as written, set prefix and `IfExists` included. */
export interface Condition {
  readonly operator: string
  readonly key: string
  readonly values: readonly string[]
}

export type PolicyKind = 'permission' | 'trust'

/** Reads a document (JSON text or the parsed value). Throws AwsError `MalformedPolicyDocument`. */
export function parsePolicy(kind: PolicyKind, document: unknown): Policy {
  const policy = record(typeof document === 'string' ? json(document) : document, 'policy')
  only(policy, ['Version', 'Id', 'Statement'], 'policy')
  const version = policy['Version'] ?? '2008-10-17'
  if (version !== '2012-10-17' && version !== '2008-10-17') throw malformed('unknown Version')
  const written = Array.isArray(policy['Statement']) ? policy['Statement'] : [policy['Statement']]
  if (written.length === 0) throw malformed('no Statement')
  const sids = new Set<string>()
  return {
    statements: written.map((one) => parseStatement(kind, one, version === '2012-10-17', sids)),
  }
}

const KEYS = {
  permission: ['Sid', 'Effect', 'Action', 'NotAction', 'Resource', 'NotResource', 'Condition'],
  // NotPrincipal with a federated caller is a hole by another name; nobody here needs it.
  trust: ['Sid', 'Effect', 'Action', 'Principal', 'Condition'],
} as const satisfies Record<PolicyKind, readonly string[]>

function parseStatement(
  kind: PolicyKind,
  written: unknown,
  variables: boolean,
  sids: Set<string>,
): Statement {
  const statement = record(written, 'statement')
  only(statement, KEYS[kind], 'statement')
  checkSid(statement['Sid'], sids)
  const effect = statement['Effect']
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed('Effect is neither Allow nor Deny')
  return {
    effect,
    actions: parseActions(kind, statement),
    resources: kind === 'trust' ? null : parseResources(statement),
    principals: kind === 'trust' ? parsePrincipals(statement['Principal']) : null,
    conditions: parseConditions(statement['Condition'] ?? {}),
    variables,
  }
}

function checkSid(sid: unknown, seen: Set<string>): void {
  if (sid === undefined) return
  if (typeof sid !== 'string' || !/^[A-Za-z0-9]*$/.test(sid)) throw malformed('Sid')
  if (sid !== '' && seen.has(sid)) throw malformed('Statement IDs (SID) must be unique')
  seen.add(sid)
}

function parseActions(kind: PolicyKind, statement: Fields): Patterns {
  const actions = eitherOr(statement, 'Action', 'NotAction')
  for (const action of actions.patterns) {
    if (action !== '*' && !/^[A-Za-z0-9-]+:[A-Za-z0-9*?]+$/.test(action)) {
      throw malformed('Actions must be prefaced by a vendor')
    }
    if (kind === 'trust' && !/^sts:/i.test(action)) {
      throw malformed('AssumeRole policy may only specify STS AssumeRole actions')
    }
  }
  return actions
}

function parseResources(statement: Fields): Patterns {
  const resources = eitherOr(statement, 'Resource', 'NotResource')
  for (const resource of resources.patterns) {
    if (resource !== '*' && !/^arn:[^:]*:[^:]+:[^:]*:[^:]*:[\s\S]+$/.test(resource)) {
      throw malformed('Resource must be in ARN format or "*"')
    }
  }
  return resources
}

function parsePrincipals(written: unknown): Principals {
  if (written === '*') return { federated: [], everyone: true }
  const principal = record(written, 'Principal')
  only(principal, ['Federated', 'AWS', 'Service'], 'Principal')
  const federated = strings(principal['Federated'] ?? [], 'Principal')
  const others = strings(principal['AWS'] ?? [], 'Principal')
  strings(principal['Service'] ?? [], 'Principal')
  return {
    federated: federated.filter((arn) => arn !== '*'),
    everyone: [...federated, ...others].includes('*'),
  }
}

const OPERATOR =
  /^(?:(?:ForAllValues:|ForAnyValue:)?(?:String(?:Not)?(?:Equals(?:IgnoreCase)?|Like)|(?:Numeric|Date)(?:(?:Not)?Equals|(?:Less|Greater)Than(?:Equals)?)|Bool|BinaryEquals|(?:Not)?IpAddress|Arn(?:Not)?(?:Equals|Like))(?:IfExists)?|Null)$/

function parseConditions(written: unknown): Condition[] {
  return Object.entries(record(written, 'Condition')).flatMap(([operator, block]) => {
    if (!OPERATOR.test(operator)) throw malformed(`Invalid Condition type : ${operator}`)
    return Object.entries(record(block, 'Condition')).map(([key, values]) => ({
      operator,
      key,
      values: scalars(values),
    }))
  })
}

type Fields = Readonly<Record<string, unknown>>

function eitherOr(statement: Fields, name: string, opposite: string): Patterns {
  const [yes, no] = [statement[name], statement[opposite]]
  if ((yes === undefined) === (no === undefined)) {
    throw malformed(`exactly one of ${name} and ${opposite}`)
  }
  const patterns = strings(yes ?? no, name)
  if (patterns.length === 0) throw malformed(`${name} is empty`)
  return { not: yes === undefined, patterns }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    throw malformed('not JSON')
  }
}

function record(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`${what} is not an object`)
  }
  return value as Fields
}

function only(fields: Fields, allowed: readonly string[], what: string): void {
  const stranger = Object.keys(fields).find((key) => !allowed.includes(key))
  if (stranger !== undefined) throw malformed(`prohibited field ${stranger} in ${what}`)
}

function strings(value: unknown, what: string): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (!list.every((item) => typeof item === 'string' && item !== '')) throw malformed(what)
  return list as string[]
}

function scalars(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.map((item) => {
    if (typeof item === 'string') return item
    if (typeof item === 'number' || typeof item === 'boolean') return String(item)
    throw malformed('a condition value is neither text, number nor boolean')
  })
}

function malformed(why: string): AwsError {
  return new AwsError('MalformedPolicyDocument', `Syntax errors in policy. (${why})`)
}
