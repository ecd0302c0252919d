import { KeyObject } from 'node:crypto'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { remoteKeys, staticKeys, type RemoteKeysOptions } from '../../server/identity/keys.ts'
import type { Fault } from '../world/fault.ts'
import { startGitHub, type LocalGitHub } from '../world/github.ts'
import { makeSigningKey } from '../world/signing-key.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const NOW = Date.UTC(2026, 10, 22, 12)

let now: number
let github: LocalGitHub
/** Fetches that have not ended. */
let pending: number
/** Requests for keys before this test. */
let before: number
beforeAll(async () => {
  github = await startGitHub({ now: () => now })
})
beforeEach(() => {
  now = NOW
  pending = 0
  before = github.requests.jwks
})
afterEach(async () => {
  github.mend()
  await github.speak()
  github.keys.use(github.keys.kids.at(-1)!)
})
afterAll(() => github.close())

const fetches = (): number => github.requests.jwks - before

const countedFetch: typeof fetch = async (...args) => {
  pending += 1
  try {
    return await fetch(...args)
  } finally {
    pending -= 1
  }
}

const open = (options: Partial<RemoteKeysOptions> = {}) =>
  remoteKeys({
    jwksUri: github.jwksUri,
    world: { now: () => now, fetch: countedFetch },
    staleMs: 4 * HOUR,
    ...options,
  })

/** A source that has fetched once, and the kid that it knows. */
const warm = async (options: Partial<RemoteKeysOptions> = {}) => {
  const keys = open(options)
  const kid = github.keys.current
  expect(await keys.key(kid)).toMatchObject({ ok: true })
  return { keys, kid }
}

const UNKNOWN = { ok: false, code: 'token_key_unknown' }
const UNAVAILABLE = { ok: false, code: 'issuer_keys_unavailable' }
const DOWN: Fault = { kind: 'status', status: 503 }

describe('nothing is fetched', () => {
  it('before anybody asks, and no fault is reported', () => {
    expect(open().health()).toEqual({ keys: 0, lastSuccess: null, lastError: null, stale: false })
    expect(fetches()).toBe(0)
  })

  it('for ten minutes after a fetch', async () => {
    const { keys, kid } = await warm()
    now += 10 * MINUTE - 1
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(fetches()).toBe(1)
    now += 1
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(fetches()).toBe(2)
  })
})

describe('one fetch is made', () => {
  it('for fifty that ask at once', async () => {
    const keys = open()
    const asked = Array.from({ length: 50 }, (_, i) =>
      keys.key(github.keys.kids[i % github.keys.kids.length]!),
    )
    const results = await Promise.all(asked)
    expect(results.filter(({ ok }) => ok)).toHaveLength(50)
    expect(fetches()).toBe(1)
  })

  it('for fifty that ask for unknown keys at once', async () => {
    const { keys } = await warm()
    const results = await Promise.all(Array.from({ length: 50 }, (_, i) => keys.key(`kid-${i}`)))
    expect(new Set(results.map((result) => (result.ok ? '' : result.code)))).toEqual(
      new Set(['token_key_unknown']),
    )
    expect(fetches()).toBe(2)
  })

  it('for fifty that bring the first tokens of a new key, and all of them hold', async () => {
    const { keys } = await warm()
    const kid = await github.keys.add()
    const results = await Promise.all(Array.from({ length: 50 }, () => keys.key(kid)))
    expect(results.filter(({ ok }) => ok)).toHaveLength(50)
    expect(fetches()).toBe(2)
  })

  it('for an unknown key that is asked first of all', async () => {
    expect(await open().key('unknown')).toEqual(UNKNOWN)
    expect(fetches()).toBe(1)
  })
})

