import { afterAll, describe, expect, test } from 'vitest'
import { Job, keep, removeBundles, writeEvent } from './harness.ts'

afterAll(removeBundles)

type Env = Readonly<Record<string, string | undefined>>

const runWith = async (env: Env, event: unknown, inputs: Readonly<Record<string, string>> = {}) => {
  const job = await keep(Job.open(null))
  const path = await writeEvent(job, event)
  return job.run('main', {
    inputs: { url: 'https://tvm.example.com', grants: 'payments-deploy', ...inputs },
    env: { GITHUB_EVENT_PATH: path, ...env },
  })
}

const pull = (repo: unknown) => ({ pull_request: { head: { repo } } })
const fork = pull({ full_name: 'octocat/payments' })
const own = pull({ full_name: 'Acme/Payments' })

describe('a job without an ID token endpoint is told why', () => {
  test.each<[string, Env, unknown, string]>([
    ['it runs outside of any runner', { GITHUB_ACTIONS: undefined }, {}, 'not_on_a_runner'],
    ['it runs under nektos/act', { ACT: 'true' }, {}, 'no_id_token_act'],
    [
      'its pull request comes from a fork',
      { GITHUB_EVENT_NAME: 'pull_request' },
      fork,
      'no_id_token_fork',
    ],
    [
      'a review is of a fork',
      { GITHUB_EVENT_NAME: 'pull_request_review' },
      fork,
      'no_id_token_fork',
    ],
    ['its fork was deleted', { GITHUB_EVENT_NAME: 'pull_request' }, pull(null), 'no_id_token_fork'],
    [
      'it was started by Dependabot',
      { GITHUB_ACTOR: 'dependabot[bot]' },
      {},
      'no_id_token_dependabot',
    ],
    ['it lacks the permission', {}, {}, 'no_id_token_permission'],
    [
      'its own pull request lacks the permission',
      { GITHUB_EVENT_NAME: 'pull_request' },
      own,
      'no_id_token_permission',
    ],
    [
      'a fork is about the target branch here',
      { GITHUB_EVENT_NAME: 'pull_request_target' },
      fork,
      'no_id_token_permission',
    ],
    [
      'its event cannot be read',
      { GITHUB_EVENT_NAME: 'pull_request', GITHUB_EVENT_PATH: '/nowhere' },
      {},
      'no_id_token_permission',
    ],
    [
      'only half of the endpoint is there',
      { ACTIONS_ID_TOKEN_REQUEST_URL: 'https://x.example' },
      {},
      'no_id_token_permission',
    ],
  ])('%s', async (_, env, event, code) => {
    const ran = await runWith(env, event)
    expect(ran).toMatchObject({ code: 1, outputs: { 'error-code': code }, exported: {}, state: {} })
    expect(ran.stdout).toContain(`(${code})%0AHint: `)
    expect(ran.summary).toContain(`(\`${code}\`)`)
  })

  test('with the lines to add to the workflow, and a word about callers', async () => {
    const ran = await runWith({}, {})
    expect(ran.stdout.replaceAll('%0A', '\n')).toContain(
      'Hint: Add the permission to this job:\n\npermissions:\n  id-token: write\n  contents: read\n\nIf the job is part of a reusable workflow',
    )
    expect(ran.summary).toContain('```yaml\npermissions:\n  id-token: write\n  contents: read\n```')
    expect(ran.summary).toContain(
      'If the job is part of a reusable workflow, the job that calls it',
    )
  })

  test.each<[string, Env, unknown]>([
    ['a fork', { GITHUB_EVENT_NAME: 'pull_request' }, fork],
    ['Dependabot', { GITHUB_ACTOR: 'dependabot[bot]' }, {}],
  ])('and goes on without credentials for %s if it said so', async (_, env, event) => {
    const ran = await runWith(env, event, { 'fail-on-denied': 'false' })
    expect(ran.code).toBe(0)
    expect(ran.stdout).toMatch(/^::warning title=TVM gave no credentials::/)
    expect(ran.outputs['error-code']).toMatch(/^no_id_token_/)
  })

  test('and fails for a missing permission even then', async () => {
    expect((await runWith({}, {}, { 'fail-on-denied': 'false' })).code).toBe(1)
  })
})
