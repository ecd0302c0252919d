import { calculateJwkThumbprint, decodeProtectedHeader, type JWK } from 'jose'
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, test } from 'vitest'
import type { SessionReply } from '../../server/api.ts'
import {
  Job,
  keep,
  openScene,
  removeBundles,
  spoken,
  type Scene,
  type Scripted,
} from './harness.ts'
import {
  aws,
  created,
  idToken,
  problem,
  reply,
  SECRETS,
  session,
  sessionId,
  token,
} from './replies.ts'

afterAll(removeBundles)

const awsSession = session(1, 'payments-deploy', { aws })
const tokenSession = session(2, 'risk-score', { token })

const world = async (post: Scripted, end: Scripted = { status: 204 }) => {
  const github = await keep(openScene((_, count) => idToken(count)))
  const broker = await keep(openScene(({ method }) => (method === 'DELETE' ? end : post)))
  return { github, broker, job: await keep(Job.open(github.url)) }
}

const asking = (broker: Scene, ...sessions: readonly SessionReply[]) => ({
  inputs: { url: broker.url, grants: sessions.map(({ grant }) => grant).join() },
})

const ends = (broker: Scene): readonly string[] =>
  broker.seen
    .filter(({ method }) => method === 'DELETE')
    .map(({ path, headers }) => `${path} ${headers.authorization ?? ''}`)

const thumbprintOf = (scene: Scene, index: number): Promise<string> => {
  const { jwk } = decodeProtectedHeader(String(scene.seen[index]?.headers['dpop']))
  return calculateJwkThumbprint(jwk as JWK)
}

describe('the end of the job', () => {
  test('ends every session with its own token and removes all that main wrote', async () => {
    const { broker, job } = await world(created(awsSession, tokenSession))
    const main = await job.run('main', asking(broker, awsSession, tokenSession))
    const post = await job.post(main.state)
    expect(post).toMatchObject({ code: 0, stderr: '' })
    expect(ends(broker)).toEqual([
      `/v1/sessions/${sessionId(1)} Bearer ${SECRETS.session(1)}`,
      `/v1/sessions/${sessionId(2)} Bearer ${SECRETS.session(2)}`,
    ])
    expect(spoken(post.stdout)).toBe(
      `TVM ended session ${sessionId(1)}.\nTVM ended session ${sessionId(2)}.`,
    )
    expect(await job.tempFiles()).toEqual([])
  })

  test('clears what main put into the environment, but not the region', async () => {
    const { broker, job } = await world(created(awsSession, tokenSession))
    const main = await job.run('main', asking(broker, awsSession, tokenSession))
    const { exported } = await job.post(main.state)
    expect(exported).toEqual({
      AWS_ACCESS_KEY_ID: '',
      AWS_SECRET_ACCESS_KEY: '',
      AWS_SESSION_TOKEN: '',
      AWS_CREDENTIAL_EXPIRATION: '',
      TVM_TOKEN: '',
      TVM_TOKEN_FILE: '',
      TVM_TOKEN_TYPE: '',
      TVM_TOKEN_KEY_FILE: '',
    })
  })

  test('leaves alone what another step has written or set since', async () => {
    const { broker, job } = await world(created(tokenSession))
    const main = await job.run('main', asking(broker, tokenSession))
    const folder = join(main.exported['TVM_TOKEN_FILE']!, '..')
    await writeFile(join(folder, 'other'), 'x')
    const post = await job.post(main.state, { env: { TVM_TOKEN: 'of another step' } })
    expect(post.exported).not.toHaveProperty('TVM_TOKEN')
    expect(await job.tempFiles()).toEqual([
      expect.stringMatching(/^tvm-[0-9a-f]{16}$/),
      expect.stringMatching(/^tvm-[0-9a-f]{16}\/other$/),
    ])
    expect(post).toMatchObject({ code: 0 })
    expect(post.stdout).toContain('::warning title=TVM cleanup::ENOTEMPTY while removing a file.')
  })

  test('does nothing and says nothing when main saved nothing', async () => {
    const { broker, job } = await world(created(awsSession))
    expect(await job.post({})).toMatchObject({ code: 0, stdout: '', stderr: '', exported: {} })
    expect(broker.seen).toEqual([])
  })

  test('removes the key of a job that was denied', async () => {
    const { broker, job } = await world(problem(403, 'grant_refused'))
    const main = await job.run('main', asking(broker, awsSession))
    expect(await job.tempFiles()).not.toEqual([])
    expect(await job.post(main.state)).toMatchObject({ code: 0, stdout: '' })
    expect(await job.tempFiles()).toEqual([])
    expect(ends(broker)).toEqual([])
  })

  test.each<[string, Scripted, string]>([
    ['refuses', problem(503, 'store_unavailable'), 'HTTP 503 store_unavailable'],
    ['cuts the connection', 'reset', 'ECONNRESET'],
    ['is no broker any more', { status: 200, body: 'x' }, 'HTTP 200'],
  ])('only warns when the broker %s', async (_, end, cause) => {
    const { broker, job } = await world(created(awsSession), end)
    const main = await job.run('main', asking(broker, awsSession))
    const post = await job.post(main.state)
    expect(post.code).toBe(0)
    expect(spoken(post.stdout)).toBe(
      `::warning title=TVM cleanup::Session ${sessionId(1)} could not be ended (${cause}); it ends by itself when it expires.`,
    )
    expect(await job.tempFiles()).toEqual([])
    expect(ends(broker)).toHaveLength(1)
  })

  test('waits five seconds for a broker that hangs, and only warns', async () => {
    const { broker, job } = await world(created(awsSession), 'hang')
    const main = await job.run('main', asking(broker, awsSession))
    const post = await job.post(main.state)
    expect(post.code).toBe(0)
    expect(post.stdout).toContain('could not be ended (no answer within 5 s)')
  })

  test('takes a session that the broker does not know any more as ended', async () => {
    const { broker, job } = await world(created(awsSession), problem(401, 'session_token_invalid'))
    const main = await job.run('main', asking(broker, awsSession))
    expect(spoken((await job.post(main.state)).stdout)).toBe(`TVM ended session ${sessionId(1)}.`)
  })

  test('talks to the broker of main whatever the url is by then', async () => {
    const { broker, job } = await world(created(awsSession))
    const main = await job.run('main', asking(broker, awsSession))
    await job.post(main.state, { inputs: { url: 'https://elsewhere.example' } })
    expect(ends(broker)).toHaveLength(1)
  })

  test('touches no path that is not a folder of ours below RUNNER_TEMP', async () => {
    const { job } = await world(created(awsSession))
    const outside = join(job.folder, 'tvm-outside')
    await mkdir(outside)
    await writeFile(join(outside, 'file'), 'x')
    const folder = JSON.stringify({ path: outside, names: ['file'] })
    const post = await job.post({ tvm_folder: folder })
    expect(post.stdout).toContain('a path that is not ours was left alone')
    expect(await readFile(join(outside, 'file'), 'utf8')).toBe('x')
  })
})

