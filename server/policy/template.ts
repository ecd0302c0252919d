import type { Claims } from '../identity/principal.ts'
import { accept, refuse, type Refusal, type Result } from '../refusal.ts'
import type { SessionPolicy, SessionStatement } from './grant.ts'
import { claimOf } from './hold.ts'

/** `${claims.x}`; and what IAM itself fills in: `${aws:username}`, `${*}`, `${?}`, `${$}`. */
const TEMPLATE = /\$\{claims\.([a-z][a-z0-9_]*)\}/g
const IAM_VARIABLE = /\$\{(?:[a-z][a-z0-9-]*:[A-Za-z0-9:/._@=+-]{1,128}|[*?$])\}/g

/** Nothing of this needs escaping in JSON, and nothing of it is a wildcard or a variable to IAM. */
const VALUE = /^[A-Za-z0-9._@/=+:-]{1,256}$/
const ID = /^[1-9][0-9]{0,19}$/
const DIGEST = /^[0-9a-f]{40,64}$/

/** What a claim's value may be in a template, and how long at most. */
const valueOf = (claim: string): { readonly pattern: RegExp; readonly longest: number } => {
  if (claim.endsWith('_id')) return { pattern: ID, longest: 20 }
  if (claim === 'sha' || claim.endsWith('_sha')) return { pattern: DIGEST, longest: 64 }
  return { pattern: VALUE, longest: 256 }
}

/** The session policy with every template filled from claims, or the first value that must not stand in one. */
export const fillTemplates = (policy: SessionPolicy, claims: Claims): Result<SessionPolicy> => {
  const refused: Refusal[] = []
  const filled = mapTemplates(policy, (claim) => {
    const value = claimOf(claims, claim)
    if (value !== null && valueOf(claim).pattern.test(value)) return value
    refused.push(refuse('template_value_refused', { about: claim }))
    return ''
  })
  return refused[0] ?? accept(filled)
}

/** The policy with every template at its longest: what the size limit is checked against. */
export const longestTemplates = (policy: SessionPolicy): SessionPolicy =>
  mapTemplates(policy, (claim) => 'x'.repeat(valueOf(claim).longest))

/** Names of the claims that `text` takes; null when it holds a `${` that is neither a template nor IAM's own variable. */
export const templatesIn = (text: string): readonly string[] | null => {
  const rest = text.replace(TEMPLATE, ' ').replace(IAM_VARIABLE, ' ')
  if (rest.includes('${')) return null
  return [...text.matchAll(TEMPLATE)].map(([, claim]) => claim ?? '')
}

type Fill = (claim: string) => string
type Texts = string | readonly string[]

const mapTemplates = (policy: SessionPolicy, fill: Fill): SessionPolicy => ({
  ...policy,
  Statement: policy.Statement.map((statement) => mapStatement(statement, fill)),
})

const mapStatement = (
  { Resource, NotResource, Condition, ...rest }: SessionStatement,
  fill: Fill,
): SessionStatement => ({
  ...rest,
  ...(Resource !== undefined && { Resource: mapTexts(Resource, fill) }),
  ...(NotResource !== undefined && { NotResource: mapTexts(NotResource, fill) }),
  ...(Condition !== undefined && {
    Condition: mapValues(Condition, (tests) => mapValues(tests, (texts) => mapTexts(texts, fill))),
  }),
})

const mapTexts = (texts: Texts, fill: Fill): Texts =>
  typeof texts === 'string' ? mapText(texts, fill) : texts.map((text) => mapText(text, fill))

const mapText = (text: string, fill: Fill): string =>
  text.replace(TEMPLATE, (_, claim: string) => fill(claim))

const mapValues = <From, To>(
  record: Readonly<Record<string, From>>,
  change: (value: From) => To,
): Readonly<Record<string, To>> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]))
