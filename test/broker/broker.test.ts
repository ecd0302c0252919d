import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { makeBroker } from '../../server/broker/broker.ts'
import type { BrokerParts } from '../../server/broker/ports.ts'
import { accept } from '../../server/refusal.ts'
import { DEFAULT_LIMITS, type Limits } from '../../server/session/admit.ts'
import { openSqlite } from '../../server/store/sqlite.ts'
import type { Store } from '../../server/store/store.ts'
import { fileWith, load, principalWith } from '../policy/make.ts'

const NOW = 1_800_000_000_000
const HOUR = 3_600_000

let folder: string
let store: Store
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tvm-broker-'))
  store = await openSqlite({ path: join(folder, 'tvm.db') })
})
afterEach(async () => {
  await store.close()
  await rm(folder, { recursive: true })
})

/** Asks, as the job that is given, for a grant that does not exist: enough to be known, counted and recorded. */
const asking = (more: { readonly limits?: Partial<Limits>; readonly seenAt?: number }) => {
  let asked = 0
  const set = load({ 'a.yaml': fileWith({}) })
  const parts: Omit<BrokerParts, 'verify'> = {
    world: {
      now: () => NOW,
      random: (bytes) => randomBytes(bytes),
      fetch: () => Promise.reject(new Error('nobody is asked')),
      sleep: () => Promise.resolve(),
    },
    policies: {
      current: () => ({ set, seenAt: more.seenAt ?? NOW }),
      close: () => Promise.resolve(),
    },
    maxPolicyAge: HOUR,
    strangers: { countOwner: () => undefined },
    limits: { ...DEFAULT_LIMITS, ...more.limits },
    store,
    sessionKey: new Uint8Array(32),
    mintAll: () => Promise.reject(new Error('nothing is minted')),
  }
  return async (job: string): Promise<string> => {
    asked += 1
    const principal = principalWith(
      {},
      { job, jti: `token-${asked}`, proofJti: `proof-${asked}`, replayableUntil: NOW + HOUR },
    )
    const verify = () => Promise.resolve(accept(principal))
    const exchanged = await makeBroker({ ...parts, verify }).exchange({
      requestId: `req-${asked}`,
      presented: { scheme: 'Bearer', token: '', proof: null },
      grants: ['no-such-grant'],
      ttl: null,
      address: '203.0.113.7',
    })
    return exchanged.ok ? 'credentials' : exchanged.code
  }
}

describe('what one job may cost the others of its owner', () => {
  test('beyond its own limit it takes nothing from theirs', async () => {
    const ask = asking({
      limits: { job: { count: 2, length: 60_000 }, owner: { count: 5, length: 60_000 } },
    })
    const loud: string[] = []
    for (let n = 0; n < 8; n++) loud.push(await ask('github/99120/1/1/1'))
    expect(loud).toEqual([
      ...Array<string>(2).fill('grant_refused'),
      ...Array<string>(6).fill('rate_limited'),
    ])
    expect(await ask('github/99120/1/1/2')).toBe('grant_refused')
  })

  test('within its limit it counts for its owner too', async () => {
    const ask = asking({ limits: { owner: { count: 2, length: 60_000 } } })
    const said: string[] = []
    for (const job of ['1', '2', '3']) said.push(await ask(`github/99120/1/1/${job}`))
    expect(said).toEqual(['grant_refused', 'grant_refused', 'rate_limited'])
  })
})

describe('policies', () => {
  test.each([
    ['confirmed just now', NOW, 'grant_refused'],
    ['confirmed while the token was verified', NOW + 10_000, 'grant_refused'],
    ['confirmed as long ago as they may be', NOW - HOUR, 'grant_refused'],
    ['not confirmed for longer', NOW - HOUR - 1, 'policy_unavailable'],
    ['confirmed in a future that the clock has left', NOW + 2 * HOUR, 'policy_unavailable'],
  ])('%s', async (_, seenAt, code) => {
    expect(await asking({ seenAt })('github/99120/1/1/1')).toBe(code)
  })
})
