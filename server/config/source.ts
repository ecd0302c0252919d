import { dirname, resolve } from 'node:path'
import { isAlias, isMap, isScalar, LineCounter, parseDocument, visit, type YAMLMap } from 'yaml'
import type { ConfigProblem } from './values.ts'

export interface ConfigInput {
  readonly env: Readonly<Record<string, string | undefined>>
  /** tvm.yaml, or null when there is none. */
  readonly file: { readonly path: string; readonly text: string } | null
  readonly cwd: string
}

/** What tvm.yaml says: its values with their places, and what is wrong with it as YAML. */
export interface Source {
  /** The folder that relative paths start from. */
  readonly base: string
  readonly values: ReadonlyMap<string, { readonly value: unknown; readonly at: string }>
  readonly problems: readonly ConfigProblem[]
}

export const readSource = ({ file, cwd }: ConfigInput): Source => {
  if (file === null) return { base: cwd, values: new Map(), problems: [] }
  const lines = new LineCounter()
  const doc = parseDocument(file.text, { lineCounter: lines, uniqueKeys: true })
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${file.path}:${line}:${col}`
  }
  const problems: ConfigProblem[] = doc.errors.map((error) => ({
    at: place(error.pos[0]),
    key: 'tvm.yaml',
    message: error.message.split('\n')[0] ?? 'is not well-formed YAML',
  }))
  const say = (offset: number, message: string): void =>
    void problems.push({ at: place(offset), key: 'tvm.yaml', message })
  visit(doc, (_, node) => {
    if (isAlias(node)) say(node.range?.[0] ?? 0, 'takes no aliases')
  })
  if (doc.contents !== null && !isMap(doc.contents)) say(0, 'must be a map of keys')
  const values =
    problems.length === 0 && isMap(doc.contents)
      ? entries(doc.contents, place)
      : new Map<string, never>()
  return { base: dirname(resolve(cwd, file.path)), values, problems }
}

const entries = (map: YAMLMap, place: (offset: number) => string): Source['values'] => {
  const plain = map.toJSON() as Record<string, unknown>
  return new Map(
    map.items.map(({ key }) => {
      const name = isScalar(key) ? String(key.value) : ''
      const offset = isScalar(key) ? (key.range?.[0] ?? 0) : 0
      return [name, { value: plain[name], at: place(offset) }]
    }),
  )
}
