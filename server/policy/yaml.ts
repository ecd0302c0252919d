import { CST, isMap, isScalar, isSeq, Lexer, LineCounter, type Pair, parseDocument } from 'yaml'
import { hasControl } from './glob.ts'
import type { Place } from './grant.ts'
import type { Finding, Say } from './problem.ts'

/** YAML as a plain tree in which everything knows its place. */
export type Node = ScalarNode | ListNode | MapNode

export interface ScalarNode {
  readonly kind: 'scalar'
  /** What YAML 1.2 takes the scalar for. */
  readonly is: 'string' | 'number' | 'boolean' | 'null'
  /** A string's value; of anything else the source text, since a number would lose `0123`, `1e3` and long ids. */
  readonly text: string
  readonly at: Place
}

export interface ListNode {
  readonly kind: 'list'
  readonly items: readonly Node[]
  readonly at: Place
}

export interface MapNode {
  readonly kind: 'map'
  readonly entries: ReadonlyMap<string, Entry>
  readonly at: Place
}

export interface Entry {
  readonly key: ScalarNode
  readonly value: Node
}

const MAX_DEPTH = 16
const MAX_INDENT = 128
/** About 8,000 grants; compose would take seconds over much more. */
const MAX_LEXEMES = 500_000

interface Reading {
  readonly text: string
  readonly place: (offset: number) => Place
  /** Complains about what stands at an offset. */
  readonly wrong: (offset: number, message: string, hint: string) => null
  readonly tooMuch: (offset: number, message: string) => null
}

/** One YAML document as a tree; null when anything about it was complained of. */
export const readYaml = (file: string, text: string, say: Say): Node | null => {
  const found: Finding[] = []
  const place = placeIn(file, text)
  const complain = (code: Finding['code'], offset: number, message: string, hint: string) => {
    found.push({ code, at: place(offset), message, hint })
    return null
  }
  const reading: Reading = {
    text,
    place,
    wrong: (offset, message, hint) => complain('yaml_malformed', offset, message, hint),
    tooMuch: (offset, message) => complain('yaml_limits', offset, message, 'no policy needs that'),
  }
  let tree: Node | null = null
  for (const step of [refuseCharacters, refuseFeatures, compose])
    if (found.length === 0) tree = step(reading)
  for (const finding of found) say(finding)
  return found.length === 0 ? tree : null
}

const placeIn = (file: string, text: string): ((offset: number) => Place) => {
  const lines = new LineCounter()
  lines.addNewLine(0)
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1))
    lines.addNewLine(at + 1)
  return (offset) => {
    const { line, col } = lines.linePos(offset)
    return { file, line, column: col }
  }
}

const refuseCharacters = ({ text, wrong }: Reading): null => {
  const plain = text.replace(/\r\n/g, ' \n')
  for (let at = 0; at < plain.length; at++) {
    const unit = plain.charAt(at)
    if (unit !== '\n' && hasControl(unit))
      return wrong(
        at,
        `holds the character U+${plain.charCodeAt(at).toString(16).padStart(4, '0')}`,
        'indent with spaces; no tabs, no invisible characters, none that change the direction of text',
      )
  }
  return null
}

const REFUSED: Partial<Record<CST.TokenType, string>> = {
  anchor: 'an anchor',
  alias: 'an alias',
  tag: 'a tag',
  'directive-line': 'a directive',
  'explicit-key-ind': "a '?' key",
}

