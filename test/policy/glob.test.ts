import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compilePattern, matches } from '../../server/policy/glob.ts'
import { referenceMatches } from './reference-matcher.ts'

const verdict = (source: string, value: string): boolean => {
  const pattern = compilePattern(source, { wildcards: true })
  if ('problem' in pattern) throw new Error(`${source} ${pattern.problem}`)
  return matches(pattern, value)
}

describe('a pattern refuses', () => {
  it.each([
    ['a branch that only starts alike', 'refs/heads/main', 'refs/heads/main-evil'],
    ['a branch that only ends alike', 'refs/heads/main', 'x/refs/heads/main'],
    ['another case', 'refs/heads/main', 'refs/heads/MAIN'],
    ['another case behind a wildcard', 'refs/heads/rel-*', 'refs/heads/REL-1'],
    ['the alternatives of a bar', 'main|develop', 'main'],
    ['what a bar would leave unanchored', 'main|develop', 'main-attacker'],
    ['the insides of a bracket', 'refs/heads/[x]', 'refs/heads/x'],
    ['a bracket beside a wildcard', '[ab]-*', 'a-1'],
    ['the alternatives of a brace', '{a,b}*', 'a'],
    ['a range in a brace', 'v{1..3}*', 'v2'],
    ['an extended glob', 'rel+(1)*', 'rel11'],
    ['everything else, after a leading !', '!prod*', 'evil'],
    ['a negated extended glob', '!(prod)*', 'evil'],
    ['a slash inside *', 'acme/*', 'acme/x/y'],
    ['a slash for ?', 'a?b', 'a/b'],
    ['no segment for **', 'refs/heads/**', 'refs/heads'],
    ['no segment for ** in the middle', 'a/**/b', 'a/b'],
    ['no segment for ** in front', '**/b', 'b'],
    ['an empty tail', 'acme/*', 'acme/'],
    ['an empty value for *', '*', ''],
    ['an empty value for **', '**', ''],
    ['a newline', 'acme/*', 'acme/x\ny'],
    ['a trailing newline', 'acme/*', 'acme/x\n'],
    ['a dot segment', 'acme/**', 'acme/./x'],
    ['a parent segment', 'refs/heads/**', 'refs/heads/../tags/v1'],
    ['a parent segment for a lone *', 'acme/*', 'acme/..'],
    ['an empty segment in the middle', 'acme/**', 'acme//x'],
    ['a text-direction override', 'prod-*', 'prod-\u202eeu'],
    ['an overlong value', 'a*', `a${'b'.repeat(1024)}`],
    ['a character more', 'v?', 'v10'],
  ])('%s', (_, source, value) => {
    expect(verdict(source, value)).toBe(false)
  })
})

describe('a pattern matches', () => {
  it.each([
    ['itself, parentheses and all', 'prod (eu)', 'prod (eu)'],
    ['itself with a leading !', '!prod', '!prod'],
    ['brackets as they stand', '[x]-*', '[x]-1'],
    ['braces as they stand', '{a,b}-*', '{a,b}-1'],
    ['bars as they stand', 'a|b*', 'a|bc'],
    ['extended globs as they stand', '+(a)@(b)!(c)*', '+(a)@(b)!(c)'],
    ['a run without slash', 'refs/heads/rel-*', 'refs/heads/rel-1.2'],
    ['an empty run after text', 'refs/heads/rel-*', 'refs/heads/rel-'],
    ['a dot file', 'acme/*', 'acme/.github'],
    ['a dot folder below **', 'acme/**', 'acme/x/.github/workflows/a.yml@refs/heads/main'],
    ['one segment for **', 'refs/heads/**', 'refs/heads/main'],
    ['many segments for **', 'a/**/b', 'a/x/y/z/b'],
    ['two **', '**/.github/**', 'acme/x/.github/workflows/a.yml'],
    ['** alone', '**', 'a/b'],
    ['one character for ?', 'v?', 'v1'],
    ['letters beyond ASCII', 'prüf-*', 'prüf-ü'],
  ])('%s', (_, source, value) => {
    expect(verdict(source, value)).toBe(true)
  })
})

