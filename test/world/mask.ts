/** Values that a job's log must not show; grows while the job runs, and holds for all its later output. */
export interface Masker {
  /** A value and each of its lines, as `::add-mask::` and a secret of the workflow do. */
  add(value: string): void
  /** The text with every value, and the encodings of it that the runner knows, as `***`. */
  mask(text: string): string
  readonly values: readonly string[]
}

const base64 = (shift: number) => (value: string) => {
  const bytes = Buffer.from(value)
  return bytes.subarray(bytes.length > shift ? shift : 0).toString('base64')
}

const XML: Readonly<Record<string, string>> = {
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '&': '&amp;',
}

const percent = (text: string): string =>
  `%${text.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`

/** A command line that PowerShell prints is cut at an ampersand; parts under six characters are not masked. */
const ampersand = (part: (value: string) => string) => (value: string) => {
  const found = value.includes('&') ? part(value) : ''
  return found.length >= 6 ? found : ''
}

/** What the runner masks beside a value itself (actions/runner, ValueEncoders.cs). */
const ENCODERS: readonly ((value: string) => string)[] = [
  base64(0),
  base64(1),
  base64(2),
  (value) => value.replaceAll('"', '\\"'),
  (value) => value.replaceAll("'", "''"),
  (value) => JSON.stringify(value).slice(1, -1),
  (value) => encodeURIComponent(value).replace(/[!'()*]/g, percent),
  (value) => value.replace(/[<>"'&]/g, (character) => XML[character] ?? character),
  (value) => (value.length > 8 && /^".*"$/s.test(value) ? value.slice(1, -1) : ''),
  ampersand((value) =>
    value.includes('&+')
      ? value.slice(0, value.indexOf('&+') + 2)
      : value.slice(0, value.lastIndexOf('&') + 1),
  ),
  ampersand((value) =>
    value.includes('&+')
      ? value.slice(value.indexOf('&+') + 3)
      : value.slice(value.lastIndexOf('&') + 1),
  ),
]

export const makeMasker = (): Masker => {
  const values = new Set<string>()
  const needles = new Set<string>()
  const addOne = (value: string): void => {
    if (value === '') return
    values.add(value)
    for (const needle of [value, ...ENCODERS.map((encode) => encode(value))])
      if (needle !== '') needles.add(needle)
  }
  return {
    add: (value) => {
      addOne(value)
      for (const line of value.split(/[\r\n]/)) addOne(line.trim())
    },
    mask: (text) => replaceRanges(text, rangesOf(text, needles)),
    get values() {
      return [...values]
    },
  }
}

type Range = readonly [start: number, end: number]

const rangesOf = (text: string, needles: Iterable<string>): Range[] => {
  const found: Range[] = []
  for (const needle of needles)
    for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, at + 1))
      found.push([at, at + needle.length])
  return found.sort(([a], [b]) => a - b)
}

/** Ranges that overlap or touch become one `***`. */
const replaceRanges = (text: string, ranges: readonly Range[]): string => {
  let masked = ''
  let done = 0
  for (const [start, end] of ranges) {
    if (start > done || (start === 0 && done === 0)) masked += `${text.slice(done, start)}***`
    done = Math.max(done, end)
  }
  return masked + text.slice(done)
}
