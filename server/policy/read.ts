import type { Place } from './grant.ts'
import { suggest, type Finding, type Say } from './problem.ts'
import type { Entry, ListNode, Node, ScalarNode } from './yaml.ts'

/** Readers of a YAML tree: each gives the value, or complains at its place and gives null. */
export interface Keys {
  readonly required: readonly string[]
  readonly optional: readonly string[]
}

export interface Fields {
  readonly at: Place
  readonly get: (key: string) => Node | null
  readonly entries: ReadonlyMap<string, Entry>
}

export const invalid = (at: Place, message: string, hint: string): Finding => ({
  code: 'value_invalid',
  at,
  message,
  hint,
})

/** A map with these keys and no others. An unknown or missing key is complained of; the rest is still given. */
export const readFields = (node: Node, what: string, keys: Keys, say: Say): Fields | null => {
  const fields = readMap(node, what, say)
  if (fields === null) return null
  const known = [...keys.required, ...keys.optional]
  for (const [name, { key }] of fields.entries)
    if (!known.includes(name))
      say({
        code: 'key_unknown',
        at: key.at,
        message: `${what} has no key '${name}'`,
        hint: suggest(name, known),
      })
  for (const name of keys.required)
    if (!fields.entries.has(name))
      say({
        code: 'key_missing',
        at: fields.at,
        message: `${what} lacks '${name}'`,
        hint: `add '${name}'`,
      })
  return fields
}

/** A map of names that the author chooses; never an empty one. */
export const readMap = (node: Node, what: string, say: Say): Fields | null => {
  if (node.kind !== 'map' || node.entries.size === 0)
    return say(invalid(node.at, `${what} must be a map with at least one key`, 'write key: value'))
  const { entries, at } = node
  return { at, entries, get: (key) => entries.get(key)?.value ?? null }
}

/** A list that is not empty: an empty list never means all. */
export const readList = (node: Node, what: string, say: Say): ListNode | null =>
  node.kind === 'list' && node.items.length > 0
    ? node
    : say(
        invalid(
          node.at,
          `${what} must be a list with at least one entry`,
          'an empty list never means all: leave the key out, or list what is meant',
        ),
      )

/** Text of a closed pattern; `hint` says what the pattern wants. */
export const readText = (
  node: Node,
  what: string,
  { pattern, hint }: { readonly pattern: RegExp; readonly hint: string },
  say: Say,
): string | null => {
  const scalar = readString(node, what, say)
  if (scalar === null) return null
  return pattern.test(scalar.text) ? scalar.text : say(invalid(node.at, `${what} is refused`, hint))
}

export const readString = (node: Node, what: string, say: Say): ScalarNode | null => {
  if (node.kind === 'scalar' && node.is === 'string') return node
  const hint =
    node.kind === 'scalar' && node.is !== 'null' ? `quote it: "${node.text}"` : 'write one text'
  return say(invalid(node.at, `${what} must be text`, hint))
}

export const readBoolean = (node: Node, what: string, say: Say): boolean | null =>
  node.kind === 'scalar' && node.is === 'boolean'
    ? node.text.toLowerCase() === 'true'
    : say(invalid(node.at, `${what} must be true or false`, 'write true or false, unquoted'))

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 }

/** `90s`, `15m`, `1h`, in seconds; at most `cap` seconds. */
export const readDuration = (node: Node, what: string, cap: number, say: Say): number | null => {
  const found = node.kind === 'scalar' ? /^([1-9][0-9]{0,5})([smh])$/.exec(node.text) : null
  if (found === null)
    return say(invalid(node.at, `${what} must be a duration`, 'write 90s, 15m or 1h'))
  const seconds = Number(found[1]) * (UNITS[found[2] ?? ''] ?? NaN)
  return seconds <= cap
    ? seconds
    : say(invalid(node.at, `${what} is longer than ${cap} s`, `at most ${formatSeconds(cap)}`))
}

const formatSeconds = (seconds: number): string =>
  seconds % 3600 === 0
    ? `${seconds / 3600}h`
    : seconds % 60 === 0
      ? `${seconds / 60}m`
      : `${seconds}s`

/** A list of distinct texts of a closed pattern. */
export const readTexts = (
  node: Node,
  what: string,
  rule: { readonly pattern: RegExp; readonly hint: string },
  say: Say,
): readonly string[] | null => {
  const list = readList(node, what, say)
  if (list === null) return null
  const texts = list.items.map((item) => readText(item, `an entry of ${what}`, rule, say))
  texts.forEach((text, i) => {
    if (text !== null && texts.indexOf(text) < i)
      say(invalid(list.items[i]?.at ?? list.at, `${what} names '${text}' twice`, 'name it once'))
  })
  return texts.filter((text) => text !== null)
}

/** Every file says which version of the language it is written in; there is one. */
export const readVersion = (fields: Fields, say: Say): void => {
  const node = fields.get('version')
  if (node === null || (node.kind === 'scalar' && node.is === 'number' && node.text === '1')) return
  say(invalid(node.at, 'this version of the broker reads version 1', 'write version: 1'))
}
