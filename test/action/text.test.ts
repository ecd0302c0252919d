import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { code, plain, prose } from '../../action/text.ts'

/** Text of all kinds, with more than its share of what markup is made of. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({
    unit: fc.constantFrom(...'a1 `|<>&*_[]()\\!#$~:@/.\n\r\t\u202e\u0000\u001b'.split('')),
  }),
)

describe('plain', () => {
  test.each([
    ['a line break becomes a space', 'a\r\nb\tc', 'a b c'],
    ['an escape sequence loses its escape', '\u001b[31mred', '[31mred'],
    ['a text that turns direction reads as it is stored', 'a\u202eb\u2066c', 'abc'],
    ['what has no width is gone', 'a\u200bb\ufeff', 'ab'],
    ['letters of any script stay', 'žluťoučký 馬 ✓', 'žluťoučký 馬 ✓'],
  ])('%s', (_, text, expected) => {
    expect(plain(text)).toBe(expected)
  })

  test('never holds more than its limit, nor half a character', () => {
    expect(plain('😀😀😀', 2)).toBe('😀😀…')
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 20 }), (text, limit) => {
        const shown = plain(text, limit)
        expect(Array.from(shown).length).toBeLessThanOrEqual(limit + 1)
        expect(shown).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u)
      }),
    )
  })
})

const decoded = (html: string): string =>
  html.replace(/&#(\d+);/g, (_, point: string) => String.fromCodePoint(Number(point)))

describe('code', () => {
  test('shows any value whole, in a form that no value can leave', () => {
    fc.assert(
      fc.property(
        anyText.map((text) => plain(text)),
        (value) => {
          const shown = code(value)
          const [, span] = /^`([^`|<>&\\\n]+)`$/.exec(shown) ?? []
          const [, coded] = /^<code>((?:[A-Za-z0-9]|&#\d+;)+)<\/code>$/.exec(shown) ?? []
          expect(value === '' ? '' : (span ?? decoded(coded ?? 'left its form'))).toBe(value)
        },
      ),
    )
  })

  test('keeps what claims and ids are made of readable', () => {
    expect(code('acme/payments/.github/workflows/deploy.yml@refs/heads/*')).toBe(
      '`acme/payments/.github/workflows/deploy.yml@refs/heads/*`',
    )
  })
})

describe('prose', () => {
  test('leaves no character bare that could begin markup, and changes no word', () => {
    fc.assert(
      fc.property(
        anyText.map((text) => plain(text)),
        (sentence) => {
          const shown = prose(sentence)
          expect(shown.replace(/\\([\\`*_[\]<>|~$&:.])/g, '$1')).toBe(sentence)
          expect(shown.replace(/\\./gu, '')).not.toMatch(/[`*_[\]<>|~$&:]|www\./i)
        },
      ),
    )
  })
})
