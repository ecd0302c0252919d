import { describe, expect, test } from 'vitest'
import { CelError, compile, evaluateBoolean, evaluateText } from './cel.ts'

const ROOTS = {
  assertion: { sub: 'grant:a', list: ['x', 'y'], deep: { er: 'z' }, n: 7 },
  google: { subject: 's' },
}
const program = (source: string) => compile(source, Object.keys(ROOTS))

describe('an expression comes to', () => {
  test.each<[string, unknown]>([
    ['assertion.sub', 'grant:a'],
    ['assertion["sub"]', 'grant:a'],
    ['assertion.deep.er', 'z'],
    ['assertion.list[1]', 'y'],
    ["'grant:' + 'a' == assertion.sub", true],
    ["assertion.sub != 'x'", true],
    ["assertion.sub.startsWith('grant:')", true],
    ["assertion.sub.endsWith('b')", false],
    ["assertion.sub.contains('ant')", true],
    ["'x' in assertion.list", true],
    ["'sub' in assertion", true],
    ["assertion.sub in ['a', 'grant:a']", true],
    ['assertion.n == 7', true],
    ['has(assertion.sub) && !has(assertion.none)', true],
    ["assertion.none == 'x' || true", true],
    ["assertion.none == 'x' && false", false],
    ['true || false && false', true],
    ['(true || false) && false', false],
    ["'it\\'s'", "it's"],
    ['!(assertion.n == 8)', true],
  ])('%s → %j', (source, value) => {
    expect(program(source)(ROOTS)).toEqual(value)
  })
})

describe('an expression does not compile when it', () => {
  test.each([
    ['is empty', ''],
    ['ends early', 'assertion.'],
    ['goes on', 'assertion.sub x'],
    ['speaks of nothing known', 'request.time'],
    ['calls what is not known', "assertion.sub.matches('.*')"],
    ['calls with too few', 'assertion.sub.startsWith()'],
    ['calls what objects inherit', 'assertion.sub.constructor()'],
    ['holds a template', "'${claims.ref}' == $"],
    ['leaves a text open', "'abc"],
    ['compares with one sign', "assertion.sub = 'x'"],
    ['is nested too deeply', `${'('.repeat(40)}true${')'.repeat(40)}`],
  ])('%s', (_, source) => {
    expect(() => program(source)).toThrow(CelError)
  })
})

describe('an expression fails when it', () => {
  test.each([
    ['names what is not there', 'assertion.none'],
    ['names what objects inherit', 'assertion.toString'],
    ['names a member of a text', 'assertion.sub.length'],
    ['compares text with a number', "assertion.n == '7'"],
    ['asks a number for its start', "assertion.n.startsWith('7')"],
    ['is about a place beyond the list', 'assertion.list[2]'],
    ['leaves the choice to what fails', "assertion.none == 'x' || false"],
  ])('%s', (_, source) => {
    expect(() => program(source)(ROOTS)).toThrow(CelError)
  })

  test('comes to another kind than wanted', () => {
    expect(() => evaluateText(program('assertion.n'), ROOTS)).toThrow(CelError)
    expect(() => evaluateBoolean(program('assertion.sub'), ROOTS)).toThrow(CelError)
  })
})