describe('an unknown kid', () => {
  it('is asked for once in thirty seconds, whatever its name', async () => {
    const { keys } = await warm()
    for (const kid of ['a', 'b', 'a', '__proto__', '']) expect(await keys.key(kid)).toEqual(UNKNOWN)
    expect(fetches()).toBe(2)
    now += 30 * SECOND - 1
    expect(await keys.key('a')).toEqual(UNKNOWN)
    expect(fetches()).toBe(2)
    now += 1
    expect(await keys.key('a')).toEqual(UNKNOWN)
    expect(fetches()).toBe(3)
  })

  it('does not hold up those whose key is known', async () => {
    const { keys, kid } = await warm()
    github.fail('jwks', { kind: 'hang' })
    const unknown = keys.key('unknown')
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(pending).toBe(1)
    await github.silence()
    expect(await unknown).toMatchObject(UNAVAILABLE)
  })

  it('takes nothing from known keys when the fetch for it fails', async () => {
    const { keys, kid } = await warm()
    github.fail('jwks', DOWN)
    expect(await keys.key('unknown')).toMatchObject(UNAVAILABLE)
    expect(await keys.key(kid)).toMatchObject({ ok: true })
  })
})

describe('a rotation', () => {
  it('is seen with the first token of the new key', async () => {
    const { keys } = await warm()
    const kid = await github.keys.add()
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(fetches()).toBe(2)
  })

  it('is seen half a minute later when somebody has just asked for an unknown key', async () => {
    const { keys } = await warm()
    await keys.key('unknown')
    const kid = await github.keys.add()
    expect(await keys.key(kid)).toEqual(UNKNOWN)
    now += 30 * SECOND
    expect(await keys.key(kid)).toMatchObject({ ok: true })
  })

  it('ends the old key at the next fetch that works', async () => {
    const { keys, kid } = await warm()
    github.keys.drop(kid)
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    await keys.key('unknown')
    expect(await keys.key(kid)).toEqual(UNKNOWN)
  })

  it('that leaves no key at all ends the old ones too', async () => {
    const { keys, kid } = await warm()
    github.fail('jwks', { kind: 'json', body: { keys: [] } })
    now += 10 * MINUTE
    expect(await keys.key(kid)).toMatchObject(UNAVAILABLE)
    expect(keys.health()).toMatchObject({ keys: 0, stale: true })
    github.mend()
    now += 30 * SECOND
    expect(await keys.key(kid)).toMatchObject({ ok: true })
  })

  it('that puts another key under the old kid takes the new one', async () => {
    const { keys, kid } = await warm()
    const { jwk, publicKey } = await makeSigningKey('uuid')
    github.fail('jwks', { kind: 'json', body: { keys: [{ ...jwk, kid }] } })
    now += 10 * MINUTE
    const found = await keys.key(kid)
    if (!found.ok) throw new Error(found.code)
    expect(KeyObject.from(found.value).equals(publicKey)).toBe(true)
  })
})

