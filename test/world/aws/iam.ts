import { BlockList, isIP } from 'node:net'
import type { Condition, Patterns, Policy, Principals, Statement } from './policy.ts'

/**
 * How IAM judges a request: pure, and written down from the documentation of the policy elements
 * and from what others measured on the real service. What it cannot read never allows and always denies.
 */
export interface Question {
  /** `s3:PutObject`; compared without case. */
  readonly action: string
  /** An ARN; absent in a trust policy. */
  readonly resource?: string
  /** The ARN of the identity provider that vouches; only in a trust policy. */
  readonly federated?: string
  readonly context: Context
}

/**
 * Condition keys of the request. A list is a multivalued key, which only set operators match.
 * `undefined`: the key exists, this request has none. A key that is neither here nor among
 * those below is unreadable: IAM would read a misspelt one as absent, and a Deny on it would never bite.
 */
export type Context = Readonly<Record<string, string | readonly string[] | undefined>>

/** `denied`: some statement says no. `not_allowed`: none says yes. */
export type Verdict = 'allowed' | 'denied' | 'not_allowed'

const KNOWN_KEYS: ReadonlySet<string> = new Set([
  'aws:currenttime',
  'aws:epochtime',
  'aws:federatedprovider',
  'aws:principalaccount',
  'aws:principalarn',
  'aws:sourceidentity',
  'aws:sourceip',
  'aws:tagkeys',
  'aws:tokenissuetime',
  'aws:userid',
  'aws:viaawsservice',
  's3:delimiter',
  's3:max-keys',
  's3:prefix',
  'sts:roleauthorizedbyidp',
  'sts:rolesessionname',
  'sts:sourceidentity',
  'sts:transitivetagkeys',
])

type Fit = 'yes' | 'no' | 'unreadable'
type Values = string | readonly string[] | undefined
/** `unreadable`: the key is none that we know. */
type Lookup = (key: string) => Values | { readonly unreadable: true }

/** The verdict of policies that speak for one principal side by side: any Allow will do, any Deny wins. */
export function evaluate(policies: readonly Policy[], question: Question): Verdict {
  const look = lookup(question.context)
  const fits = policies.flatMap((policy) =>
    policy.statements.map((statement) => ({
      effect: statement.effect,
      fit: fit(statement, question, look),
    })),
  )
  if (fits.some((one) => one.effect === 'Deny' && one.fit !== 'no')) return 'denied'
  return fits.some((one) => one.effect === 'Allow' && one.fit === 'yes') ? 'allowed' : 'not_allowed'
}

function lookup(context: Context): Lookup {
  const values = new Map(Object.entries(context).map(([key, value]) => [key.toLowerCase(), value]))
  return (name) => {
    const key = name.toLowerCase()
    if (values.has(key)) return values.get(key)
    const known = KNOWN_KEYS.has(key) || /^aws:(?:principal|request)tag\/./.test(key)
    return known ? undefined : { unreadable: true }
  }
}

function fit(statement: Statement, question: Question, look: Lookup): Fit {
  return every([
    () => fitPrincipal(statement.principals, statement.effect, question.federated),
    () => fitAction(statement.actions, question.action),
    () => fitResource(statement, question.resource, look),
    () => worst(statement.conditions.map((one) => holds(one, statement.variables, look))),
  ])
}

function fitPrincipal(
  principals: Principals | null,
  effect: Statement['effect'],
  caller: string | undefined,
): Fit {
  if (principals === null) return caller === undefined ? 'yes' : 'no'
  if (caller === undefined) return 'no'
  if (principals.everyone && effect === 'Deny') return 'yes'
  return principals.federated.includes(caller) ? 'yes' : 'no'
}

function fitAction(actions: Patterns, asked: string): Fit {
  const named = actions.patterns.some((pattern) =>
    new RegExp(`^${globSource(pattern)}$`, 'i').test(asked),
  )
  return named !== actions.not ? 'yes' : 'no'
}

function fitResource(statement: Statement, asked: string | undefined, look: Lookup): Fit {
  if (statement.resources === null) return asked === undefined ? 'yes' : 'no'
  if (asked === undefined) return 'no'
  const found = some(
    statement.resources.patterns.map((pattern) =>
      like(pattern, asked, { wild: true, variables: statement.variables, look }),
    ),
  )
  return statement.resources.not ? opposite(found) : found
}

