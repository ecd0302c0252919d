import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { ask } from '../world/caller.ts'
import { DEPLOY_POLICY, ROOT, freePort, type LocalWorld } from '../world/world.ts'
import { startGate } from './gate.ts'
import { openWorld } from './open.ts'
import { eventsOf, records } from './records.ts'

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Started {
  readonly child: ChildProcess
  /** Resolves when it listens. */
  readonly listening: Promise<undefined>
  readonly ended: Promise<Ended>
}

const tvm = (args: readonly string[], cwd: string = tmpdir()): Started => {
  const child = spawn(process.execPath, [join(ROOT, 'server/main.ts'), ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] },
  })
  const said = { stdout: '', stderr: '' }
  const listening = Promise.withResolvers<undefined>()
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
      if (text.includes('"listening"')) listening.resolve(undefined)
    })
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code) => resolve({ code, ...said })),
  )
  return { child, listening: listening.promise, ended }
}

describe('a broker that is told to stop', () => {
  test('while AWS has not answered: the answer still arrives, and it ends with 0', async () => {
    const gate = await startGate()
    const world = await openWorld({ config: { aws_endpoint: gate.url } })
    gate.open(world.aws.url)
    await world.stop()
    const { child, listening, ended } = tvm(['serve', '--config', world.configFile])
    try {
      await listening
      const held = gate.hold('after')
      const asking = ask(world)
      await held.arrived
      child.kill('SIGTERM')
      await untilClosed(world.url)
      held.release()
      const asked = await asking
      expect(asked.status).toBe(201)
      expect(asked.reply.sessions[0]?.targets.aws?.session_token).toBeTruthy()
      expect(await ended).toMatchObject({ code: 0, stderr: '' })
      const last = (await records(world)).map(({ body }) => body.event).slice(-3)
      expect(last).toEqual(['exchange.intent', 'exchange.outcome', 'broker.stopped'])
    } finally {
      child.kill('SIGKILL')
      await world.close()
      await gate.close()
    }
  })
})

/** Until nobody listens there any more. */
const untilClosed = async (url: string): Promise<void> => {
  for (;;) {
    const open = await fetch(`${url}/.well-known/jwks.json`, {
      headers: { Connection: 'close' },
    }).then(
      () => true,
      () => false,
    )
    if (!open) return
  }
}

/** A folder with what a broker starts from; ports are free ones. */
const makeFolder = async (
  files: Readonly<Record<string, string>>,
  config: Readonly<Record<string, unknown>> | string,
): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), 'tvm-start-'))
  const listen = `127.0.0.1:${await freePort()}`
  const admin_listen = `127.0.0.1:${await freePort()}`
  const text = typeof config === 'string' ? config : stringify({ listen, admin_listen, ...config })
  for (const [path, content] of Object.entries({ ...files, 'tvm.yaml': text })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, path), content, { mode: 0o600 })
  }
  return folder
}

interface Start {
  readonly files?: Readonly<Record<string, string>>
  readonly config?: Readonly<Record<string, unknown>> | string
  readonly prepare?: (folder: string) => void
  /** In this order on stderr. */
  readonly says: readonly RegExp[]
}

const GOOD = { 'policies/deploy.yaml': DEPLOY_POLICY }
const chmod644 = (path: string) => (folder: string) => {
  mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 })
  writeFileSync(join(folder, path), 'x', { mode: 0o644 })
}

