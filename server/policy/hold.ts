import { defines } from '../identity/dialects.ts'
import type { Claims, Principal } from '../identity/principal.ts'
import { isJudgeable, matches } from './glob.ts'
import type { Block, BlockTrace, Line, LineTrace, Pattern, Test } from './grant.ts'

/** Every line of an allow block against one principal: all of them, so that a refusal can say what else was wrong. */
export const traceAllow = (block: Block, { claims }: Principal): BlockTrace =>
  traceOf(block, claims, allowHolds)

/**
 * A deny block or a guardrail's `when`. A line on a claim that the dialect does not define makes the law hold: what
 * cannot be judged is not let through.
 */
export const traceLaw = (block: Block, { claims, dialect }: Principal): BlockTrace => {
  const trace = traceOf(block, claims, lawHolds)
  const isUnjudged = block.lines.some((line) => !defines(dialect, line.claim))
  return { ...trace, held: trace.held || isUnjudged }
}

type Holds = (test: Test, got: string | null) => boolean

const traceOf = (block: Block, claims: Claims, holds: Holds): BlockTrace => {
  const lines = block.lines.map((line): LineTrace => {
    const got = claimOf(claims, line.claim)
    return {
      claim: line.claim,
      wanted: wantedOf(line),
      got,
      held: holds(line.test, got),
      at: line.at,
    }
  })
  return { at: block.at, held: lines.length > 0 && lines.every(({ held }) => held), lines }
}

/** Own properties only. An empty claim counts as absent: GitHub sends `head_ref: ""` outside pull requests. */
export const claimOf = (claims: Claims, name: string): string | null => {
  const value = Object.hasOwn(claims, name) ? claims[name] : undefined
  return value === undefined || value === '' ? null : value
}

/** Absent never matches, not even `not`; nor does a value that no wildcard may judge escape one. */
const allowHolds: Holds = (test, got) => {
  if (test.is === 'absent') return got === null
  if (got === null) return false
  if (test.is === 'any_of') return matchesAny(test.patterns, got)
  return !matchesAny(test.patterns, got) && !escapes(test.patterns, got)
}

/** `not` is the true complement, which absence satisfies. */
const lawHolds: Holds = (test, got) => {
  if (test.is === 'absent') return got === null
  if (test.is === 'not') return got === null || !matchesAny(test.patterns, got)
  return got !== null && (matchesAny(test.patterns, got) || escapes(test.patterns, got))
}

const matchesAny = (patterns: readonly Pattern[], value: string): boolean =>
  patterns.some((pattern) => matches(pattern, value))

/** A value that no wildcard may judge, where one was to judge it. */
export const escapes = (patterns: readonly Pattern[], value: string): boolean =>
  !isJudgeable(value) && patterns.some(({ regexp }) => regexp !== null)

/** What a line wants, close to how it was written. */
const wantedOf = ({ test, implied }: Line): string => {
  if (test.is === 'absent') return '{absent: true}'
  const sources = test.patterns.map(({ source }) => source)
  const list = sources.length === 1 ? sources.join('') : `[${sources.join(', ')}]`
  if (test.is === 'not') return `{not: ${list}}`
  return implied === true ? `${list}, since the block names no event` : list
}