describe('a fetch fails when the endpoint', () => {
  const many = Array.from({ length: 101 }, (_, i) => ({ kid: String(i) }))
  const rows: readonly (readonly [string, Fault, RegExp])[] = [
    ['answers 500', { kind: 'status', status: 500 }, /answered 500/],
    ['answers 404', { kind: 'status', status: 404 }, /answered 404/],
    ['answers 204', { kind: 'status', status: 204 }, /answered 204/],
    ['answers garbage', { kind: 'garbage' }, /JSON/],
    ['answers half and ends well', { kind: 'cut' }, /JSON/],
    ['answers half and breaks off', { kind: 'half' }, /reached/],
    ['breaks off at once', { kind: 'reset' }, /reached/],
    ['answers 300 KiB', { kind: 'oversize', bytes: 300 * 1024 }, /larger than 256 KiB/],
    ['never answers', { kind: 'hang' }, /in time/],
    ['begins and never ends', { kind: 'drip', everyMs: 20 }, /in time/],
    ['answers a list', { kind: 'json', body: [] }, /not a key set/],
    ['answers null', { kind: 'json', body: null }, /not a key set/],
    ['answers keys that are no list', { kind: 'json', body: { keys: {} } }, /not a key set/],
    ['answers 101 keys', { kind: 'json', body: { keys: many } }, /more than 100/],
    ['answers nested lists', { kind: 'json', body: [[[[[[[[[]]]]]]]]] }, /JSON/],
  ]
  it.each(rows)('%s: the known keys serve on', async (_, fault, reason) => {
    const { keys, kid } = await warm({ timeoutMs: 250 })
    github.fail('jwks', fault)
    now += 10 * MINUTE
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(keys.health()).toEqual({
      keys: github.keys.kids.length,
      lastSuccess: NOW,
      lastError: expect.stringMatching(reason) as string,
      stale: false,
    })
    expect(fetches()).toBe(2)
  })

  it.each(rows)('%s: without known keys nobody is believed', async (_, fault, reason) => {
    github.fail('jwks', fault)
    const keys = open({ timeoutMs: 250 })
    expect(await keys.key(github.keys.current)).toEqual({
      ...UNAVAILABLE,
      cause: expect.stringMatching(reason) as string,
    })
    expect(keys.health()).toMatchObject({ keys: 0, stale: true })
  })

  it('sends elsewhere, where nobody goes', async () => {
    const elsewhere = await startGitHub({ now: () => now })
    for (const status of [301, 302, 303, 307, 308])
      github.fail('jwks', { kind: 'redirect', to: elsewhere.jwksUri, status }, 1)
    const keys = open()
    for (let i = 0; i < 5; i++) {
      expect(await keys.key(elsewhere.keys.current)).toMatchObject(UNAVAILABLE)
      now += MINUTE
    }
    expect(fetches()).toBe(5)
    expect(elsewhere.requests.jwks).toBe(0)
    await elsewhere.close()
  })

  it('has closed its port', async () => {
    const { keys, kid } = await warm()
    await github.silence()
    now += 10 * MINUTE
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    await github.speak()
    now += MINUTE
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    await expect.poll(() => keys.health()).toMatchObject({ lastSuccess: now, lastError: null })
  })

  it('streams without end, and is cut off soon after 256 KiB', async () => {
    const chunk = Buffer.alloc(16 * 1024, ' ')
    let sent = 0
    let closed: Promise<unknown> = Promise.resolve()
    const server = createServer((_, response) => {
      closed = once(response, 'close')
      const pour = (): void => {
        while (!response.destroyed && sent < 64 * 1024 * 1024) {
          sent += chunk.length
          if (!response.write(chunk)) return void response.once('drain', pour)
        }
      }
      pour()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const keys = open({ jwksUri: `http://127.0.0.1:${port}/` })
    expect(await keys.key('a')).toMatchObject({ cause: 'the key set is larger than 256 KiB' })
    await closed
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    server.close()
  })
})

describe('while the endpoint is down', () => {
  it('known keys serve for the stale limit, then nobody can say, then they serve again', async () => {
    const { keys, kid } = await warm({ staleMs: HOUR })
    github.fail('jwks', DOWN)
    now = NOW + HOUR - 1
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(keys.health().stale).toBe(false)
    now = NOW + HOUR
    expect(await keys.key(kid)).toMatchObject(UNAVAILABLE)
    expect(keys.health()).toMatchObject({
      keys: github.keys.kids.length,
      lastSuccess: NOW,
      stale: true,
    })
    github.mend()
    now += MINUTE
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(keys.health()).toMatchObject({ lastSuccess: now, lastError: null, stale: false })
  })

  it('known keys never serve for more than 24 hours', async () => {
    expect(() => open({ staleMs: 24 * HOUR + 1 })).toThrow(RangeError)
    expect(() => open({ staleMs: NaN })).toThrow(RangeError)
    expect(() => open({ staleMs: Infinity })).toThrow(RangeError)
    const { keys, kid } = await warm({ staleMs: 24 * HOUR })
    github.fail('jwks', DOWN)
    now += 24 * HOUR - 1
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    now += 1
    expect(await keys.key(kid)).toMatchObject(UNAVAILABLE)
  })

  it('four hours are the limit when none is given', async () => {
    const keys = remoteKeys({ jwksUri: github.jwksUri, world: { now: () => now, fetch } })
    const kid = github.keys.current
    await keys.key(kid)
    github.fail('jwks', DOWN)
    now += 4 * HOUR - 1
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    now += 1
    expect(await keys.key(kid)).toMatchObject(UNAVAILABLE)
  })

  it('it is asked less and less often, at least once a minute', async () => {
    const { keys, kid } = await warm()
    github.fail('jwks', DOWN)
    now += 10 * MINUTE
    const asks: number[] = []
    const start = now
    for (; now < start + 300 * SECOND; now += SECOND) {
      const asked = fetches()
      expect(await keys.key(kid)).toMatchObject({ ok: true })
      while (pending > 0) await new Promise(setImmediate)
      if (fetches() > asked) asks.push((now - start) / SECOND)
    }
    expect(asks).toEqual([0, 5, 15, 35, 75, 135, 195, 255])
  })

  it('its pauses are short again once it has answered', async () => {
    github.fail('jwks', DOWN, 3)
    const keys = open()
    const kid = github.keys.current
    for (const seconds of [0, 5, 15, 35]) {
      now = NOW + seconds * SECOND
      await keys.key(kid)
    }
    expect(keys.health()).toMatchObject({ lastSuccess: now, lastError: null })
    github.fail('jwks', DOWN)
    now += 24 * HOUR
    expect(await keys.key(kid)).toMatchObject(UNAVAILABLE)
    expect(fetches()).toBe(5)
    now += 5 * SECOND
    expect(await keys.key(kid)).toMatchObject(UNAVAILABLE)
    expect(fetches()).toBe(6)
  })

  it('unknown keys do not wait for it more often either', async () => {
    github.fail('jwks', DOWN)
    const keys = open()
    for (let i = 0; i < 5; i++) {
      expect(await keys.key(`kid-${i}`)).toMatchObject(UNAVAILABLE)
      now += SECOND - 1
    }
    expect(fetches()).toBe(1)
  })

  it('nobody with a known key waits for it once it has failed', async () => {
    const { keys, kid } = await warm()
    github.fail('jwks', DOWN, 1)
    github.fail('jwks', { kind: 'hang' })
    now += 10 * MINUTE
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    now += 5 * SECOND
    const results = await Promise.all(Array.from({ length: 50 }, () => keys.key(kid)))
    expect(results.filter(({ ok }) => ok)).toHaveLength(50)
    expect(pending).toBe(1)
  })

  it('its recovery is noticed behind their backs, and then what it no longer shows is dead', async () => {
    const { keys, kid } = await warm()
    github.fail('jwks', DOWN, 1)
    now += 10 * MINUTE
    await keys.key(kid)
    github.keys.drop(kid)
    now += 5 * SECOND
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    await expect.poll(() => keys.health().lastError).toBeNull()
    expect(await keys.key(kid)).toEqual(UNKNOWN)
  })
})

describe('a clock that is set back', () => {
  it('does not make old keys young', async () => {
    const { keys, kid } = await warm()
    github.keys.drop(kid)
    now -= HOUR
    expect(await keys.key(kid)).toEqual(UNKNOWN)
  })

  it('does not make a pause endless', async () => {
    github.fail('jwks', DOWN, 1)
    const keys = open()
    await keys.key('a')
    now -= HOUR
    expect(await keys.key(github.keys.current)).toMatchObject({ ok: true })
  })
})

describe('keys from a file', () => {
  it('serve for ever, and no others do', async () => {
    const { jwk, kid } = await makeSigningKey('certificate')
    const keys = await staticKeys({ keys: [jwk] })
    expect(await keys.key(kid)).toMatchObject({ ok: true })
    expect(await keys.key('other')).toEqual(UNKNOWN)
    expect(await keys.key('__proto__')).toEqual(UNKNOWN)
    expect(keys.health()).toEqual({ keys: 1, lastSuccess: null, lastError: null, stale: false })
  })

  it.each([null, [], {}, { keys: [] }, { keys: [{ kty: 'EC' }] }, 'text'])(
    'must hold one that can be used: %j',
    async (jwks) => {
      await expect(staticKeys(jwks)).rejects.toThrow(/key/)
    },
  )
})