const STARTS: Readonly<Record<string, Start>> = {
  'the policy folder is empty': {
    prepare: (folder) => mkdirSync(join(folder, 'policies')),
    says: [
      /^tvm: error: no grant could be loaded from \S+\/policies$/,
      /^tvm: hint: .*there are no policies/,
    ],
  },
  'there is no policy folder': {
    says: [/^tvm: error: no grant could be loaded from \S+\/policies$/, /^tvm: hint: /],
  },
  'the only policy names a claim that there is not': {
    files: {
      'policies/deploy.yaml': DEPLOY_POLICY.replace('environment:', 'enviroment:'),
    },
    says: [
      /^tvm: error: no grant could be loaded/,
      /^tvm: hint: deploy\.yaml:10:7: .*enviroment.*environment/,
    ],
  },
  'two files hold one grant': {
    files: { 'policies/a.yaml': DEPLOY_POLICY, 'policies/b.yaml': DEPLOY_POLICY },
    says: [
      /^tvm: error: no grant could be loaded/,
      /^tvm: hint: [ab]\.yaml:3:3: .*payments-deploy/,
      /^tvm: hint: [ab]\.yaml:3:3: .*payments-deploy/,
    ],
  },
  'the laws are in disorder': {
    files: { ...GOOD, 'policies/_guardrails.yaml': 'version: 1\nnevr: []\n' },
    says: [/^tvm: error: no grant could be loaded/, /^tvm: hint: _guardrails\.yaml:\d+:\d+: /],
  },
  'the configuration has three problems': {
    files: GOOD,
    config: 'listen: octocat\npublic_url: http://octo.example\nlimit_jobs: 7\n',
    says: [
      /^tvm: error: the configuration has 3 problems$/,
      /^tvm: hint: \S*tvm\.yaml:3:1: limit_jobs /,
      /^tvm: hint: \S*tvm\.yaml:1:1: listen /,
      /^tvm: hint: \S*tvm\.yaml:2:1: public_url /,
    ],
  },
  'the configuration is no YAML': {
    files: GOOD,
    config: 'listen: [127.0.0.1:0\n',
    says: [/^tvm: error: the configuration has/, /^tvm: hint: \S*tvm\.yaml:\d+:\d+: tvm\.yaml /],
  },
  'a key of its own is open to others': {
    files: GOOD,
    prepare: chmod644('data/keys/cloud.pem'),
    says: [/^tvm: error: \S+cloud\.pem: others .*0644/, /^tvm: hint: .*chmod 600/],
  },
  'the key of its sessions is open to others': {
    files: GOOD,
    prepare: chmod644('data/keys/session.key'),
    says: [/^tvm: error: \S+session\.key: others .*0644/, /^tvm: hint: .*chmod 600/],
  },
  'a key is no key': {
    files: { ...GOOD, 'data/keys/tokens.pem': 'BEGIN' },
    says: [/^tvm: error: \S+tokens\.pem: is not a private key/, /^tvm: hint: /],
  },
  'others can reach it and nobody has put keys there': {
    files: GOOD,
    config: {
      listen: '0.0.0.0:8443',
      tls_terminated: true,
      public_url: 'https://tvm.example.com',
    },
    says: [
      /^tvm: error: \S+keys: lacks cloud\.pem, tokens\.pem, session\.key$/,
      /^tvm: hint: .*tvm keys create/,
    ],
  },
  'others can reach it and nothing ends TLS': {
    files: GOOD,
    config: { listen: '0.0.0.0:8443', public_url: 'https://tvm.example.com' },
    says: [/^tvm: error: the configuration has a problem$/, /^tvm: hint: .*listen .*tls_cert/],
  },
  'its database is something else': {
    files: { ...GOOD, 'data/tvm.db': 'It works!'.repeat(1000) },
    says: [/^tvm: error: .*database/],
  },
  'a token audience is a cloud': {
    files: GOOD,
    config: { token_audiences: ['sts.amazonaws.com:x'] },
    says: [/^tvm: error: the configuration has/, /^tvm: hint: .*token_audiences /],
  },
  'its certificate is not there': {
    files: GOOD,
    config: { tls_cert: 'no-cert.pem', tls_key: 'no-key.pem' },
    says: [/^tvm: error: \S+no-cert\.pem cannot be read \(ENOENT\)$/, /^tvm: hint: .*tls_cert/],
  },
  'a certificate that it is to trust is not there': {
    files: GOOD,
    config: { ca_certificates: ['no-ca.pem'] },
    says: [
      /^tvm: error: \S+no-ca\.pem cannot be read \(ENOENT\)$/,
      /^tvm: hint: .*ca_certificates/,
    ],
  },
  'the keys of its issuer are not there': {
    files: GOOD,
    config: { issuers: { github: { dialect: 'github', jwks_file: 'no-keys.json' } } },
    says: [/^tvm: error: \S+no-keys\.json cannot be read \(ENOENT\)$/, /^tvm: hint: .*jwks_file/],
  },
  'the keys of its issuer are none': {
    files: { ...GOOD, 'keys.json': 'It works!' },
    config: { issuers: { github: { dialect: 'github', jwks_file: 'keys.json' } } },
    says: [/^tvm: error: \S+keys\.json: /, /^tvm: hint: .*JWKS/],
  },
}

const expectComplaint = ({ code, stdout, stderr }: Ended, says: readonly RegExp[]): void => {
  const lines = stderr.trimEnd().split('\n')
  expect(code, stderr).toBe(2)
  expect(lines.filter((line) => !/^tvm: (error|hint): \S/.test(line))).toEqual([])
  expect(stdout + stderr).not.toMatch(/^\s+at |node:internal|listening/m)
  for (const [n, pattern] of says.entries()) expect(lines[n]).toMatch(pattern)
}