describe('the fence refuses', () => {
  it.each([
    ['an empty pattern', ''],
    ['513 characters', 'a'.repeat(513)],
    ['a newline', 'a\nb'],
    ['a text-direction override', 'a\u202eb'],
    ['half a surrogate pair', 'a\ud83d'],
    ['a backslash', 'a\\*'],
    ['a leading slash', '/a'],
    ['a trailing slash', 'a/'],
    ['an empty segment', 'a//b'],
    ['a dot segment', 'a/./b'],
    ['a parent segment', 'a/../b'],
    ['** beside text', 'refs/heads/rel**'],
    ['three stars', '***'],
    ['four wildcards', '?/?/?/?'],
    ['three * in a segment', 'a*b*c*d'],
    ['three **', '**/a/**/b/**'],
  ])('%s', (_, source) => {
    expect(compilePattern(source, { wildcards: true })).toHaveProperty('problem')
  })

  it.each(['*', 'a?', '**'])('%s where no wildcard may stand', (source) => {
    expect(compilePattern(source, { wildcards: false })).toHaveProperty('problem')
  })
})

/** Characters that some matcher somewhere reads as an operator, the rest of the grammar, and letters that fold. */
const ADVERSARIAL = Array.from('aAbBkKsS019_-./:@!(){}[]+|^$,~#%& "\'<>=`;\u212a\u017fü😀')
const NASTY = [
  ...ADVERSARIAL,
  '*',
  '?',
  '/',
  '/',
  '**',
  '/**/',
  '..',
  '.',
  '*/',
  '/*',
  '\n',
  '//',
  '\u200b',
  '\u202e',
  '\u0085',
]

const texts = (alphabet: readonly string[], maxLength: number) =>
  fc.array(fc.constantFrom(...alphabet), { maxLength }).map((parts) => parts.join(''))

/** A value that stands near the pattern: its wildcards replaced, perhaps one character changed. */
const near = (pattern: string) =>
  fc
    .tuple(
      fc.array(texts(NASTY, 4), { minLength: 3, maxLength: 3 }),
      fc.option(fc.tuple(fc.nat(pattern.length), fc.constantFrom(...NASTY))),
    )
    .map(([fills, change]) => {
      let next = 0
      const filled = pattern.replace(/\*\*|[*?]/g, () => fills[next++ % fills.length]!)
      return change === null
        ? filled
        : filled.slice(0, change[0]) + change[1] + filled.slice(change[0] + 1)
    })

const cases = texts(NASTY, 9)
  .filter((source) => !('problem' in compilePattern(source, { wildcards: true })))
  .chain((source) =>
    fc.tuple(fc.constant(source), fc.oneof(near(source), texts(NASTY, 9), texts(['a', '/'], 9))),
  )

describe('micromatch behind the fence', () => {
  it('agrees with the reference matcher', () => {
    let held = 0
    fc.assert(
      fc.property(cases, ([source, value]) => {
        const wanted = referenceMatches(source, value)
        if (wanted) held++
        expect(verdict(source, value)).toBe(wanted)
      }),
      { numRuns: 40_000 },
    )
    expect(held).toBeGreaterThan(1000)
  })

  it('agrees on patterns made of wildcards', () => {
    const dense = texts(['*', '?', '**', '/', '/', 'a', '.', '-'], 8).filter(
      (source) => !('problem' in compilePattern(source, { wildcards: true })),
    )
    fc.assert(
      fc.property(dense, texts(['a', 'b', '/', '.', '-'], 10), (source, value) => {
        expect(verdict(source, value)).toBe(referenceMatches(source, value))
      }),
      { numRuns: 20_000 },
    )
  })

  it('takes every pattern without wildcard as itself and nothing else', () => {
    fc.assert(
      fc.property(texts(ADVERSARIAL, 12), texts(ADVERSARIAL, 12), (source, value) => {
        fc.pre(!('problem' in compilePattern(source, { wildcards: false })))
        expect(verdict(source, source)).toBe(true)
        expect(verdict(source, value)).toBe(source === value)
      }),
      { numRuns: 5000 },
    )
  })
})
