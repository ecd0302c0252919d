import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGitHub, type LocalGitHub } from './github.ts'
import { startRunner, type JobReport, type Runner, type Step } from './runner.ts'

let github: LocalGitHub
let runner: Runner
let folder: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tvm-runner-test-'))
  github = await startGitHub({ now: Date.now })
  runner = startRunner({ github, patience: { sigint: 300, sigterm: 300, output: 300 } })
})
afterAll(async () => {
  await runner.close()
  await github.close()
  rmSync(folder, { recursive: true, force: true })
})

let actions = 0

interface Scripts {
  readonly pre?: string
  readonly main: string
  readonly post?: string
  readonly inputs?: string
  readonly more?: string
}

const PRELUDE = `
const fs = require('node:fs')
const { env } = process
const add = (name, text) => fs.appendFileSync(env['GITHUB_' + name], text + '\\n')
`

/** An action made for the test: its folder. */
const action = ({ inputs = '{}', more = '', ...scripts }: Scripts): string => {
  const path = join(folder, String((actions += 1)))
  mkdirSync(join(path, 'dist'), { recursive: true })
  for (const [stage, text] of Object.entries(scripts))
    writeFileSync(join(path, 'dist', `${stage}.cjs`), `${PRELUDE}${text}`)
  const runs = Object.keys(scripts).map((stage) => `  ${stage}: dist/${stage}.cjs`)
  const lines = ['name: Fixture', `inputs: ${inputs}`, 'runs:', '  using: node24', ...runs]
  writeFileSync(join(path, 'action.yml'), `${lines.join('\n')}\n${more}`)
  return path
}

const node = (script: string): Step => ({
  id: 'look',
  run: [process.execPath, '-e', PRELUDE + script],
})
const print = (expression: string): string => `console.log(JSON.stringify(${expression}))`
const printed = (report: JobReport, id = 'look'): unknown => JSON.parse(report.step(id).stdout)

const run = (...steps: Step[]): Promise<JobReport> => runner.runJob({ steps })

