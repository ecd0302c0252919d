import { afterAll, describe, expect, test } from 'vitest'
import { Job, keep, openScene, removeBundles, spoken, type Scripted } from './harness.ts'
import { denied, explain, idToken, problem } from './replies.ts'

afterAll(removeBundles)

const runWith = async (answer: Scripted, inputs: Readonly<Record<string, string>> = {}) => {
  const github = await keep(openScene((_, count) => idToken(count)))
  const broker = await keep(openScene(() => answer))
  const job = await keep(Job.open(github.url))
  const ran = await job.run('main', {
    inputs: { url: broker.url, grants: 'payments-deploy', ...inputs },
  })
  return { ...ran, job, broker, github }
}

describe('a job that the broker denies', () => {
  test('reads in its log which claims did not fit which rule', async () => {
    const ran = await runWith(denied({ explain }))
    expect(ran.code).toBe(1)
    expect(spoken(ran.stdout).replaceAll('%0A', '\n')).toBe(
      [
        '::error title=TVM refused payments-deploy::There is no such grant for this job. (grant_refused)',
        '  ✓ repository   acme/payments',
        '  ✗ ref          refs/pull/7/merge  policy wants: refs/heads/main',
        '  ✗ environment  (none)  policy wants: production',
        '  nearest rule of payments-deploy at payments/deploy.yaml:8: 2 of 3 lines did not hold',
        '',
        'Hint: Compare the claims of this job with the policy.',
        'For the operators: decision dec_01KA0000000000000000000000, request req_01KA0000000000000000000000',
      ].join('\n'),
    )
  })

  test('finds the same in its summary, with its own claims folded away', async () => {
    const ran = await runWith(denied({ explain }))
    expect(ran.summary).toBe(
      [
        '### TVM refused payments-deploy',
        '',
        'There is no such grant for this job. (`grant_refused`)',
        '',
        '|  | claim | this job has | the policy wants |',
        '| --- | --- | --- | --- |',
        '| ✓ | `repository` | `acme/payments` | `acme/payments` |',
        '| ✗ | `ref` | `refs/pull/7/merge` | `refs/heads/main` |',
        '| ✗ | `environment` | (none) | `production` |',
        '',
        'The nearest rule of `payments-deploy` stands at `payments/deploy.yaml:8`; 2 of its 3 lines did not hold.',
        '',
        '**Hint:** Compare the claims of this job with the policy.',
        '',
        'For the operators: decision `dec_01KA0000000000000000000000`, request `req_01KA0000000000000000000000`.',
        '',
        '<details><summary>The claims of this job</summary>',
        '',
        '| claim | value |',
        '| --- | --- |',
        '| `repository` | `acme/payments` |',
        '| `ref` | `refs/pull/7/merge` |',
        '| `event_name` | `push` |',
        '',
        '</details>',
        '',
        '',
      ].join('\n'),
    )
  })

  test('asks once and is left with nothing but the code and the decision', async () => {
    const ran = await runWith(denied({ explain }))
    expect([ran.github.seen.length, ran.broker.seen.length]).toEqual([1, 1])
    expect(ran.outputs).toEqual({
      'error-code': 'grant_refused',
      'decision-id': 'dec_01KA0000000000000000000000',
    })
    expect(ran.exported).toEqual({})
    expect(await ran.job.tempFiles()).toHaveLength(2) // the job's key and its folder
  })

  test('is told without an explanation where the broker gives none', async () => {
    const ran = await runWith(denied())
    expect(spoken(ran.stdout)).toBe(
      '::error title=TVM refused payments-deploy::There is no such grant for this job. (grant_refused)%0A' +
        'Hint: Compare the claims of this job with the policy.%0A' +
        'For the operators: decision dec_01KA0000000000000000000000, request req_01KA0000000000000000000000',
    )
    expect(ran.summary).not.toContain('|')
    expect(ran.summary).not.toContain('<details>')
  })

  test('sees the names of the claims alone where the wanted values are hidden', async () => {
    const lines = [{ claim: 'ref', held: false, got: 'refs/heads/x' }]
    const hidden = { claims: {}, grants: [{ grant: 'payments-deploy', blocks: [{ lines }] }] }
    const ran = await runWith(denied({ explain: hidden }))
    expect(ran.summary).toContain('| ✗ | `ref` | `refs/heads/x` | (not shown) |')
    expect(ran.summary).toContain(
      'The nearest rule of `payments-deploy` 1 of its 1 lines did not hold.',
    )
    expect(ran.stdout).toContain(
      '  ✗ ref  refs/heads/x%0A  nearest rule of payments-deploy: 1 of 1',
    )
  })

  test('goes on with a warning when fail-on-denied is false', async () => {
    const ran = await runWith(denied({ explain }), { 'fail-on-denied': 'false' })
    expect(ran.code).toBe(0)
    expect(spoken(ran.stdout)).toMatch(/^::warning title=TVM refused payments-deploy::/)
    expect(ran.outputs['error-code']).toBe('grant_refused')
    expect(ran.exported).toEqual({})
  })

  test('writes a summary with summary: errors, none with off', async () => {
    expect((await runWith(denied(), { summary: 'errors' })).summary).toContain('TVM refused')
    expect((await runWith(denied(), { summary: 'off' })).summary).toBe('')
  })
})

