import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { complain, printable, table, terminalOf } from '../../server/cli/terminal.ts'
import { ROOT } from '../world/world.ts'
import { expectComplaint, inFolder, tvm } from './process.ts'

const MISUSES: Readonly<Record<string, readonly [readonly string[], ...RegExp[]]>> = {
  'an unknown command': [['frob'], /error: unknown command 'frob'$/, /hint: See tvm --help\.$/],
  'an unknown command of a command': [
    ['audit', 'lst'],
    /error: unknown command 'lst'$/,
    /hint: Did you mean list\?$/,
    /hint: See tvm audit --help\.$/,
  ],
  'an unknown option': [
    ['audit', 'list', '--formt', 'json'],
    /error: unknown option '--formt'$/,
    /hint: Did you mean --format\?$/,
    /hint: See tvm audit list --help\.$/,
  ],
  'a choice that there is not': [
    ['lock', 'list', '--format', 'xml'],
    /error: .*'xml' is invalid\. Allowed choices are text, json\.$/,
    /hint: See tvm lock list --help\.$/,
  ],
  'a missing argument': [
    ['lock', 'remove'],
    /error: missing required argument 'id'$/,
    /hint: See tvm lock remove --help\.$/,
  ],
  'a missing option': [
    ['lock', 'add', 'all'],
    /error: required option '--reason <text>' not specified$/,
    /hint: See tvm lock add --help\.$/,
  ],
  'an option without its value': [
    ['keys', 'export', '--out'],
    /error: option '--out <folder>' argument missing$/,
    /hint: See tvm keys export --help\.$/,
  ],
  'an argument too many': [
    ['serve', 'now'],
    /error: too many arguments for 'serve'/,
    /hint: See tvm serve --help\.$/,
  ],
  'a command with a control character': [
    ['\u001b[2Jfrob\nhint'],
    /error: unknown command '\ufffd\[2Jfrob\ufffdhint'$/,
    /hint: See tvm --help\.$/,
  ],
}

describe('wrong use ends with 2 and says what to do', () => {
  it.each(Object.entries(MISUSES))('%s', async (_, [args, ...says]) => {
    expectComplaint(await tvm(args), 2, says)
  })

  it.each([[], ['audit'], ['lock'], ['keys']])(
    '%j without a command: the help',
    async (...args) => {
      const { code, stdout, stderr } = await tvm(args)
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toContain('Commands:')
    },
  )
})

const COMMANDS = [
  ...['', 'serve', 'audit', 'audit list', 'audit verify', 'lock', 'lock add', 'lock remove'],
  ...['lock list', 'keys', 'keys create', 'keys export'],
]

describe('help tells exit codes and examples', () => {
  it.each(COMMANDS)('tvm %s', async (command) => {
    const args = command.split(' ').filter((word) => word !== '')
    const { code, stdout, stderr } = await tvm([...args, '--help'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`Usage: ${['tvm', ...args].join(' ')} [options]`)
    expect(stdout).toMatch(/\nExit codes: 0 .*, 2 .*\.\n/)
    const [, examples = ''] = stdout.split('\nExamples:\n')
    expect(examples.trim().split('\n')).not.toHaveLength(0)
    for (const line of examples.trimEnd().split('\n'))
      expect(line).toMatch(new RegExp(String.raw`^ {2}\$ (TVM_\S+ )?tvm ${command}`))
  })

  it('lists every command', async () => {
    const { stdout } = await tvm(['--help'])
    for (const name of COMMANDS.filter((command) => command !== '' && !command.includes(' ')))
      expect(stdout).toMatch(new RegExp(`^  ${name} `, 'm'))
  })

  it('tells the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      version: string
    }
    expect(await tvm(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })
})

describe('output', () => {
  it('goes into a closed pipe without a word', async () => {
    const ended = await tvm(['--help'], { started: (child) => child.stdout?.destroy() })
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' })
  })

  it('is not coloured where it is no terminal, whatever the environment says', async () => {
    const { stderr } = await tvm(['frob'], { env: { FORCE_COLOR: '1', TERM: 'xterm' } })
    expect(stderr).toMatch(/^tvm: error: /)
  })
})

describe('a terminal', () => {
  const stream = (isTTY: boolean, errored: Error | null = null) => {
    const written: string[] = []
    return { isTTY, errored, written, write: (text: string) => written.push(text), on: () => null }
  }
  const broken = (code: string) => stream(false, Object.assign(new Error('write'), { code }))

  it.each([
    ['stderr is no terminal', false, {}, false],
    ['NO_COLOR is set', true, { NO_COLOR: '1' }, false],
    ['NO_COLOR is empty', true, { NO_COLOR: '' }, true],
    ['stderr is a terminal', true, {}, true],
  ])('%s', (_, isTTY, env, colored) => {
    const stderr = stream(isTTY)
    complain(terminalOf({ stdout: stream(true), stderr }, env), 'no', ['yes'])
    const red = colored ? '\u001b[31merror:\u001b[0m' : 'error:'
    expect(stderr.written.join('')).toBe(`tvm: ${red} no\ntvm: hint: yes\n`)
  })

  it('tells that its reader went away', () => {
    const { out } = terminalOf({ stdout: broken('EPIPE'), stderr: stream(false) }, {})
    expect(out('text')).toBe(false)
  })

  it('refuses to lose output', () => {
    const { out } = terminalOf({ stdout: broken('ENOSPC'), stderr: stream(false) }, {})
    expect(() => out('text')).toThrow('the output cannot be written (ENOSPC)')
  })

  it('writes no control characters of others', () => {
    expect(printable('a\u001b[31mb\u0000c\u009bd\u2028e\rf')).toBe(
      'a\ufffd[31mb\ufffdc\ufffdd\ufffde\ufffdf',
    )
    expect(table(['id', 'what'], [['1\n2', 'x']])).toBe('id   what\n1\ufffd2  x\n')
  })
})

describe('nothing is made in passing', () => {
  it.each([
    ['audit', 'list'],
    ['audit', 'verify'],
    ['lock', 'list'],
    ['lock', 'remove', 'lck_x'],
  ])('tvm %s %s where there is no database', (...args) =>
    inFolder({}, async (folder) => {
      const ended = await tvm(args, { cwd: folder })
      expectComplaint(ended, 2, [/error: there is no database \S+data\/tvm\.db: the broker makes/])
      expect(readdirSync(folder)).toEqual([])
    }),
  )
})