describe('the environment of a step', () => {
  it('is the one that GitHub documents', async () => {
    const job = github.job({ environment: 'production' })
    const report = await runner.runJob({ job, env: { TEAM: 'a' }, steps: [node(print('env'))] })
    const env = printed(report) as Record<string, string>
    expect(env).toMatchObject({
      ...job.env,
      TEAM: 'a',
      CI: 'true',
      GITHUB_ACTIONS: 'true',
      GITHUB_ACTION: 'look',
      GITHUB_ACTOR: 'octocat',
      GITHUB_API_URL: 'https://api.github.com',
      GITHUB_EVENT_NAME: 'push',
      GITHUB_JOB: 'deploy',
      GITHUB_REF: 'refs/heads/main',
      GITHUB_REF_NAME: 'main',
      GITHUB_REPOSITORY: 'acme/payments',
      GITHUB_REPOSITORY_ID: '99120',
      GITHUB_REPOSITORY_OWNER: 'acme',
      GITHUB_REPOSITORY_OWNER_ID: '8841',
      GITHUB_RUN_ATTEMPT: '1',
      GITHUB_RUN_ID: job.claims['run_id'],
      GITHUB_SERVER_URL: 'https://github.com',
      GITHUB_SHA: job.claims['sha'],
      GITHUB_WORKFLOW: 'deploy',
      GITHUB_WORKFLOW_REF: 'acme/payments/.github/workflows/deploy.yml@refs/heads/main',
      RUNNER_ENVIRONMENT: 'github-hosted',
    })
    const paths = ['GITHUB_WORKSPACE', 'RUNNER_TEMP', 'HOME', 'GITHUB_ENV', 'GITHUB_OUTPUT']
    const files = ['GITHUB_STATE', 'GITHUB_STEP_SUMMARY', 'GITHUB_PATH', 'GITHUB_EVENT_PATH']
    expect([...paths, ...files].filter((name) => !env[name]?.startsWith(tmpdir()))).toEqual([])
    expect(Object.keys(env).filter((name) => name.startsWith('VITEST'))).toEqual([])
  })

  it('has the event as a file', async () => {
    const job = github.job({ event: 'pull_request', fork: 'octo-org/payments' })
    const script = 'console.log(fs.readFileSync(env.GITHUB_EVENT_PATH, "utf8"))'
    expect(printed(await runner.runJob({ job, steps: [node(script)] }))).toEqual(job.event)
  })

  it('lets a script ask for an ID token', async () => {
    const script = `fetch(env.ACTIONS_ID_TOKEN_REQUEST_URL + '&audience=x', {
      headers: { authorization: 'bearer ' + env.ACTIONS_ID_TOKEN_REQUEST_TOKEN },
    }).then((r) => r.text()).then(console.log)`
    const { value } = printed(await run(node(script))) as { value: string }
    expect(decodeJwt(value).aud).toBe('x')
  })

  it('has no ID token endpoint in a job without the permission', async () => {
    const report = await runner.runJob({
      job: github.job({ idToken: false }),
      steps: [node(print('Object.keys(env)'))],
    })
    expect(printed(report)).not.toContain('ACTIONS_ID_TOKEN_REQUEST_URL')
    expect(printed(report)).not.toContain('ACTIONS_ID_TOKEN_REQUEST_TOKEN')
  })

  it('holds inputs as given, else by default, else empty; no dash is lost', async () => {
    const uses = action({
      main: print(
        'Object.fromEntries(Object.entries(env).filter(([n]) => n.startsWith("INPUT_")))',
      ),
      inputs: `
  ca-certificate: {default: none}
  my input: {}
  flag: {default: true}
  count: {default: 010}
  token: {default: '\${{ github.repository }}'}`,
    })
    const given = { 'My Input': 'x', count: 5 }
    expect(printed(await run({ id: 'a', uses, with: given }), 'a')).toEqual({
      'INPUT_CA-CERTIFICATE': 'none',
      INPUT_MY_INPUT: 'x',
      INPUT_FLAG: 'true',
      INPUT_COUNT: '5',
      INPUT_TOKEN: 'acme/payments',
    })
  })

  it('cannot be forged: GITHUB_ENV does not reach GITHUB_*, RUNNER_* or the ID token endpoint', async () => {
    const names = ['GITHUB_REPOSITORY', 'RUNNER_TEMP', 'ACTIONS_ID_TOKEN_REQUEST_URL', 'CI', 'HOME']
    const forge = names.map((name) => `add('ENV', '${name}=forged')`).join(';')
    const report = await run({ uses: action({ main: forge }) }, node(print('env')))
    const env = printed(report) as Record<string, string>
    expect(names.filter((name) => env[name] === 'forged')).toEqual(['CI', 'HOME'])
  })
})

describe('an input that the action does not declare', () => {
  it('is passed with a warning, in the post stage too', async () => {
    const uses = action({ main: print('env.INPUT_URLL'), post: '', inputs: '{url: {}, grant: {}}' })
    const report = await run({ id: 'a', uses, with: { urll: 'x', url: 'y' } })
    const message = "Unexpected input(s) 'urll', valid inputs are ['url', 'grant']"
    expect(report.step('a').annotations).toEqual([{ level: 'warning', message }])
    expect(report.step('a', 'post').annotations).toEqual([{ level: 'warning', message }])
    expect(printed(report, 'a')).toBe('x')
  })
})