describe('a broker does not start, says why and ends with 2, when', () => {
  test.each(Object.entries(STARTS))('%s', async (_, { files = {}, config = {}, prepare, says }) => {
    const folder = await makeFolder(files, config)
    prepare?.(folder)
    try {
      expectComplaint(await tvm(['serve', '--config', join(folder, 'tvm.yaml')]).ended, says)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('there is no configuration where it was told to look', async () => {
    const { ended } = tvm(['serve', '--config', 'none-such.yaml'])
    expectComplaint(await ended, [/^tvm: error: none-such\.yaml cannot be read \(ENOENT\)$/])
  })

  test.each(['listen', 'admin_listen'])('somebody else has the port of %s', async (key) => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const taken = `127.0.0.1:${(other.address() as AddressInfo).port}`
    const folder = await makeFolder(GOOD, { [key]: taken })
    try {
      const { ended } = tvm(['serve', '--config', join(folder, 'tvm.yaml')])
      expectComplaint(await ended, [new RegExp(`^tvm: error: .*EADDRINUSE.*${taken}`)])
    } finally {
      other.close()
      rmSync(folder, { recursive: true })
    }
  })
})

describe('a broker that runs', () => {
  let world: LocalWorld
  beforeAll(async () => {
    const bad = DEPLOY_POLICY.replace('payments-deploy:', 'payments-broken:').replace(
      'environment:',
      'enviroment:',
    )
    world = await openWorld({
      broker: 'process',
      policies: { 'good.yaml': DEPLOY_POLICY, 'team/bad.yaml': bad },
    })
  })
  afterAll(() => world.close())

  test('keeps a second one out of its data', async () => {
    const folder = await makeFolder(GOOD, { data: join(world.folder, 'data') })
    try {
      const { ended } = tvm(['serve', '--config', join(folder, 'tvm.yaml')])
      expectComplaint(await ended, [/^tvm: error: another process serves \S+tvm\.db$/])
      expect((await ask(world)).status).toBe(201)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('says at readyz which file it refused, and serves what the others grant', async () => {
    const ready = await fetch(`${world.adminUrl}/readyz`)
    const { status, parts } = (await ready.json()) as {
      status: string
      parts: readonly { part: string; state: string; reason?: string }[]
    }
    expect([ready.status, status]).toEqual([200, 'ready'])
    expect(parts.filter(({ state }) => state !== 'ok')).toEqual([
      {
        part: 'policies',
        state: 'degraded',
        reason: expect.stringMatching(/^team\/bad\.yaml:10:7: .*enviroment/) as string,
      },
    ])
    expect((await ask(world)).status).toBe(201)
  })

  test('denies what the refused file grants', async () => {
    const asked = await ask(world, { grants: ['payments-broken'] })
    expect([asked.status, asked.problem.code]).toEqual([403, 'grant_refused'])
    expect(asked.problem.explain?.grants).toEqual([{ grant: 'payments-broken', blocks: [] }])
    expect(await eventsOf(world, asked.problem.request_id)).toEqual(['exchange.refused'])
  })

  test('answers livez and metrics, and counts by code', async () => {
    await ask(world, { grants: ['no-such-grant'] })
    const live = await fetch(`${world.adminUrl}/livez`)
    expect([live.status, await live.json()]).toEqual([200, { status: 'ok' }])
    const metrics = await fetch(`${world.adminUrl}/metrics`)
    expect(await metrics.text()).toMatch(
      /tvm_requests_total\{route="\/v1\/sessions",status="403",code="grant_refused"\} [1-9]/,
    )
  })

  test('lets an operator lock and unlock beside it', async () => {
    const lock = (...args: string[]) => tvm(['lock', ...args, '--config', world.configFile]).ended
    const added = await lock('add', 'grant:payments-deploy', '--reason', 'incident 7')
    expect(added).toMatchObject({ code: 0, stderr: '' })
    const asked = await ask(world)
    expect([asked.status, asked.problem.code]).toEqual([403, 'locked'])
    expect(await lock('remove', added.stdout.trim())).toMatchObject({ code: 0, stderr: '' })
    expect((await ask(world)).status).toBe(201)
    const verified = await tvm(['audit', 'verify', '--config', world.configFile]).ended
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok: /) as string })
  })
})
