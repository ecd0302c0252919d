import { FACT_PATHS, LITERAL_FACTS } from './forbid.ts'
import { hasControl } from './glob.ts'
import type { PolicyContext } from './grant-file.ts'
import type { Guardrail, Pattern } from './grant.ts'
import { readBlock, readGlob, readTest } from './lines.ts'
import { suggest, type Say } from './problem.ts'
import {
  invalid,
  readFields,
  readList,
  readMap,
  readString,
  readText,
  readVersion,
} from './read.ts'
import { readYaml, type Entry, type Node } from './yaml.ts'

const FILE_KEYS = { required: ['version', 'never'], optional: [] }
const KEYS = { required: ['id'], optional: ['grant', 'when', 'target'] }
const ID = { pattern: /^[a-z][a-z0-9-]{1,62}$/, hint: 'lower-case letters, digits and hyphens' }

/** `_guardrails.yaml`: what no decision may allow, whoever's grant it is. */
export const readGuardrails = (
  path: string,
  text: string,
  context: PolicyContext,
  say: Say,
): readonly Guardrail[] => {
  const tree = readYaml(path, text, say)
  const fields = tree === null ? null : readFields(tree, 'the file', FILE_KEYS, say)
  if (fields === null) return []
  readVersion(fields, say)
  const never = fields.get('never')
  const list = never === null ? null : readList(never, 'never', say)
  const laws = (list?.items ?? []).map((item) => readGuardrail(item, context, say))
  const good = laws.filter((law) => law !== null)
  const repeated = good.find(({ id }, i) => good.findIndex((law) => law.id === id) < i)
  if (repeated !== undefined)
    say(invalid(repeated.at, `two guardrails are called '${repeated.id}'`, 'an id is unique'))
  return good
}

const readGuardrail = (node: Node, context: PolicyContext, say: Say): Guardrail | null => {
  const fields = readFields(node, 'a guardrail', KEYS, say)
  if (fields === null) return null
  const [id, grant, when, target] = [...KEYS.required, ...KEYS.optional].map(fields.get)
  if (!grant && !when && !target)
    say(invalid(node.at, 'the guardrail forbids everything', 'add grant, when or target'))
  const dialects = [...context.issuers.values()].map(({ dialect }) => dialect)
  return {
    id: (id && readText(id, 'id', ID, say)) ?? '',
    at: node.at,
    grant: grant ? readGrantGlob(grant, say) : null,
    when: when ? readBlock(when, 'when', { dialects, say }) : null,
    target: target ? readTargetLaw(target, say) : null,
  }
}

const readGrantGlob = (node: Node, say: Say): Pattern | null => {
  const scalar = readString(node, 'grant', say)
  return scalar === null ? null : readGlob(scalar, 'grant', true, say)
}

const readTargetLaw = (node: Node, say: Say): Guardrail['target'] => {
  const sections = [...(readMap(node, 'target', say)?.entries.values() ?? [])]
  return sections.flatMap(({ key, value }) => {
    const facts = [...(readMap(value, `target.${key.text}`, say)?.entries.values() ?? [])]
    return facts.map((fact) => readFact(key.text, fact, say)).filter((fact) => fact !== null)
  })
}

const readFact = (target: string, { key, value }: Entry, say: Say) => {
  const path = `${target}.${key.text}`
  if (!FACT_PATHS.includes(path))
    return say({
      code: 'key_unknown',
      at: key.at,
      message: `a guardrail cannot speak of '${path}'`,
      hint: suggest(path, FACT_PATHS),
    })
  const read = LITERAL_FACTS.includes(path) ? readLiteral : readFactGlob
  const test = readTest(value, path, (item) => read(item, path, say), say)
  return test === null ? null : { path, test }
}

const readFactGlob = (node: Node, path: string, say: Say): Pattern | null => {
  const scalar = readString(node, path, say)
  return scalar === null ? null : readGlob(scalar, path, true, say)
}

/** URLs have empty segments, which no glob has: they are compared as they stand. */
const readLiteral = (node: Node, path: string, say: Say): Pattern | null => {
  const source = readString(node, path, say)?.text ?? null
  if (source === null) return null
  return source === '' || hasControl(source) || /[*?]/.test(source)
    ? say(invalid(node.at, `'${path}' takes no wildcard`, 'write the whole value'))
    : { source, regexp: null }
}
