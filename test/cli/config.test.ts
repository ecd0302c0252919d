import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DEPLOY_POLICY, freePort } from '../world/world.ts'
import { expectComplaint, inFolder, tvm } from './process.ts'

const NAMED = /hint: The configuration file is what --config names, else TVM_CONFIG, else/

describe('a configuration that cannot be used ends a command with 2', () => {
  it('the file that --config names is not there', async () => {
    const ended = await tvm(['keys', 'create', '--config', 'none.yaml'])
    expectComplaint(ended, 2, [/error: none\.yaml cannot be read \(ENOENT\)$/, NAMED])
  })

  it('the file that TVM_CONFIG names is not there', async () => {
    const ended = await tvm(['keys', 'create'], { env: { TVM_CONFIG: 'none.yaml' } })
    expectComplaint(ended, 2, [/error: none\.yaml cannot be read \(ENOENT\)$/, NAMED])
  })

  it('a folder stands where the file should be', () =>
    inFolder({ 'tvm.yaml/x': '' }, async (cwd) => {
      const ended = await tvm(['keys', 'create'], { cwd })
      expectComplaint(ended, 2, [/error: tvm\.yaml cannot be read \(EISDIR\)$/, NAMED])
    }))

  it('several things are wrong: all are said at once, each with its place', () =>
    inFolder(
      {
        'tvm.yaml': 'listen: octocat\nlimit_jobs: 7\n\nissuers:\n  github: {dialect: octocat}\n',
      },
      async (cwd) => {
        const env = { TVM_MAX_POLICY_AGE: 'soon', TVM_TRUSTED_PROXIES: '10.0.0.0/8,300.0.0.1' }
        const ended = await tvm(['keys', 'create'], { cwd, env })
        expectComplaint(ended, 2, [
          /error: the configuration has 5 problems$/,
          /hint: tvm\.yaml:2:1: limit_jobs is not a key of tvm\.yaml/,
          /hint: tvm\.yaml:1:1: listen must be ADDRESS:PORT/,
          /hint: TVM_TRUSTED_PROXIES: trusted_proxies each item must be an IP address/,
          /hint: TVM_MAX_POLICY_AGE: max_policy_age must be a duration from 1m to 168h/,
          /hint: tvm\.yaml:4:\d+: issuers\.github\.dialect /,
        ])
      },
    ))

  it('it is no YAML', () =>
    inFolder({ 'tvm.yaml': 'listen: [1\n' }, async (cwd) => {
      const { code, stderr } = await tvm(['keys', 'create'], { cwd })
      expect(code).toBe(2)
      expect(stderr).toMatch(
        /^tvm: error: the configuration has .*\ntvm: hint: tvm\.yaml:\d+:\d+: /,
      )
    }))
})

describe('where values come from', () => {
  const dataOf = async (cwd: string, args: string[], env: Record<string, string> = {}) => {
    const { code, stdout, stderr } = await tvm(['keys', 'create', ...args], { cwd, env })
    expect([code, stderr]).toEqual([0, ''])
    return stdout.split(':')[0]
  }
  const FILES = { 'tvm.yaml': 'data: here\n', 'other/tvm.yaml': 'data: there\n' }

  it.each([
    ['./tvm.yaml', [], {}, 'here/keys'],
    ['the file that TVM_CONFIG names, relative to that file', [], 'other', 'other/there/keys'],
    ['--config before TVM_CONFIG', ['-c', 'tvm.yaml'], 'other', 'here/keys'],
    ['the environment before the file', [], { TVM_DATA: 'mine' }, 'mine/keys'],
    ['an empty variable is none', [], { TVM_DATA: '' }, 'here/keys'],
  ])('%s', (_, args, env, keys) =>
    inFolder(FILES, async (cwd) => {
      const given = typeof env === 'string' ? { TVM_CONFIG: `${env}/tvm.yaml` } : env
      expect(await dataOf(cwd, args, given)).toBe(join(cwd, keys))
    }),
  )

  it('a variable that means nothing stops no command', () =>
    inFolder(FILES, async (cwd) => {
      expect(await dataOf(cwd, [], { TVM_LIMIT_JOBS: '7' })).toBe(join(cwd, 'here/keys'))
    }))
})

const serveFiles = async (): Promise<Readonly<Record<string, string>>> => ({
  'policies/deploy.yaml': DEPLOY_POLICY,
  'tvm.yaml': `listen: 127.0.0.1:${await freePort()}\nadmin_listen: 127.0.0.1:${await freePort()}\n`,
})

describe('tvm serve', () => {
  it('warns of variables that mean nothing, and stops in order', async () =>
    inFolder(await serveFiles(), async (cwd) => {
      const { code, stdout, stderr } = await tvm(['serve'], {
        cwd,
        env: { TVM_LIMIT_JOBS: '7', TVM_PORT_80_TCP: 'tcp://127.0.0.1:80' },
        started: (child) =>
          child.stdout?.on('data', (text: string) => {
            if (text.includes('"listening"')) child.kill('SIGTERM')
          }),
      })
      expect([code, stderr]).toEqual([0, ''])
      const lines = stdout.trim().split('\n')
      const said = lines.map((line) => JSON.parse(line) as { level: string; names?: string })
      expect(said[0]).toMatchObject({ level: 'warn', names: 'TVM_LIMIT_JOBS TVM_PORT_80_TCP' })
      expect(said.at(-1)).toMatchObject({ level: 'info', message: 'stopped' })
    }))

  it('stops in order also when it is told so while it starts', async () =>
    inFolder(await serveFiles(), async (cwd) => {
      const { code, stdout, stderr } = await tvm(['serve'], {
        cwd,
        started: (child) => child.stdout?.once('data', () => child.kill('SIGTERM')),
      })
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout.trim().split('\n').at(-1)).toContain('"stopped"')
    }))

  it('does not run on without a log', async () =>
    inFolder(await serveFiles(), async (cwd) => {
      const ended = await tvm(['serve'], { cwd, started: (child) => child.stdout?.destroy() })
      expectComplaint(ended, 1, [/error: the log cannot be written \(EPIPE\): stopping$/])
      expect(await tvm(['audit', 'list'], { cwd })).toMatchObject({
        stdout: expect.stringMatching(/broker\.started[^]*broker\.stopped/) as string,
      })
    }))
})
