/** JSON from strangers: what JSON.parse takes, less repeated names, `__proto__`, deep nesting and crowds of members. */

export type StrictJson =
  | { readonly ok: true; readonly value: unknown }
  /** In our own words; nothing of the text is repeated. */
  | { readonly ok: false; readonly problem: string }

export interface JsonLimits {
  /** Objects and arrays inside one another; default 8. */
  readonly maxDepth?: number
  /** Members of all objects together; default 256. */
  readonly maxKeys?: number
}

const LIMITS: Required<JsonLimits> = { maxDepth: 8, maxKeys: 256 }

/**
 * RFC 8259 section 4 leaves open what a repeated name means, and two readers that take different ones can be played
 * against each other, so it is refused (as RFC 7515 section 4 and RFC 7519 section 4 allow). The caller bounds the length of
 * the text and sees to it that it was UTF-8.
 */
export const parseStrictJson = (text: string, limits: JsonLimits = {}): StrictJson => {
  try {
    const value: unknown = JSON.parse(text)
    const problem = problemOf(text, { ...LIMITS, ...limits })
    return problem === null ? { ok: true, value } : { ok: false, problem }
  } catch {
    return { ok: false, problem: 'it is not JSON' }
  }
}

/** A string, with the colon behind it when it is a name; or a bracket. Numbers, literals and commas hold none of these. */
const TOKEN = /("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[{}[\]]/g

/** Walks text that JSON.parse has accepted, so that only names and nesting are left to judge. */
const problemOf = (text: string, { maxDepth, maxKeys }: Required<JsonLimits>): string | null => {
  const open: Set<string>[] = []
  let keys = 0
  for (const [token, string, colon] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') open.push(new Set())
    else if (token === '}' || token === ']') open.pop()
    else if (string !== undefined && colon !== undefined) {
      // Decoded first: "a" and "\u0061" are one name.
      const problem = addName(open.at(-1), JSON.parse(string) as string)
      if (problem !== null) return problem
      keys += 1
    }
    if (open.length > maxDepth) return 'it is nested too deeply'
    if (keys > maxKeys) return 'it has too many members'
  }
  return null
}

const addName = (names: Set<string> | undefined, name: string): string | null => {
  if (name === '__proto__') return 'it has a member that may not be named so'
  if (names?.has(name) === true) return 'it names a member twice'
  names?.add(name)
  return null
}

/** A map of JSON, or null; arrays are none. */
export const asObject = (value: unknown): Readonly<Record<string, unknown>> | null =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null