describe('a main that ends early after the grant', () => {
  test('ends the sessions itself when the credentials cannot be handed over', async () => {
    const { broker, job } = await world(created(awsSession))
    const main = await job.run('main', {
      ...asking(broker, awsSession),
      env: { GITHUB_ENV: '/nowhere' },
    })
    expect(main).toMatchObject({ code: 1, outputs: { 'error-code': 'export_failed' } })
    expect(ends(broker)).toHaveLength(1)
    expect(spoken(main.stdout)).not.toContain('CANARY')
  })

  test('leaves enough to post when it is killed', async () => {
    const { broker, job } = await world(created(tokenSession))
    // A pipe that nobody reads stops main at its first export.
    const pipe = join(job.folder, 'pipe')
    execFileSync('mkfifo', [pipe])
    let state = ''
    const main = await job.run('main', {
      ...asking(broker, tokenSession),
      env: { GITHUB_ENV: pipe },
      started: (pid, { STATE }) => {
        void (async () => {
          while (!(await readFile(STATE!, 'utf8')).includes('tvm_folder')) await sleep(20)
          state = await readFile(STATE!, 'utf8')
          while (!(await job.tempFiles()).some((path) => path.endsWith('/token'))) await sleep(20)
          process.kill(pid, 'SIGKILL')
        })()
      },
    })
    expect(state).toContain('tvm_sessions')
    expect(main.code).toBeNull()
    expect(await job.tempFiles()).toHaveLength(4)
    const post = await job.post(main.state)
    expect(post.code).toBe(0)
    expect(ends(broker)).toEqual([`/v1/sessions/${sessionId(2)} Bearer ${SECRETS.session(2)}`])
    expect(await job.tempFiles()).toEqual([])
  })

  test.each<[string, readonly SessionReply[], string]>([
    [
      'two grants bring the same kind of credentials',
      [awsSession, session(2, 'risk-score', { aws })],
      'target_conflict',
    ],
    [
      'a grant brings a kind that this version does not know',
      [awsSession, { ...tokenSession, targets: { github: {} } as SessionReply['targets'] }],
      'target_unsupported',
    ],
    [
      'a session is for a grant that was not asked for',
      [awsSession, session(2, 'another', { token })],
      'broker_reply_malformed',
    ],
    [
      'a credential holds a line break',
      [awsSession, session(2, 'risk-score', { token: { ...token, token: 'a\nb' } })],
      'broker_reply_malformed',
    ],
    [
      'an end is no date',
      [awsSession, session(2, 'risk-score', { token: { ...token, expires_at: 'soon' } })],
      'broker_reply_malformed',
    ],
  ])('ends all sessions and exports nothing when %s', async (_, sessions, code) => {
    const { broker, job } = await world(created(...sessions))
    const main = await job.run('main', asking(broker, awsSession, tokenSession))
    expect(main).toMatchObject({ code: 1, outputs: { 'error-code': code }, exported: {} })
    expect(ends(broker)).toHaveLength(2)
    expect(await job.tempFiles()).toHaveLength(2) // the job's key and its folder
  })

  test('says which grants are in each other’s way', async () => {
    const { broker, job } = await world(created(awsSession, session(2, 'risk-score', { aws })))
    const main = await job.run('main', asking(broker, awsSession, tokenSession))
    expect(main.stdout).toContain('payments-deploy and risk-score both bring aws credentials.')
  })

  test('gets nothing when a session is missing', async () => {
    const body = { ...reply(awsSession), sessions: [awsSession] }
    const { broker, job } = await world({ status: 201, body })
    const main = await job.run('main', asking(broker, awsSession, tokenSession))
    expect(main).toMatchObject({ code: 1, outputs: { 'error-code': 'broker_reply_malformed' } })
    expect(ends(broker)).toHaveLength(1)
  })
})

