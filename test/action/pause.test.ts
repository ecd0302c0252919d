import { describe, expect, test } from 'vitest'
import { pauseBefore, retryAfter } from '../../action/pause.ts'

describe('the pause before another try', () => {
  test.each([
    [1, 0.5, 250],
    [2, 0.5, 500],
    [3, 0.5, 1000],
    [9, 0.5, 4000],
    [9, 0, 0],
  ])('after try %i with chance %f is %i ms', (tried, chance, expected) => {
    expect(pauseBefore(tried, 500, () => chance)).toBe(expected)
  })
})

describe('Retry-After', () => {
  const now = Date.parse('2026-11-22T12:00:00Z')
  test.each([
    ['absent', undefined, 0],
    ['seconds', '7', 7_000],
    ['a date to come', 'Sun, 22 Nov 2026 12:00:09 GMT', 9_000],
    ['a date that is over', 'Sun, 22 Nov 2026 11:00:00 GMT', 0],
    ['no time at all', 'soon', 0],
    ['less than nothing', '-5', 0],
    ['more digits than any time', '99999999999999999999', 0],
  ])('%s', (_, header, expected) => {
    expect(retryAfter(header, now)).toBe(expected)
  })
})