describe('command files', () => {
  it('carry environment, path and outputs to later steps', async () => {
    const main = `
      add('ENV', 'PLAIN=a=b<<c')
      add('ENV', 'LINES<<ghadelimiter_1\\none\\n\\ntwo=2\\nghadelimiter_1')
      add('ENV', 'EMPTY<<E\\nE')
      add('OUTPUT', 'name=value')
      add('OUTPUT', 'multi<<E\\nx\\ny\\nE')
      add('PATH', '/opt/one\\n\\n/opt/two')`
    const report = await run(
      { id: 'a', uses: action({ main }) },
      {
        ...node(print('[env.PLAIN, env.LINES, env.EMPTY, env.GIVEN, env.PATH]')),
        env: { GIVEN: '${{ steps.a.outputs.multi }}|${{ env.PLAIN }}|${{steps.a.outputs.none}}' },
      },
    )
    const changed = { PLAIN: 'a=b<<c', LINES: 'one\n\ntwo=2', EMPTY: '' }
    expect(report.step('a')).toMatchObject({
      env: changed,
      outputs: { name: 'value', multi: 'x\ny' },
      paths: ['/opt/one', '/opt/two'],
    })
    expect(report.env).toEqual(changed)
    expect(printed(report)).toEqual([
      'a=b<<c',
      'one\n\ntwo=2',
      '',
      'x\ny|a=b<<c|',
      expect.stringMatching(/^\/opt\/two:\/opt\/one:/),
    ])
  })

  it('are fresh for each step', async () => {
    const script = print(
      'fs.readFileSync(env.GITHUB_ENV, "utf8") + fs.readFileSync(env.GITHUB_OUTPUT, "utf8")',
    )
    const main = `add('ENV', 'A=1'); add('OUTPUT', 'a=1')`
    expect(printed(await run({ uses: action({ main }) }, node(script)))).toBe('')
  })

  it.each([
    ['no equals sign', 'NAME', "Invalid format 'NAME'"],
    ['no end of a heredoc', 'NAME<<E\\nx', "Invalid value. Matching delimiter not found 'E'"],
    [
      'a last line without its end',
      'NAME<<E\\nx',
      'Invalid value. EOF marker missing new line.',
      true,
    ],
    [
      'a heredoc without a name',
      '<<E\\nE',
      "Invalid format '<<E'. Name must not be empty and delimiter must not be empty",
    ],
    [
      'a heredoc without a delimiter',
      'NAME<<\\nE',
      "Invalid format 'NAME<<'. Name must not be empty and delimiter must not be empty",
    ],
  ])('fail the step over %s; what came before counts', async (_, text, message, bare = false) => {
    const write = bare ? `fs.appendFileSync(env.GITHUB_ENV, '${text}')` : `add('ENV', '${text}')`
    const report = await run({ id: 'a', uses: action({ main: `add('ENV', 'FIRST=1'); ${write}` }) })
    expect(report.conclusion).toBe('failure')
    expect(report.step('a')).toMatchObject({
      exitCode: 0,
      outcome: 'failure',
      env: { FIRST: '1' },
      annotations: [
        { level: 'error', message: "Unable to process file command 'env' successfully." },
        { level: 'error', message },
      ],
    })
  })

  it('do not set NODE_OPTIONS', async () => {
    const main = `add('ENV', 'node_options=--inspect'); add('ENV', 'NEXT=1')`
    const report = await run({ id: 'a', uses: action({ main }) })
    expect(report.env).toEqual({ NEXT: '1' })
    expect(report.step('a').outcome).toBe('success')
    expect(report.annotations).toEqual([
      {
        level: 'error',
        message: "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.",
      },
    ])
  })

  it('hold a summary, masked line by line, up to a mebibyte', async () => {
    const small = `console.log('::add-mask::geheim%0Azweite'); add('STEP_SUMMARY', '# geheim\\nzweite')`
    const large = `add('STEP_SUMMARY', 'x'.repeat(1024 * 1024))`
    const report = await run(
      { id: 'small', uses: action({ main: small }) },
      { id: 'large', uses: action({ main: large }) },
    )
    expect(report.step('small').summary).toBe('# ***\n***\n')
    expect(report.step('large').summary).toBe('')
    expect(report.step('large').annotations[0]?.message).toContain(
      'up to a size of 1024k, got 1024k',
    )
  })
})

