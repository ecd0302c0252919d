/** `::name key=value,…::data`, or its elder form `##[name key=value;…]data`. */
export interface Command {
  /** Lower case. */
  readonly name: string
  /** Keys in lower case. */
  readonly properties: ReadonlyMap<string, string>
  readonly data: string
}

interface Form {
  readonly separator: string
  /** In this order: a `%25` turns into a per cent sign last, and is not read again. */
  readonly inProperties: readonly Escape[]
  readonly inData: readonly Escape[]
}
type Escape = readonly [escaped: string, plain: string]

const DATA: readonly Escape[] = [
  ['%0D', '\r'],
  ['%0A', '\n'],
  ['%25', '%'],
]
const NEW: Form = {
  separator: ',',
  inProperties: [
    ['%0D', '\r'],
    ['%0A', '\n'],
    ['%3A', ':'],
    ['%2C', ','],
    ['%25', '%'],
  ],
  inData: DATA,
}
const OLD_ESCAPES: readonly Escape[] = [
  ['%3B', ';'],
  ['%0D', '\r'],
  ['%0A', '\n'],
  ['%5D', ']'],
  ['%25', '%'],
]
const OLD: Form = { separator: ';', inProperties: OLD_ESCAPES, inData: OLD_ESCAPES }

/** The command of a line of output if the line is one and `known` names it (actions/runner, ActionCommand.cs). */
export const parseCommand = (line: string, known: ReadonlySet<string>): Command | null =>
  parseNew(line.trimStart(), known) ?? parseOld(line, known)

const parseNew = (line: string, known: ReadonlySet<string>): Command | null => {
  if (!line.startsWith('::')) return null
  const end = line.indexOf('::', 2)
  return end < 0 ? null : build(line.slice(2, end), line.slice(end + 2), NEW, known)
}

const parseOld = (line: string, known: ReadonlySet<string>): Command | null => {
  const start = line.indexOf('##[')
  const end = start < 0 ? -1 : line.indexOf(']', start)
  return end < 0 ? null : build(line.slice(start + 3, end), line.slice(end + 1), OLD, known)
}

const build = (
  info: string,
  data: string,
  form: Form,
  known: ReadonlySet<string>,
): Command | null => {
  const space = info.indexOf(' ')
  const name = (space < 0 ? info : info.slice(0, space)).toLowerCase()
  if (!known.has(name)) return null
  const properties = new Map<string, string>()
  for (const property of space < 0
    ? []
    : info
        .slice(space + 1)
        .trim()
        .split(form.separator)) {
    const [, key, value] = /^=*([^=]+)=+([\s\S]+)$/.exec(property) ?? []
    if (key !== undefined && value !== undefined)
      properties.set(key.toLowerCase(), unescape(value, form.inProperties))
  }
  return { name, properties, data: unescape(data, form.inData) }
}

const unescape = (text: string, escapes: readonly Escape[]): string =>
  escapes.reduce((result, [escaped, plain]) => result.replaceAll(escaped, plain), text)