describe('a second use in one job', () => {
  test('has the same key, and the use that made it removes it', async () => {
    const { broker, job } = await world(created(awsSession))
    const first = await job.run('main', asking(broker, awsSession))
    const second = await job.run('main', asking(broker, awsSession))
    expect(await thumbprintOf(broker, 0)).toBe(await thumbprintOf(broker, 1))
    expect(second.state).not.toHaveProperty('tvm_key')
    // Post steps run in reverse.
    await job.post(second.state)
    expect(await job.tempFiles()).toHaveLength(2)
    await job.post(first.state)
    expect(await job.tempFiles()).toEqual([])
  })

  test('has another key in another job', async () => {
    const { broker, job } = await world(created(awsSession))
    await job.run('main', asking(broker, awsSession))
    await job.run('main', { ...asking(broker, awsSession), env: { GITHUB_RUN_ATTEMPT: '2' } })
    expect(await thumbprintOf(broker, 0)).not.toBe(await thumbprintOf(broker, 1))
  })

  test('clears only what it set itself', async () => {
    const { broker, job } = await world(created(awsSession))
    const first = await job.run('main', asking(broker, awsSession))
    await job.post(first.state)
    const again = await job.post(first.state)
    expect(again.exported).toEqual({})
  })

  const spoil: [string, (folder: string) => Promise<void>][] = [
    ['that others may read', (folder) => chmod(join(folder, 'key.jwk'), 0o644)],
    ['in a folder that others may enter', (folder) => chmod(folder, 0o755)],
    ['that is no key', (folder) => writeFile(join(folder, 'key.jwk'), '{}')],
    ['that is gone', (folder) => rm(join(folder, 'key.jwk'))],
    [
      'that is a link',
      async (folder) => {
        const key = await readFile(join(folder, 'key.jwk'))
        await writeFile(join(folder, 'real'), key, { mode: 0o600 })
        await rm(join(folder, 'key.jwk'))
        await symlink(join(folder, 'real'), join(folder, 'key.jwk'))
      },
    ],
  ]
  test.each(spoil)('does not trust a key %s', async (_, act) => {
    const { broker, github, job } = await world(created(awsSession))
    await job.run('main', asking(broker, awsSession))
    const [folder] = await job.tempFiles()
    await act(join(job.temp, folder!))
    const second = await job.run('main', asking(broker, awsSession))
    expect(second).toMatchObject({ code: 1, outputs: { 'error-code': 'job_key_unusable' } })
    expect([github.seen.length, broker.seen.length]).toEqual([1, 1])
  })
})

describe('a runner without the files that the action needs', () => {
  test.each<[string, Readonly<Record<string, string | undefined>>, string]>([
    ['no RUNNER_TEMP', { RUNNER_TEMP: undefined }, 'runner_temp_unusable'],
    ['a RUNNER_TEMP that is not there', { RUNNER_TEMP: '/nowhere' }, 'runner_temp_unusable'],
    ['no GITHUB_ENV', { GITHUB_ENV: undefined }, 'not_on_a_runner'],
    ['no GITHUB_STATE', { GITHUB_STATE: undefined }, 'not_on_a_runner'],
  ])('fails before it asks anybody: %s', async (_, env, code) => {
    const { broker, github, job } = await world(created(awsSession))
    const main = await job.run('main', { ...asking(broker, awsSession), env })
    expect(main).toMatchObject({ code: 1, outputs: { 'error-code': code } })
    expect([github.seen.length, broker.seen.length]).toEqual([0, 0])
  })

  test('never writes into the workspace', async () => {
    const { broker, job } = await world(created(awsSession))
    const inside = join(job.folder, 'work', 'temp')
    await mkdir(inside)
    const env = { RUNNER_TEMP: inside }
    const main = await job.run('main', { ...asking(broker, awsSession), env })
    expect(main.outputs).toEqual({ 'error-code': 'runner_temp_unusable' })
  })
})