describe('workflow commands', () => {
  it('become annotations and leave the log', async () => {
    const main = `
      console.log('::error title=Denied%3A a%2Cb,file=x.yml,line=3,endLine=4::first%0Asecond%25')
      console.log('  ::warning::careful')
      console.error('::notice title=Note::from stderr')
      console.log('##[warning]the elder form')
      console.log('::group::More')
      console.log('::unknown::stays')
      console.log('not ::error::one')
      console.log('::endgroup::')
      console.log('::debug::unseen')
      console.log('end')`
    const report = await run({ id: 'a', uses: action({ main }) })
    const { annotations, outcome } = report.step('a')
    // Two pipes: it may stand anywhere.
    const log = report.log.replace('##[notice]from stderr\n', '')
    expect(outcome).toBe('success')
    expect(annotations).toHaveLength(4)
    expect(annotations).toEqual(
      expect.arrayContaining([
        {
          level: 'error',
          title: 'Denied: a,b',
          file: 'x.yml',
          line: '3',
          endLine: '4',
          message: 'first\nsecond%',
        },
        { level: 'warning', message: 'careful' },
        { level: 'notice', title: 'Note', message: 'from stderr' },
        { level: 'warning', message: 'the elder form' },
      ]),
    )
    expect(log).toContain('##[error]first\nsecond%\n##[warning]careful')
    expect(log).toContain('##[group]More\n::unknown::stays\nnot ::error::one\n##[endgroup]')
    expect(log).not.toContain('unseen')
  })

  it('mask later output: the value, its lines and its encodings', async () => {
    const main = `
      console.log('before geheimnis')
      console.log('::add-mask::geheimnis')
      console.log('::add-mask::line one%0Aline "two"')
      console.log('a geheimnis b', Buffer.from('geheimnis').toString('base64'), Buffer.from('x:geheimnis').toString('base64'))
      console.log('geheimnisgeheimnis')
      console.log('line one')
      console.log(JSON.stringify({ t: 'line "two"' }))
      console.log('::warning title=geheimnis::geheimnis')`
    const report = await run({ id: 'a', uses: action({ main }) })
    const { log, stdout, annotations } = report.step('a')
    expect(log.split('\n').slice(-6)).toEqual([
      'before geheimnis',
      expect.stringMatching(/^a \*\*\* b \*\*\* eD\w{0,4}\*\*\*$/),
      '***',
      '***',
      '{"t":"***"}',
      '##[warning]***',
    ])
    expect(stdout).toContain('a geheimnis b')
    // The runner masks an annotation's message only.
    expect(annotations).toEqual([{ level: 'warning', title: 'geheimnis', message: '***' }])
    expect(report.masked).toContain('line one\nline "two"')
  })

  it('mask across steps', async () => {
    const report = await run(
      {
        uses: action({
          main: `console.log('::add-mask::geheimnis'); add('ENV', 'TOKEN=geheimnis')`,
        }),
      },
      node(`console.log(env.TOKEN)`),
    )
    expect(report.step('look').log).toContain('env:\n  TOKEN: ***\n##[endgroup]\n***')
    expect(report.log).not.toContain('geheimnis')
  })

  it("show an unmasked GITHUB_ENV in the next step's header, as GitHub does", async () => {
    const report = await run({ uses: action({ main: `add('ENV', 'TOKEN=geheimnis')` }) }, node(''))
    expect(report.step('look').log).toContain('env:\n  TOKEN: geheimnis\n')
  })

  it("know the job's own secrets from the start", async () => {
    const job = github.job()
    const report = await runner.runJob({
      job,
      secrets: { KEY: 'top-secret' },
      steps: [
        {
          ...node('console.log(env.ACTIONS_ID_TOKEN_REQUEST_TOKEN, env.KEY)'),
          env: { KEY: '${{ secrets.KEY }}' },
        },
      ],
    })
    expect(report.step('look').stdout).toBe(`${job.requestToken} top-secret\n`)
    expect(report.log).toContain('KEY: ***')
    expect(report.log.endsWith('\n*** ***')).toBe(true)
  })

  it('are output between stop-commands and its token', async () => {
    const main = `
      console.log('::stop-commands::pausetoken')
      console.log('::error::no')
      console.log('::pausetoken::')
      console.log('::error::yes')`
    const { annotations, log } = (await run({ id: 'a', uses: action({ main }) })).step('a')
    expect(annotations).toEqual([{ level: 'error', message: 'yes' }])
    expect(log).toContain('\n::error::no\n')
  })

  it.each([
    ['set-env', '::set-env name=A::b', 'The `set-env` command is disabled.'],
    ['add-path', '::add-path::/x', 'The `add-path` command is disabled.'],
    ['an output without a name', '::set-output::b', "Required field 'name' is missing"],
  ])('that are not allowed fail the step: %s', async (_, line, message) => {
    const report = await run({ id: 'a', uses: action({ main: `console.log('${line}')` }) })
    expect(report.step('a').outcome).toBe('failure')
    expect(report.annotations.at(-1)?.message).toContain(message)
    expect(report.env).toEqual({})
  })

  it('show debug messages when debugging', async () => {
    const steps = [{ uses: action({ main: `console.log('::debug::seen', env.RUNNER_DEBUG)` }) }]
    expect((await runner.runJob({ steps, debug: true })).log).toContain('##[debug]seen 1')
  })
})

