import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  canonicalJson,
  GENESIS,
  link,
  recordLine,
  verifyRecord,
  type CanonicalValue,
} from '../../server/audit/chain.ts'

describe('canonical JSON', () => {
  it.each<[string, unknown]>([
    ['NaN', NaN],
    ['an infinite number', [-Infinity]],
    ['a lone surrogate', 'a\ud800'],
    ['a lone surrogate in a key', { '\udc00': 1 }],
    ['a big integer', 1n],
    ['a function', { a: () => 1 }],
    ['undefined in a list', [undefined]],
  ])('refuses %s', (_, value) => {
    expect(() => canonicalJson(value as CanonicalValue)).toThrow(TypeError)
  })

  // RFC 8785 sections 3.2.2 and 3.2.3.
  it.each<[string, CanonicalValue, string]>([
    [
      'numbers',
      [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27, -0],
      '[333333333.3333333,1e+30,4.5,0.002,1e-27,0]',
    ],
    ['escapes', '€$\u000f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'],
    [
      'the order of keys by UTF-16 units',
      { '€': 1, '\r': 2, דּ: 3, '1': 4, '😀': 5, '\u0080': 6, ö: 7 },
      '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}',
    ],
    [
      'absent members',
      { b: undefined, a: null, c: [true, false, {}] },
      '{"a":null,"c":[true,false,{}]}',
    ],
  ])('writes %s as RFC 8785 does', (_, value, text) => {
    expect(canonicalJson(value)).toBe(text)
  })

  const json = fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<CanonicalValue>

  it('does not depend on the order of keys, at any depth', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalJson(turned(value))).toBe(canonicalJson(value))
      }),
    )
  })

  it('is JSON of the same value, and its own canonical form', () => {
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalJson(value)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
        expect(canonicalJson(JSON.parse(text) as CanonicalValue)).toBe(text)
      }),
    )
  })
})

/** The same value with the members of every object turned round. */
const turned = (value: CanonicalValue): CanonicalValue => {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return (value as CanonicalValue[]).map(turned)
  const members = Object.entries(value as Record<string, CanonicalValue>).reverse()
  return Object.fromEntries(members.map(([key, member]) => [key, turned(member)]))
}

describe('a link', () => {
  const first = link(null, 5, { event: 'broker.started' })

  it('of a chain that is empty stands at 1, after zeros', () => {
    const text = `{"at":5,"body":{"event":"broker.started"},"position":1,"previous":"${GENESIS}"}`
    const hash = createHash('sha256').update(text).digest('hex')
    expect(recordLine(first)).toBe(
      `${text.slice(0, -1).replace(',"position"', `,"hash":"${hash}","position"`)}}`,
    )
  })

  it('follows the one before it', () => {
    const second = link(first, 6, { event: 'broker.stopped' })
    expect(second).toMatchObject({ position: 2, previous: first.hash })
  })

  it.each([
    ['position', { ...first, position: 2 }],
    ['time', { ...first, at: 6 }],
    ['previous', { ...first, previous: '1'.repeat(64) }],
    ['body', { ...first, body: { event: 'broker.stopped' as const } }],
    ['hash', { ...first, hash: GENESIS }],
  ])('does not verify with another %s', (_, record) => {
    expect(verifyRecord(first)).toBe(true)
    expect(verifyRecord(record)).toBe(false)
  })
})
