import { decodeJwt } from 'jose'
import { afterAll, describe, expect, test } from 'vitest'
import { Job, keep, openScene, removeBundles, spoken, type Scripted } from './harness.ts'
import { aws, created, idToken, idTokenText, problem, session } from './replies.ts'

afterAll(removeBundles)

const granted = created(session(1, 'payments-deploy', { aws }))

/** Each server gives these answers in turn, and then its good one for ever. */
const runThrough = async (
  script: { readonly broker?: readonly Scripted[]; readonly github?: readonly Scripted[] },
  inputs: Readonly<Record<string, string>> = {},
) => {
  const github = await keep(openScene((_, count) => script.github?.[count - 1] ?? idToken(count)))
  const broker = await keep(openScene((_, count) => script.broker?.[count - 1] ?? granted))
  const job = await keep(Job.open(github.url))
  const ran = await job.run('main', {
    inputs: { url: broker.url, grants: 'payments-deploy', ...inputs },
  })
  return { ...ran, asked: { github: github.seen.length, broker: broker.seen.length }, broker, job }
}

const busy = (status: number): Scripted => ({ status, body: 'busy' })

describe('a broker that cannot answer now', () => {
  test.each<[string, Scripted]>([
    ['says that its store is away', problem(503, 'store_unavailable')],
    ['says that the cloud did not answer', problem(502, 'target_unavailable')],
    ['says that there were too many requests', problem(429, 'rate_limited')],
    ['sits behind a proxy that says 502', busy(502)],
    ['sits behind a proxy that says 504', busy(504)],
    ['says that the request came too slowly', busy(408)],
    ['says that it is too early', busy(425)],
    ['cuts the connection', 'reset'],
  ])('is asked again when it %s', async (_, answer) => {
    const ran = await runThrough({ broker: [answer] })
    expect(ran).toMatchObject({ code: 0, asked: { github: 2, broker: 2 } })
    expect(spoken(ran.stdout)).toMatch(/^TVM: try 1 failed \(.+\); trying again in \d(\.\d)? s\.\n/)
  })

  test('is asked each time with a new ID token, a new proof and the same key', async () => {
    const { broker, stdout } = await runThrough({ broker: [busy(503), busy(503)] })
    const tokens = broker.seen.map(({ headers }) => headers.authorization)
    expect(tokens).toEqual([1, 2, 3].map((n) => `DPoP ${idTokenText(n)}`))
    const proofs = broker.seen.map(({ headers }) => decodeJwt(String(headers['dpop'])))
    expect(new Set(proofs.map(({ jti }) => jti)).size).toBe(3)
    expect(new Set(proofs.map((proof) => proof['ath'])).size).toBe(3)
    for (const n of [1, 2, 3]) expect(stdout).toContain(`::add-mask::${idTokenText(n)}\n`)
  })

  test('is asked as often as retries says, and then its answer stands', async () => {
    const ran = await runThrough({ broker: Array<Scripted>(9).fill(busy(503)) }, { retries: '1' })
    expect(ran).toMatchObject({
      code: 1,
      asked: { github: 2, broker: 2 },
      outputs: { 'error-code': 'broker_reply_unexpected' },
    })
  })

  test('is given the time that it asks for', async () => {
    const answer = { ...problem(503, 'store_unavailable'), headers: { 'retry-after': '1' } }
    const ran = await runThrough({ broker: [answer] })
    expect(ran.code).toBe(0)
    expect(ran.stdout).toMatch(/\(store_unavailable\); trying again in 1(\.[0-5])? s\./)
  })

  test('is not waited for when it asks for more time than the step has', async () => {
    const answer = { status: 503, headers: { 'retry-after': '31' } }
    const ran = await runThrough({ broker: [answer] })
    expect(ran).toMatchObject({ code: 1, asked: { broker: 1 } })
  })

  test('is given up after half of the time and asked once more when it hangs', async () => {
    const ran = await runThrough({ broker: ['hang'] }, { 'timeout-seconds': '4' })
    expect(ran).toMatchObject({ code: 0, asked: { github: 2, broker: 2 } })
    expect(ran.stdout).toContain('The broker did not answer: no answer within 2 s.')
  })

  test('ends the step when it hangs for good', async () => {
    const ran = await runThrough({ broker: ['hang'] }, { 'timeout-seconds': '1', retries: '0' })
    expect(ran).toMatchObject({ code: 1, outputs: { 'error-code': 'broker_timeout' } })
    expect(ran.exported).toEqual({})
  })
})