describe('stages', () => {
  const say = (text: string): string =>
    `fs.appendFileSync(env.GITHUB_WORKSPACE + '/order', '${text} ')`
  const order = (report: JobReport): string | undefined =>
    report.left.workspace.find(({ path }) => path === 'order')?.text

  it('run pre first, and post in reverse order at the end', async () => {
    const three = (n: number): string =>
      action({ pre: say(`pre${n}`), main: say(`main${n}`), post: say(`post${n}`) })
    const report = await run({ uses: three(1) }, { uses: three(2) }, node(say('run')))
    expect(order(report)).toBe('pre1 pre2 main1 main2 run post2 post1 ')
    expect(report.steps.map(({ stage }) => stage).join(' ')).toBe(
      'pre pre main main main post post',
    )
  })

  it('share the state of their own step only', async () => {
    const uses = action({
      pre: `add('STATE', 'early=0')`,
      main: `add('STATE', 'session-id<<E\\nses_1\\nx\\nE'); add('STATE', 'mine=' + env.INPUT_N + env.STATE_early)`,
      post: print('[env["STATE_session-id"], env.STATE_mine, env.INPUT_N]'),
      inputs: '{n: {}}',
    })
    const report = await run({ id: 'a', uses, with: { n: 1 } }, { id: 'b', uses, with: { n: 2 } })
    const posts = ['a', 'b'].map((id) => JSON.parse(report.step(id, 'post').stdout) as unknown)
    expect(posts).toEqual([
      ['ses_1\nx', '10', '1'],
      ['ses_1\nx', '20', '2'],
    ])
    expect(report.step('a').state).toEqual({ 'session-id': 'ses_1\nx', mine: '10' })
  })

  it('end with post after a failure, and skip the steps between', async () => {
    const report = await run(
      {
        id: 'a',
        uses: action({ main: `add('STATE', 's=1'); process.exit(3)`, post: print('env.STATE_s') }),
      },
      { id: 'b', uses: action({ main: '', post: '' }) },
      { ...node(''), if: 'always()' },
    )
    expect(report.conclusion).toBe('failure')
    expect(
      report.steps.map(({ id, stage, outcome, exitCode }) => [id, stage, outcome, exitCode]),
    ).toEqual([
      ['a', 'main', 'failure', 3],
      ['b', 'main', 'skipped', null],
      ['look', 'main', 'success', 0],
      ['a', 'post', 'success', 0],
    ])
    expect(report.step('a', 'post').stdout).toBe('"1"\n')
  })

  it('run post only as post-if says', async () => {
    const uses = action({ main: 'process.exit(1)', post: '', more: '  post-if: success()\n' })
    expect((await run({ id: 'a', uses })).step('a', 'post').outcome).toBe('skipped')
  })

  it('go on after a step that may fail', async () => {
    const report = await run(
      { id: 'a', uses: action({ main: 'process.exit(1)' }), continueOnError: true },
      node(''),
    )
    expect(report.conclusion).toBe('success')
    expect(report.step('a').outcome).toBe('failure')
    expect(report.step('look').outcome).toBe('success')
  })

  it('fail when their script is not there, or a program', async () => {
    const uses = action({ main: '' })
    rmSync(join(uses, 'dist', 'main.cjs'))
    const report = await run(
      { id: 'a', uses, continueOnError: true },
      { id: 'b', run: ['/nowhere/program'] },
    )
    expect(report.step('a')).toMatchObject({ outcome: 'failure', exitCode: 1 })
    expect(report.step('b')).toMatchObject({ outcome: 'failure', exitCode: null })
    expect(report.annotations.at(-1)?.message).toContain('ENOENT')
  })

  it('take a script for the shell, which stops at its first error', async () => {
    const report = await run({
      id: 'a',
      run: 'echo "out=$GITHUB_JOB" >> "$GITHUB_OUTPUT"\nfalse\necho no',
    })
    expect(report.step('a')).toMatchObject({
      outcome: 'failure',
      outputs: { out: 'deploy' },
      stdout: '',
      annotations: [{ level: 'error', message: 'Process completed with exit code 1.' }],
    })
    expect(report.left.temp).toEqual([])
  })
})