/** Judges lexemes, before anything recursive reads the text. */
const refuseFeatures = ({ text, wrong, tooMuch }: Reading): null => {
  let offset = 0
  let flow = 0
  let lexemes = 0
  let isScalarNext = false
  for (const lexeme of new Lexer().lex(text)) {
    if (++lexemes > MAX_LEXEMES) return tooMuch(offset, 'holds too many values')
    const type = isScalarNext ? null : CST.tokenType(lexeme)
    isScalarNext = lexeme === CST.SCALAR
    if (type === 'flow-seq-start' || type === 'flow-map-start') flow++
    if (type === 'flow-seq-end' || type === 'flow-map-end') flow--
    const refused = type === null ? undefined : REFUSED[type]
    if (refused !== undefined) return wrong(offset, `holds ${refused}`, PLAIN)
    if (flow > MAX_DEPTH || (type === 'space' && lexeme.length > MAX_INDENT))
      return tooMuch(offset, `is nested deeper than ${MAX_DEPTH} levels`)
    if (type === 'seq-item-ind' && offset - text.lastIndexOf('\n', offset) > MAX_INDENT)
      return tooMuch(offset, `is nested deeper than ${MAX_DEPTH} levels`)
    if (!MARKS.includes(lexeme)) offset += lexeme.length
  }
  return null
}

const PLAIN = 'a policy is plain YAML: write every value out where it is meant'

/** Lexemes that the lexer adds and that stand nowhere in the text. */
const MARKS: readonly string[] = [CST.DOCUMENT, CST.FLOW_END, CST.SCALAR]

const compose = (reading: Reading): Node | null => {
  const doc = parseDocument(reading.text, {
    schema: 'core',
    version: '1.2',
    merge: false,
    uniqueKeys: false,
    prettyErrors: false,
    // 'silent' would also keep silent about a second document.
    logLevel: 'error',
  })
  for (const error of doc.errors.slice(0, 5))
    reading.wrong(error.pos[0], `is not well-formed YAML: ${error.message}`, 'mend the YAML')
  return doc.errors.length > 0 ? null : convert(doc.contents, 0, 0, reading)
}

const convert = (node: unknown, fallback: number, depth: number, reading: Reading): Node | null => {
  const offset = offsetOf(node) ?? fallback
  if (depth > MAX_DEPTH) return reading.tooMuch(offset, `is nested deeper than ${MAX_DEPTH} levels`)
  const at = reading.place(offset)
  if (isMap(node)) return { kind: 'map', entries: entriesOf(node.items, depth, reading), at }
  if (isSeq(node)) {
    const items = node.items.map((item) => convert(item, offset, depth + 1, reading))
    return { kind: 'list', items: items.filter((item) => item !== null), at }
  }
  return scalarOf(node, offset, reading)
}

const entriesOf = (items: readonly Pair[], depth: number, reading: Reading) => {
  const entries = new Map<string, Entry>()
  for (const pair of items) {
    const offset = offsetOf(pair.key) ?? 0
    const key = scalarOf(pair.key, offset, reading)
    const value = convert(pair.value, offset, depth + 1, reading)
    if (key === null || value === null) continue
    if (key.text === '<<') reading.wrong(offset, 'holds a merge key', PLAIN)
    if (entries.has(key.text))
      reading.wrong(offset, `has the key '${key.text}' twice`, 'keep one of them')
    entries.set(key.text, { key, value })
  }
  return entries
}

const scalarOf = (node: unknown, offset: number, reading: Reading): ScalarNode | null => {
  const at = reading.place(offset)
  if (node === null || node === undefined) return { kind: 'scalar', is: 'null', text: '', at }
  if (!isScalar(node)) return reading.wrong(offset, 'has a key that is no word', PLAIN)
  const { value, source } = node
  if (typeof value === 'string' && hasControl(value.replaceAll('\n', '')))
    return reading.wrong(offset, 'holds an escaped control character', PLAIN)
  if (typeof value === 'string') return { kind: 'scalar', is: 'string', text: value, at }
  const is = typeof value === 'number' ? 'number' : typeof value === 'boolean' ? 'boolean' : 'null'
  return { kind: 'scalar', is, text: source ?? '', at }
}

const offsetOf = (node: unknown): number | undefined =>
  isMap(node) || isSeq(node) || isScalar(node) ? node.range?.[0] : undefined
