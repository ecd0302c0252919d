import { randomBytes } from 'node:crypto'
import { BlockList } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Broker } from '../../server/broker/ports.ts'
import { makeAdminApp } from '../../server/http/admin.ts'
import { makeApp } from '../../server/http/app.ts'
import { makeObserver, type Answered } from '../../server/http/observer.ts'
import { makeLog } from '../../server/log.ts'
import type { World } from '../../server/world.ts'

const world: World = {
  now: () => 1_800_000_000_000,
  random: (bytes) => randomBytes(bytes),
  fetch: () => Promise.reject(new Error('nobody is asked')),
  sleep: () => Promise.resolve(),
}

const observing = () => {
  const lines: string[] = []
  const observer = makeObserver(makeLog('info', { write: (line) => void lines.push(line) }), world)
  return { observer, lines }
}

const answered = (more: Partial<Answered>): Answered => ({
  requestId: 'req_1',
  address: '203.0.113.7',
  method: 'POST',
  route: '/v1/sessions',
  status: 403,
  started: world.now(),
  ...more,
})

describe('the log', () => {
  test.each([
    ['refusals before anybody is known', { code: 'token_malformed', status: 401 }],
    ['keys that cannot be fetched', { code: 'issuer_keys_unavailable', status: 503 }],
    ['faults of ours', { code: 'internal_error', status: 500 }],
  ])('samples %s, and counts each', async (_, more) => {
    const { observer, lines } = observing()
    for (let n = 0; n < 500; n++) observer.answered(answered(more))
    expect(lines.length).toBe(20)
    expect(await observer.registry.metrics()).toMatch(
      new RegExp(`tvm_requests_total\\{.*code="${more.code}"\\} 500`),
    )
  })

  test('tells every decision', () => {
    const { observer, lines } = observing()
    for (let n = 0; n < 50; n++)
      observer.answered(answered({ code: 'grant_refused', decisionId: 'dec_1' }))
    expect(lines.length).toBe(50)
  })

  test('tells where a fault of ours is, and nothing of what its message quotes', async () => {
    const { observer, lines } = observing()
    const broken = (): never => {
      throw new TypeError('Headers.append: "Bearer abc.def.ghi" is invalid')
    }
    const app = makeApp({
      // Whatever it is asked.
      broker: new Proxy({}, { get: () => broken }) as Broker,
      world,
      proxies: new BlockList(),
      published: {},
      observer,
      takeAddress: () => true,
    })
    const response = await app.request(
      '/v1/sessions',
      {
        method: 'POST',
        headers: { Authorization: 'Bearer a.b.c', 'Content-Type': 'application/json' },
        body: '{"grants":["payments-deploy"]}',
      },
      {},
    )
    expect(await response.json()).toMatchObject({ code: 'internal_error', status: 500 })
    const [line = ''] = lines
    expect(JSON.parse(line)).toMatchObject({ code: 'internal_error', status: 500 })
    expect(line).toMatch(/"cause":"TypeError at .*observer\.test\.ts/)
    expect(line).not.toContain('abc.def.ghi')
  })
})

describe('the admin listener', () => {
  const { observer } = observing()
  const healthy = () => Promise.resolve([])
  const broken = () => Promise.reject(new Error('Bearer abc.def.ghi'))

  test.each([
    ['an endpoint that is not there', healthy, '/none', 404, 'not_found'],
    ['a fault of ours', broken, '/readyz', 500, 'internal_error'],
  ])('answers %s as a problem', async (_, health, path, status, code) => {
    const app = makeAdminApp({ health, observer, world })
    const response = await app.request(path)
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(await response.json()).toMatchObject({
      code,
      request_id: expect.stringMatching(/^req_/) as string,
    })
  })
})