describe('a cancelled job', () => {
  const waiting = (onSignal: string): string => `
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => { console.log(signal); ${onSignal} })
    add('STATE', 's=1')
    setInterval(() => {}, 1000)
    console.log('ready')`

  const cancelled = async (...steps: Step[]): Promise<JobReport> => {
    const cancel = new AbortController()
    const onLine = (line: string): void => {
      if (line === 'ready') cancel.abort()
    }
    return runner.runJob({ steps, cancel: cancel.signal, onLine })
  }

  it('interrupts the running step and still runs its post', async () => {
    const uses = action({
      main: waiting(`add('ENV', 'LATE=1'); process.exit(0)`),
      post: print('env.STATE_s'),
    })
    const report = await cancelled({ id: 'a', uses }, node(''), {
      id: 'c',
      run: 'echo',
      if: 'cancelled()',
    })
    expect(report.conclusion).toBe('cancelled')
    expect(report.steps.map(({ id, stage, outcome }) => [id, stage, outcome])).toEqual([
      ['a', 'main', 'cancelled'],
      ['look', 'main', 'skipped'],
      ['c', 'main', 'success'],
      ['a', 'post', 'success'],
    ])
    expect(report.step('a').stdout).toBe('ready\nSIGINT\n')
    expect(report.step('a').annotations).toEqual([
      { level: 'error', message: 'The operation was canceled.' },
    ])
    expect(report.step('a', 'post').stdout).toBe('"1"\n')
    expect(report.env).toEqual({ LATE: '1' })
  })

  it('asks three times, the last time without asking', async () => {
    const report = await cancelled({ id: 'a', uses: action({ main: waiting('') }) })
    expect(report.step('a')).toMatchObject({
      exitCode: null,
      signal: 'SIGKILL',
      outcome: 'cancelled',
    })
    expect(report.step('a').stdout).toBe('ready\nSIGINT\nSIGTERM\n')
  })

  it('leaves a step alone that always runs', async () => {
    const main = `console.log('ready'); setTimeout(() => console.log('done'), 100)`
    const report = await cancelled({ id: 'a', uses: action({ main }), if: 'always()' })
    expect(report.step('a')).toMatchObject({ outcome: 'success', stdout: 'ready\ndone\n' })
    expect(report.conclusion).toBe('cancelled')
  })

  it('begins no step when it was cancelled before', async () => {
    const report = await runner.runJob({ steps: [node('')], cancel: AbortSignal.abort() })
    expect(report.step('look').outcome).toBe('skipped')
  })
})

