import { describe, expect, it } from 'vitest'
import { retried, within } from '../../server/targets/bounded.ts'
import { quickWorld } from './orders.ts'

const never = new Promise<string>(() => undefined)

describe('work within a bound', () => {
  it('is what it comes to', async () => {
    expect(await within(new AbortController().signal, Promise.resolve('done'))).toBe('done')
  })

  it('fails as it fails', async () => {
    const failed = Promise.reject(new Error('broken'))
    await expect(within(new AbortController().signal, failed)).rejects.toThrow('broken')
  })

  it('is given up when the signal aborts', async () => {
    const control = new AbortController()
    const bounded = within(control.signal, never)
    control.abort()
    expect(await bounded).toBeNull()
  })

  it('is given up when the signal has aborted, whatever it comes to', async () => {
    expect(await within(AbortSignal.abort(), Promise.resolve('late'))).toBeNull()
    expect(await within(AbortSignal.abort(), Promise.reject(new Error('late')))).toBeNull()
  })
})

describe('an attempt', () => {
  const isTransient = (outcome: string) => outcome === 'busy'
  const run = async (outcomes: readonly string[], signal = new AbortController().signal) => {
    let tries = 0
    const attempt = () => Promise.resolve(outcomes[tries++] ?? 'too often')
    const outcome = await retried(attempt, isTransient, quickWorld(), signal)
    return { outcome, tries }
  }

  it.each([
    ['is made once where it is final', ['no', 'yes'], 'no', 1],
    ['is made again where it may pass', ['busy', 'yes'], 'yes', 2],
    ['is made again until it is final', ['busy', 'no', 'yes'], 'no', 2],
    ['is made three times at most', ['busy', 'busy', 'busy', 'yes'], 'busy', 3],
  ])('%s', async (_, outcomes, outcome, tries) => {
    expect(await run(outcomes)).toEqual({ outcome, tries })
  })

  it('is not made again once it is called off', async () => {
    expect(await run(['busy', 'yes'], AbortSignal.abort())).toEqual({ outcome: 'busy', tries: 1 })
  })

  it('is not made again when the pause before it is broken off', async () => {
    const world = { ...quickWorld(), sleep: () => Promise.reject(new Error('called off')) }
    let tries = 0
    const attempt = () => {
      tries++
      return Promise.resolve('busy')
    }
    const { signal } = new AbortController()
    expect(await retried(attempt, isTransient, world, signal)).toBe('busy')
    expect(tries).toBe(1)
  })
})