function holds(condition: Condition, variables: boolean, look: Lookup): Fit {
  const [, set, name = '', ifExists] =
    /^(ForAllValues:|ForAnyValue:)?(.*?)(IfExists)?$/.exec(condition.operator) ?? []
  const actual = look(condition.key)
  if (typeof actual === 'object' && 'unreadable' in actual) return 'unreadable'
  if (name === 'Null') return holdsNull(condition.values, actual)
  const operator = OPERATORS[name]
  if (operator === undefined) return 'unreadable'
  const test = (value: string): Fit => {
    const found = some(
      condition.values.map((wanted) => operator.test(value, wanted, { variables, look })),
    )
    return operator.negated ? opposite(found) : found
  }
  if (actual === undefined) return absent(set, ifExists !== undefined || operator.negated)
  if (set !== undefined) return overSet(set, [actual].flat(), test)
  // Measured on AWS: an operator for one value never matches a multivalued key, not even a negated one.
  return typeof actual === 'string' ? test(actual) : 'no'
}

function absent(set: string | undefined, vacuous: boolean): Fit {
  if (set === 'ForAllValues:') return 'yes'
  if (set === 'ForAnyValue:') return 'no'
  return vacuous ? 'yes' : 'no'
}

function overSet(set: string, values: readonly string[], test: (value: string) => Fit): Fit {
  const fits = values.map(test)
  return set === 'ForAllValues:' ? worst(fits) : some(fits)
}

function holdsNull(wanted: readonly string[], actual: Values): Fit {
  return some(
    wanted.map((value) => {
      if (value !== 'true' && value !== 'false') return 'unreadable'
      return (actual === undefined) === (value === 'true') ? 'yes' : 'no'
    }),
  )
}

interface Scope {
  readonly variables: boolean
  readonly look: Lookup
}

interface Operator {
  readonly negated: boolean
  readonly test: (value: string, wanted: string, scope: Scope) => Fit
}

/** Null stands in `holdsNull`. BinaryEquals is IAM's too; nobody here needs it, so it is unreadable. */
const OPERATORS: Readonly<Record<string, Operator>> = {
  ...both('StringEquals', 'StringNotEquals', (value, wanted, scope) =>
    like(wanted, value, { wild: false, ...scope }),
  ),
  ...both('StringEqualsIgnoreCase', 'StringNotEqualsIgnoreCase', (value, wanted, scope) =>
    like(wanted, value, { wild: false, fold: true, ...scope }),
  ),
  ...both('StringLike', 'StringNotLike', (value, wanted, scope) =>
    like(wanted, value, { wild: true, ...scope }),
  ),
  ...both('ArnEquals', 'ArnNotEquals', likeArn),
  ...both('ArnLike', 'ArnNotLike', likeArn),
  ...both('IpAddress', 'NotIpAddress', inBlock),
  ...ordered('Numeric', readNumber),
  ...ordered('Date', readDate),
  Bool: {
    negated: false,
    test: (value, wanted) =>
      /^(?:true|false)$/i.test(wanted)
        ? yesOrNo(value.toLowerCase() === wanted.toLowerCase())
        : 'unreadable',
  },
}

function both(name: string, negation: string, test: Operator['test']): Record<string, Operator> {
  return { [name]: { negated: false, test }, [negation]: { negated: true, test } }
}

function ordered(
  family: 'Numeric' | 'Date',
  read: (text: string) => number | null,
): Record<string, Operator> {
  const compare = (holdsFor: (value: number, wanted: number) => boolean): Operator['test'] => {
    return (value, wanted) => {
      const [left, right] = [read(value), read(wanted)]
      if (right === null) return 'unreadable'
      return yesOrNo(left !== null && holdsFor(left, right))
    }
  }
  const plain = (test: (value: number, wanted: number) => boolean): Operator => ({
    negated: false,
    test: compare(test),
  })
  return {
    ...both(
      `${family}Equals`,
      `${family}NotEquals`,
      compare((value, wanted) => value === wanted),
    ),
    [`${family}LessThan`]: plain((value, wanted) => value < wanted),
    [`${family}LessThanEquals`]: plain((value, wanted) => value <= wanted),
    [`${family}GreaterThan`]: plain((value, wanted) => value > wanted),
    [`${family}GreaterThanEquals`]: plain((value, wanted) => value >= wanted),
  }
}

