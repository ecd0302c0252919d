import micromatch from 'micromatch'
import type { Pattern } from './grant.ts'

const MAX_PATTERN = 512
const MAX_VALUE = 1024
const MAX_WILDCARDS = 3
/** Two more `*` in one segment, or `**`, and a hostile value of 1 KiB costs 200 ms instead of 1 ms. */
const MAX_STARS_IN_SEGMENT = 2
const MAX_GLOBSTARS = 2

/** C0, DEL, C1, the Unicode line ends, and what hides or reorders text before a reviewer's eyes. */
const CONTROL =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/

export const hasControl = (text: string): boolean => CONTROL.test(text)

export type Compiled = Pattern | { readonly problem: string }

/**
 * The only maker of patterns: a literal, `?` (one UTF-16 unit but `/`), `*` (any run without `/`), `**` as a whole
 * segment (one or more segments). Every other character is itself.
 */
export const compilePattern = (
  source: string,
  { wildcards }: { readonly wildcards: boolean },
): Compiled => {
  const problem = fence(source, wildcards)
  if (problem !== null) return { problem }
  return { source, regexp: /[*?]/.test(source) ? toRegExp(source) : null }
}

export const matches = (pattern: Pattern, value: string): boolean =>
  pattern.regexp === null
    ? value === pattern.source
    : isJudgeable(value) && pattern.regexp.test(value)

/** A value that a wildcard may match at all: no empty, `.` or `..` segment, no control character. */
export const isJudgeable = (value: string): boolean =>
  value.length <= MAX_VALUE && !CONTROL.test(value) && !value.split('/').some(isDotted)

const isDotted = (segment: string): boolean => segment === '' || segment === '.' || segment === '..'

const fence = (source: string, wildcards: boolean): string | null => {
  if (source === '') return 'is empty'
  if (source.length > MAX_PATTERN) return `is longer than ${MAX_PATTERN} characters`
  if (CONTROL.test(source) || !source.isWellFormed()) return 'holds a control character'
  if (source.includes('\\')) return 'holds a backslash'
  const segments = source.split('/')
  if (segments.some(isDotted)) return "has an empty, '.' or '..' segment"
  if (!/[*?]/.test(source)) return null
  return wildcards ? fenceWildcards(segments) : 'takes no wildcard here'
}

const fenceWildcards = (segments: readonly string[]): string | null => {
  const inside = segments.filter((segment) => segment !== '**')
  const globstars = segments.length - inside.length
  if (inside.some((segment) => segment.includes('**')))
    return "has a '**' that is not a whole segment"
  if (globstars > MAX_GLOBSTARS) return `has more than ${MAX_GLOBSTARS} '**'`
  if (inside.some((segment) => count(segment, /\*/g) > MAX_STARS_IN_SEGMENT))
    return `has more than ${MAX_STARS_IN_SEGMENT} '*' in one segment`
  if (globstars + count(inside.join('/'), /[*?]/g) > MAX_WILDCARDS)
    return `has more than ${MAX_WILDCARDS} wildcards`
  return null
}

const count = (text: string, what: RegExp): number => text.match(what)?.length ?? 0

/**
 * micromatch reads `!(){}[]+@|` as operators and `**` as zero or more segments: escaping undoes the first, a `*` before
 * every `**` but the last (which already needs a segment) the second. Only its RegExp is used: isMatch short-cuts equality.
 */
const toRegExp = (source: string): RegExp => {
  const segments = source.replace(/[^A-Za-z0-9/*?_-]/g, '\\$&').split('/')
  const last = segments.length - 1
  const spelled = segments.map((segment, i) => (segment === '**' && i < last ? '*/**' : segment))
  return micromatch.makeRe(spelled.join('/'), { dot: true, strictSlashes: true })
}