describe('what a job leaves', () => {
  it('is told with its mode, the files that were there apart', async () => {
    const script = `
      fs.mkdirSync(env.RUNNER_TEMP + '/tvm-1', { mode: 0o700 })
      fs.writeFileSync(env.RUNNER_TEMP + '/tvm-1/key', 'k', { mode: 0o600 })
      fs.writeFileSync(env.GITHUB_WORKSPACE + '/src/b', 'changed')
      fs.symlinkSync('/etc', env.HOME + '/link')
      fs.writeFileSync(require('node:os').tmpdir() + '/t', '')`
    const report = await runner.runJob({
      steps: [node(script)],
      files: { 'src/a': 'a', 'src/b': 'b' },
    })
    expect(report.left.temp).toEqual([
      { path: 'tvm-1/', mode: 0o700, text: '' },
      { path: 'tvm-1/key', mode: 0o600, text: 'k' },
    ])
    expect(report.left.workspace).toMatchObject([{ path: 'src/b', text: 'changed' }])
    expect(report.left.home).toMatchObject([{ path: 'link', text: '/etc' }])
    expect(report.left.tmp).toMatchObject([{ path: 't' }])
  })

  it('is not a process', async () => {
    const script = `
      const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'inherit' })
      child.unref()
      add('ENV', 'CHILD=' + child.pid)
      console.log(child.pid)`
    const report = await run(node(script), { id: 'later', run: 'kill -0 "$CHILD"' })
    const pid = Number(report.step('look').stdout)
    expect(report.step('later').exitCode).toBe(0)
    expect(report.orphans).toEqual([pid])
    await expect.poll(() => isRunning(pid)).toBe(false)
  })

  it('is gone with the runner', async () => {
    const own = startRunner({ github })
    const { stdout } = (
      await own.runJob({ steps: [node('process.stdout.write(env.RUNNER_TEMP)')] })
    ).step('look')
    expect(existsSync(stdout)).toBe(true)
    await own.close()
    expect(existsSync(stdout)).toBe(false)
    await expect(own.runJob({ steps: [] })).rejects.toThrow('the runner was closed')
  })

  it('is nothing when the runner closes in the middle', async () => {
    const own = startRunner({ github })
    const begun = Promise.withResolvers<string>()
    const running = own.runJob({
      steps: [node('console.log(process.pid); setInterval(() => {}, 1000)'), { run: 'echo' }],
      onLine: (line) => {
        if (/^\d+$/.test(line)) begun.resolve(line)
      },
    })
    const ended = expect(running).rejects.toThrow()
    const pid = Number(await begun.promise)
    await own.close()
    await ended
    expect(isRunning(pid)).toBe(false)
  })
})

/** A zombie does not run. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe('an action.yml', () => {
  it.each([
    [
      'that is no JavaScript action',
      'runs: {using: composite, steps: []}',
      "runs.using 'composite'",
    ],
    ['without main', 'runs: {using: node24}', 'runs.main is missing'],
    [
      'with a condition that is not understood',
      'runs: {using: node24, main: a, post: b, post-if: github.ref}',
      "post-if 'github.ref'",
    ],
  ])('%s is refused', async (_, text, message) => {
    const path = join(action({ main: '' }), 'action.yml')
    writeFileSync(path, text)
    await expect(run({ uses: path })).rejects.toThrow(message)
  })
})

it('jobs run side by side, each in its own folders', async () => {
  const script = `fs.writeFileSync(env.RUNNER_TEMP + '/mine', env.GITHUB_RUN_ID)`
  const reports = await Promise.all([run(node(script)), run(node(script))])
  const texts = reports.map(({ left }) => left.temp.map(({ text }) => text).join())
  expect(new Set(texts).size).toBe(2)
})
