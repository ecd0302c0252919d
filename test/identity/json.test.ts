import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson } from '../../server/identity/json.ts'

describe('parseStrictJson refuses', () => {
  const rows: readonly (readonly [string, string, RegExp])[] = [
    ['nothing', '', /not JSON/],
    ['what is cut', '{"a":1', /not JSON/],
    ['a comma too many', '{"a":1,}', /not JSON/],
    ['two documents', '{}{}', /not JSON/],
    ['a comment', '{}//', /not JSON/],
    ['a line break in a string', '"a\nb"', /not JSON/],
    ['a byte order mark', '\ufeff{}', /not JSON/],
    ['NaN', 'NaN', /not JSON/],
    ['a name twice', '{"a":1,"a":1}', /twice/],
    ['a name twice, far apart', '{"a":1,"b":[{"c":2},"a"],"a":3}', /twice/],
    ['a name twice, once in disguise', String.raw`{"a":1,"\u0061":2}`, /twice/],
    ['a name twice, both in disguise', String.raw`{"\u002f":1,"\/":2}`, /twice/],
    ['a name twice inside', '[{"x":{"a":1,"a":1}}]', /twice/],
    ['a name twice, one before a space', '{"a" \n\t\r:1,"a":1}', /twice/],
    ['the empty name twice', '{"":1,"":2}', /twice/],
    ['a name twice after a string full of signs', String.raw`{"a":"{\"b\":[\\","a":1}`, /twice/],
    ['__proto__', '{"__proto__":1}', /named/],
    ['__proto__ inside', '{"a":[{"__proto__":{}}]}', /named/],
    ['__proto__ in disguise', String.raw`{"__pr\u006fto__":1}`, /named/],
    ['nine levels of lists', '[[[[[[[[[]]]]]]]]]', /deep/],
    ['nine levels of objects', '{"a":'.repeat(8) + '{}' + '}'.repeat(8), /deep/],
    ['a hundred thousand levels', '['.repeat(1e5) + ']'.repeat(1e5), /deep|not JSON/],
    [
      '257 members',
      `{${Array.from({ length: 257 }, (_, i) => `"${i}":0`).join()}}`,
      /too many members/,
    ],
    [
      '257 members in objects of their own',
      `[${Array.from({ length: 257 }, () => '{"a":0}').join()}]`,
      /too many members/,
    ],
  ]
  it.each(rows)('%s', (_, text, problem) => {
    expect(parseStrictJson(text)).toEqual({
      ok: false,
      problem: expect.stringMatching(problem) as string,
    })
  })
})

describe('parseStrictJson takes', () => {
  it.each([
    '{"a":{"a":{"a":1}},"b":{"a":1}}',
    '[{"a":1},{"a":1}]',
    '{"a":"a","b":["a","a"]}',
    '{"a":"b","c":"\\"a\\":1"}',
    '{"a":"__proto__"}',
    '["__proto__"]',
    '{"constructor":1,"toString":2,"prototype":3}',
    '{"A":1,"a":2}',
    '[[[[[[[[]]]]]]]]',
    '[[],[],[],[],[],[],[],[],[],[]]',
    ' "text" ',
    '-1.5e3',
    'null',
    String.raw`"\ud800"`,
  ])('%s', (text) => {
    expect(parseStrictJson(text)).toEqual({ ok: true, value: JSON.parse(text) as unknown })
  })
})

/** Its own way of telling: a tree of entries, with nothing lost as JSON.parse loses repeated names. */
type Tree =
  | { readonly kind: 'leaf'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly Tree[] }
  | { readonly kind: 'object'; readonly entries: readonly (readonly [string, Tree])[] }

const names = fc.constantFrom('a', 'b', 'aa', '', '"', '\\', '{', '\u2028', '__proto__', 'é')
const leaves = fc.oneof(
  fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
  fc.integer().map(String),
  fc.constantFrom('true', 'null', '1e9', '-0', '"a"', '"\\"a\\":"', '"__proto__"'),
)
const { tree: trees } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'medium', maxDepth: 10, withCrossShrink: true },
    fc.record({ kind: fc.constant('leaf'), text: leaves }),
    fc.record({ kind: fc.constant('list'), items: fc.array(tie('tree'), { maxLength: 4 }) }),
    fc.record({
      kind: fc.constant('object'),
      entries: fc.array(fc.tuple(names, tie('tree')), { maxLength: 4 }),
    }),
  ),
}))

/** Now as it is, now with every character escaped, now with spaces around it. */
const quoted = (name: string, style: number): string =>
  [
    JSON.stringify(name),
    `"${name.replace(/./gsu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)}"`,
    ` \n${JSON.stringify(name)}\t\r`,
  ][style % 3] ?? ''

const write = (tree: Tree, style = 0): string => {
  if (tree.kind === 'leaf') return tree.text
  if (tree.kind === 'list')
    return `[${tree.items.map((item) => write(item, style + 1)).join(' ,')}]`
  const entries = tree.entries.map(
    ([name, value], i) => `${quoted(name, style + i)}:${write(value, i)}`,
  )
  return `{${entries.join(',')}}`
}

const children = (tree: Tree): readonly Tree[] =>
  tree.kind === 'leaf'
    ? []
    : tree.kind === 'list'
      ? tree.items
      : tree.entries.map(([, value]) => value)

const depth = (tree: Tree): number =>
  tree.kind === 'leaf' ? 0 : 1 + Math.max(0, ...children(tree).map(depth))

const isOdd = (tree: Tree): boolean => {
  const own = tree.kind === 'object' ? tree.entries.map(([name]) => name) : []
  const here = new Set(own).size < own.length || own.includes('__proto__')
  return here || children(tree).some(isOdd)
}

const size = (tree: Tree): number =>
  children(tree).reduce((sum, child) => sum + size(child), 0) +
  (tree.kind === 'object' ? tree.entries.length : 0)

describe('parseStrictJson, whatever the text', () => {
  it('reads what JSON.parse reads, but for repeated names, __proto__, depth and crowds', () => {
    fc.assert(
      fc.property(trees, (tree) => {
        const text = write(tree)
        const expected = !isOdd(tree) && depth(tree) <= 8 && size(tree) <= 256
        const read = parseStrictJson(text)
        expect(read.ok).toBe(expected)
        if (read.ok) expect(read.value).toEqual(JSON.parse(text))
      }),
      { numRuns: 2000 },
    )
  })

  it('reads every value that JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 4, noUnicodeString: false }), (text) => {
        fc.pre(!text.includes('__proto__'))
        expect(parseStrictJson(text, { maxKeys: Infinity })).toEqual({
          ok: true,
          value: JSON.parse(text) as unknown,
        })
      }),
    )
  })

  it('never throws, and takes nothing that JSON.parse refuses', () => {
    const signs = fc.string({ unit: fc.constantFrom(...Array.from('{}[]",:\\ au0061\n1')) })
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), signs), (text) => {
        const read = parseStrictJson(text)
        let parsed: unknown
        try {
          parsed = JSON.parse(text)
        } catch {
          parsed = undefined
        }
        expect(read.ok ? read.value : undefined).toEqual(read.ok ? parsed : undefined)
        if (parsed === undefined) expect(read.ok).toBe(false)
      }),
      { numRuns: 5000 },
    )
  })

  it('never repeats a word of the text', () => {
    const marked = ['{"marker":1,"marker":2}', '{"marker"', '"marker']
    const problems = marked.map((text) => parseStrictJson(text))
    expect(problems.map(({ ok }) => ok)).toEqual([false, false, false])
    expect(JSON.stringify(problems)).not.toContain('marker')
  })
})
