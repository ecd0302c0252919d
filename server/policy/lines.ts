import { defines, type Dialect } from '../identity/dialects.ts'
import { compilePattern } from './glob.ts'
import type { Block, Line, Pattern, Test } from './grant.ts'
import { suggest, type Say } from './problem.ts'
import { invalid, readList, readMap } from './read.ts'
import type { Entry, Node, ScalarNode } from './yaml.ts'

const MAX_VALUES = 256

/** Claim lines, in the words of these dialects: one for a grant, every configured one for a guardrail. */
export interface Speech {
  readonly dialects: readonly Dialect[]
  readonly say: Say
}

/** One block or a list of blocks; null when any of them was complained of. */
export const readBlocks = (node: Node, what: string, speech: Speech): readonly Block[] | null => {
  if (node.kind !== 'list') {
    const block = readBlock(node, what, speech)
    return block === null ? null : [block]
  }
  const list = readList(node, what, speech.say)
  const blocks = list?.items.map((item) => readBlock(item, `a block of ${what}`, speech)) ?? []
  const good = blocks.filter((block) => block !== null)
  return list !== null && good.length === blocks.length ? good : null
}

export const readBlock = (node: Node, what: string, speech: Speech): Block | null => {
  const fields = readMap(node, what, speech.say)
  if (fields === null) return null
  const lines = [...fields.entries.values()].map((entry) => readLine(entry, speech))
  const good = lines.filter((line) => line !== null)
  return good.length === lines.length ? { lines: good, at: node.at } : null
}

const readLine = ({ key, value }: Entry, speech: Speech): Line | null => {
  const claim = key.text
  if (!speech.dialects.some((dialect) => defines(dialect, claim)))
    return speech.say({
      code: 'claim_unknown',
      at: key.at,
      message: `no token of this issuer carries a claim '${claim}'`,
      hint: suggest(claim, [...new Set(speech.dialects.flatMap((dialect) => dialect.claims))]),
    })
  const test = readTest(value, claim, (node) => readPattern(node, claim, speech), speech.say)
  return test === null ? null : { claim, test, at: key.at }
}

type Read = (node: Node) => Pattern | null

/** What is wanted of one thing: a value, a list of values, `{absent: true}` or `{not: …}`. */
export const readTest = (node: Node, name: string, read: Read, say: Say): Test | null => {
  if (node.kind !== 'map') {
    const patterns = readPatterns(node, name, read, say)
    return patterns === null ? null : { is: 'any_of', patterns }
  }
  const [[operator, entry] = ['', null]] = node.entries
  if (node.entries.size === 1 && entry !== null) {
    if (operator === 'absent' && isTrue(entry.value)) return { is: 'absent' }
    if (operator === 'not' && entry.value.kind !== 'map') {
      const patterns = readPatterns(entry.value, name, read, say)
      return patterns === null ? null : { is: 'not', patterns }
    }
  }
  return say(
    invalid(
      node.at,
      `'${name}' has an operator that does not exist`,
      'the operators are {absent: true} and {not: […]}, one of them alone',
    ),
  )
}

const isTrue = (node: Node): boolean =>
  node.kind === 'scalar' && node.is === 'boolean' && node.text === 'true'

const readPatterns = (
  node: Node,
  name: string,
  read: Read,
  say: Say,
): readonly Pattern[] | null => {
  if (node.kind !== 'list') {
    const pattern = read(node)
    return pattern === null ? null : [pattern]
  }
  const list = readList(node, `'${name}'`, say)
  if (list === null) return null
  if (list.items.length > MAX_VALUES)
    return say(invalid(list.at, `'${name}' lists over ${MAX_VALUES} values`, 'use a pattern'))
  const patterns = list.items.map(read)
  const good = patterns.filter((pattern) => pattern !== null)
  return good.length === patterns.length ? good : null
}

const readPattern = (node: Node, claim: string, { dialects, say }: Speech): Pattern | null => {
  const scalar = readValue(node, claim, say)
  if (scalar === null) return null
  const isId = dialects.some(({ ids }) => ids.includes(claim))
  if (isId && !ID.test(scalar.text))
    return say(
      invalid(scalar.at, `'${claim}' holds an id`, 'write its digits as they are, e.g. 8841'),
    )
  return readGlob(scalar, `'${claim}'`, takesWildcards(claim, dialects), say)
}

export const ID = /^[1-9][0-9]{0,19}$/

export const readGlob = (
  { text, at }: ScalarNode,
  what: string,
  wildcards: boolean,
  say: Say,
): Pattern | null => {
  const pattern = compilePattern(text, { wildcards })
  if (!('problem' in pattern)) return pattern
  return say({
    code: 'pattern_refused',
    at,
    message: `the pattern for ${what} ${pattern.problem}`,
    hint: "literal text, '?', '*' (no slash) and '**' (whole segments); see policies/README.md",
  })
}

/** Text; a number only for `*_id`, and then as it stands in the source. */
const readValue = (node: Node, claim: string, say: Say): ScalarNode | null => {
  if (node.kind !== 'scalar')
    return say(invalid(node.at, `'${claim}' wants text or a list of texts`, 'do not nest further'))
  if (node.is === 'string' || (node.is === 'number' && claim.endsWith('_id'))) return node
  return say(
    node.is === 'null'
      ? invalid(node.at, `'${claim}' has no value`, 'write {absent: true} to want its absence')
      : invalid(
          node.at,
          `'${claim}' is a ${node.is}, and claims are text`,
          `quote it: "${node.text}"`,
        ),
  )
}

const takesWildcards = (claim: string, dialects: readonly Dialect[]): boolean =>
  !/_(?:id|sha)$/.test(claim) &&
  !dialects.some(({ literal, ids }) => literal.includes(claim) || ids.includes(claim))