describe('a broker that answers what no broker answers', () => {
  test.each<[string, Scripted, string]>([
    ['an internal error', problem(500, 'internal_error'), 'internal_error'],
    ['a redirect', { status: 307, headers: { location: '/elsewhere' } }, 'broker_reply_unexpected'],
    ['a page', { status: 404, body: '<html>' }, 'broker_reply_unexpected'],
    ['200', { status: 200, body: {} }, 'broker_reply_unexpected'],
    ['201 and no JSON', { status: 201, body: '{' }, 'broker_reply_malformed'],
    ['201 and an empty object', { status: 201, body: {} }, 'broker_reply_malformed'],
    ['201 and null', { status: 201, body: 'null' }, 'broker_reply_malformed'],
    [
      '201 and 1 MiB too much',
      { status: 201, body: ' '.repeat(2 ** 20 + 1) },
      'broker_reply_too_large',
    ],
    [
      '403 and a code of no kind',
      { status: 403, body: { code: 'A b' } },
      'broker_reply_unexpected',
    ],
  ])('fails the step at once: %s', async (_, answer, code) => {
    const ran = await runThrough({ broker: [answer] })
    expect(ran).toMatchObject({ code: 1, asked: { broker: 1 }, outputs: { 'error-code': code } })
    expect(ran.exported).toEqual({})
  })

  test('a port where nobody listens is tried again, and then named', async () => {
    const gone = await openScene(() => 'hang')
    await gone.close()
    const ran = await runThrough({}, { url: gone.url, retries: '1' })
    expect(ran).toMatchObject({ code: 1, outputs: { 'error-code': 'broker_unreachable' } })
    expect(ran.stdout).toContain(
      'The broker could not be reached: ECONNREFUSED. (broker_unreachable)',
    )
    expect(ran.asked.github).toBe(2)
  })
})

describe("GitHub's ID token endpoint", () => {
  test.each<[string, Scripted]>([
    ['cuts the connection', 'reset'],
    ['says 408', busy(408)],
    ['says 429', busy(429)],
    ['says 500', busy(500)],
    ['says 503', busy(503)],
  ])('is asked again when it %s', async (_, answer) => {
    const ran = await runThrough({ github: [answer] })
    expect(ran).toMatchObject({ code: 0, asked: { github: 2, broker: 1 } })
  })

  test.each([400, 401, 403, 404])('is never asked again after %i', async (status) => {
    const ran = await runThrough({ github: [busy(status)] })
    expect(ran).toMatchObject({
      code: 1,
      asked: { github: 1, broker: 0 },
      outputs: { 'error-code': 'id_token_refused' },
    })
  })

  test('is asked five times at most', async () => {
    const ran = await runThrough({ github: Array<Scripted>(9).fill(busy(503)) })
    expect(ran).toMatchObject({
      code: 1,
      asked: { github: 5, broker: 0 },
      outputs: { 'error-code': 'id_token_unavailable' },
    })
    expect(ran.stdout).toContain('GitHub gave no ID token, asked 5 times: HTTP 503.')
  })

  test('does not hang the step', async () => {
    const ran = await runThrough({ github: ['hang'] }, { 'timeout-seconds': '1' })
    expect(ran).toMatchObject({ code: 1, outputs: { 'error-code': 'id_token_unavailable' } })
  })

  test.each<[string, unknown]>([
    ['no JSON', 'no'],
    ['no value', {}],
    ['something else than a token', { value: 'a b' }],
    ['a token of 17 KiB', { value: `a.${'b'.repeat(17 * 1024)}.c` }],
    ['a reply of 65 KiB', { value: 'a.b.c', more: 'x'.repeat(65 * 1024) }],
  ])('is not believed when it gives %s', async (_, body) => {
    const ran = await runThrough({ github: [{ status: 200, body }] })
    expect(ran.code).toBe(1)
    expect(ran.outputs['error-code']).toMatch(/^id_token_(malformed|unavailable)$/)
    expect(ran.asked).toEqual({ github: 1, broker: 0 })
  })
})