describe('fail-on-denied: false', () => {
  test.each<[string, Scripted]>([
    ['a token that the broker does not take', problem(401, 'token_audience_refused')],
    ['a duration that no policy allows', problem(400, 'ttl_refused')],
    ['a session that somebody else holds', problem(409, 'session_bound')],
    ['a cloud that says no', problem(502, 'target_refused')],
  ])('still fails the step for %s, after one request', async (_, answer) => {
    const ran = await runWith(answer, { 'fail-on-denied': 'false' })
    expect(ran.code).toBe(1)
    expect(ran.broker.seen).toHaveLength(1)
  })
})

describe('a broker that is not to be trusted with our log', () => {
  const hostile = {
    detail:
      'a\n::add-mask::a\r\n::stop-commands::x \u001b[31m\u202e<img src=x onerror=1> [l](https://evil.example) `t` |',
    hint: '</summary></details> **x** www.evil.example',
    decision_id: 'dec_\n::set-env::',
    request_id: '::error::'.repeat(50),
    explain: {
      claims: { 'a|b': '`|`<b>\n', __proto__x: 'x' },
      grants: [
        {
          grant: 'p\n::warning::`',
          blocks: [
            { at: 'f|`:1', lines: [{ claim: '<i>|`', held: 1, got: '|\\|', wanted: '$a$' }] },
          ],
        },
      ],
    },
  }

  test('cannot start a command, a line or an escape sequence in it', async () => {
    const { stdout } = await runWith(denied(hostile))
    const lines = spoken(stdout).split('\n')
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(/^::error title=TVM refused p %3A%3Awarning%3A%3A`::a ::add-mask::a /)
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u202e]/)
    expect(stdout).not.toContain('set-env')
  })

  test('cannot bring markup, links or table cells into the summary', async () => {
    const { summary } = await runWith(denied(hostile))
    expect(summary).toContain(
      'a ::add-mask::a ::stop-commands::x [31m'.replaceAll(':', '\\:').replace('[', '\\['),
    )
    expect(summary).toContain(
      '\\<img src=x onerror=1\\> \\[l\\](https\\://evil.example) \\`t\\` \\|',
    )
    expect(summary).toContain('\\</summary\\>\\</details\\> \\*\\*x\\*\\* www\\.evil.example')
    expect(summary).toContain(
      '| ✗ | <code>&#60;i&#62;&#124;&#96;</code> | <code>&#124;&#92;&#124;</code> | <code>&#36;a&#36;</code> |',
    )
    const cells = summary.split('\n').filter((line) => line.startsWith('|'))
    for (const row of cells.slice(0, 3)) expect(row.match(/\|/g)).toHaveLength(5)
    for (const row of cells.slice(3)) expect(row.match(/\|/g)).toHaveLength(3)
  })
})