function readNumber(text: string): number | null {
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : null
}

const ISO_DATE = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2}))?$/

/** ISO 8601 as W3C narrows it, or seconds since the epoch. */
function readDate(text: string): number | null {
  if (/^\d{1,12}$/.test(text)) return Number(text) * 1000
  const time = ISO_DATE.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(time) ? null : time
}

function inBlock(value: string, wanted: string): Fit {
  const [address = '', bits, ...rest] = wanted.split('/')
  const family = isIP(address)
  const longest = family === 4 ? 32 : 128
  const prefix = bits === undefined ? longest : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
  if (family === 0 || rest.length > 0 || prefix < 0 || prefix > longest) return 'unreadable'
  if (isIP(value) !== family) return 'no'
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const block = new BlockList()
  block.addSubnet(address, prefix, type)
  return yesOrNo(block.check(value, type))
}

/** ARNs are compared part by part: a star does not reach over a colon of the first five. */
function likeArn(value: string, wanted: string, scope: Scope): Fit {
  const [actual, pattern] = [arnParts(value), arnParts(wanted)]
  if (pattern === null) return 'unreadable'
  if (actual === null) return 'no'
  return worst(
    pattern.map((part, index) => like(part, actual[index] ?? '', { wild: true, ...scope })),
  )
}

function arnParts(arn: string): string[] | null {
  const parts = arn.split(':')
  return parts.length < 6 || parts[0] !== 'arn'
    ? null
    : [...parts.slice(0, 5), parts.slice(5).join(':')]
}

interface Liking extends Scope {
  readonly wild: boolean
  readonly fold?: boolean
}

function like(pattern: string, value: string, { wild, fold, variables, look }: Liking): Fit {
  const source = variables ? expand(pattern, wild, look) : patternSource(pattern, wild)
  if (source === null) return 'no'
  if (typeof source !== 'string') return 'unreadable'
  return yesOrNo(new RegExp(`^${source}$`, fold === true ? 'i' : '').test(value))
}

/**
 * Puts policy variables in: a substituted character is never a wildcard. null: the variable has no
 * value (or several), so the pattern matches nothing.
 */
function expand(
  pattern: string,
  wild: boolean,
  look: Lookup,
): string | null | { unreadable: true } {
  let source = ''
  for (const [token, name] of pattern.matchAll(/\$\{([^}]*)\}|\$\{?|[^$]+/g)) {
    if (token === '${') return { unreadable: true }
    const piece = name === undefined ? patternSource(token, wild) : variable(name, look)
    if (typeof piece !== 'string') return piece
    source += piece
  }
  return source
}

function variable(written: string, look: Lookup): string | null | { unreadable: true } {
  if (/^[*?$]$/.test(written)) return literal(written)
  const [, key, fallback] = /^\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?$/.exec(written) ?? []
  if (key === undefined) return { unreadable: true }
  const value = look(key)
  if (typeof value === 'object' && 'unreadable' in value) return { unreadable: true }
  const text = value ?? fallback
  return typeof text === 'string' ? literal(text) : null
}

function patternSource(pattern: string, wild: boolean): string {
  return wild ? globSource(pattern) : literal(pattern)
}

function globSource(pattern: string): string {
  return literal(pattern).replaceAll('\\*', '[\\s\\S]*').replaceAll('\\?', '[\\s\\S]')
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}

function yesOrNo(answer: boolean): Fit {
  return answer ? 'yes' : 'no'
}

function opposite(one: Fit): Fit {
  return one === 'unreadable' ? one : yesOrNo(one === 'no')
}

/** All must be so; what cannot be read outweighs a no, so that a Deny beside it still denies. */
function worst(fits: readonly Fit[]): Fit {
  if (fits.includes('unreadable')) return 'unreadable'
  return fits.includes('no') ? 'no' : 'yes'
}

function some(fits: readonly Fit[]): Fit {
  if (fits.includes('unreadable')) return 'unreadable'
  return fits.includes('yes') ? 'yes' : 'no'
}

/** In order, stopping at the first no: a statement about something else may be as unreadable as it likes. */
function every(steps: readonly (() => Fit)[]): Fit {
  let unreadable = false
  for (const step of steps) {
    const found = step()
    if (found === 'no') return 'no'
    unreadable ||= found === 'unreadable'
  }
  return unreadable ? 'unreadable' : 'yes'
}
