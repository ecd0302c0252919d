/** npm run demo: the whole of TVM on loopback, told as a story. Exit code 0 only if every step came out as told. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { parseArgs, promisify } from 'node:util'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import type { JobReport, StepReport } from './runner.ts'
import { ACTION, BUCKET, ROOT, startWorld, type LocalWorld } from './world.ts'

const run = promisify(execFile)
const { values } = parseArgs({
  options: {
    keep: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
})

const tty = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
const paint = (code: number, text: string): string =>
  tty ? `\u001b[${code}m${text}\u001b[0m` : text
const say = (text = ''): void => console.log(text)
const indent = (text: string): string =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`.trimEnd())
    .join('\n')

let chapters = 0
const chapter = (title: string): void => {
  chapters += 1
  say(`\n${paint(1, `${chapters}. ${title}`)}`)
}

const wrong: string[] = []
const expect = (what: string, holds: boolean): void => {
  say(`  ${holds ? paint(32, '✓') : paint(31, '✗')} ${what}`)
  if (!holds) wrong.push(what)
}

/** What a step shows in the log of its job, without the runner's own preamble. */
const logOf = ({ log }: StepReport): string =>
  log.replaceAll(/^##\[group\][\s\S]*?^##\[endgroup\]\n/gm, '')

const use = (world: LocalWorld) => ({
  id: 'tvm',
  uses: ACTION,
  with: { url: world.url, grants: 'payments-deploy' },
})

const aws = (world: LocalWorld, id: string, command: string) => ({
  id,
  run: command,
  env: { AWS_ENDPOINT_URL: world.aws.url },
  continueOnError: true,
})

const deploy = async (world: LocalWorld, cli: boolean): Promise<JobReport> => {
  const steps = [
    aws(world, 'who', 'aws sts get-caller-identity --output text'),
    aws(
      world,
      'write',
      `echo build > build.tgz && aws s3 cp --no-progress build.tgz s3://${BUCKET}/99120/build.tgz`,
    ),
    aws(world, 'beside', `aws s3 cp --no-progress build.tgz s3://${BUCKET}/other/build.tgz`),
  ]
  return world.runner.runJob({
    job: world.github.job({ environment: 'production' }),
    steps: [use(world), ...(cli ? steps : [])],
  })
}

/** The AWS SDK with nothing but what the action exported. */
const put = async (
  world: LocalWorld,
  env: Readonly<Record<string, string>>,
  key: string,
): Promise<string> => {
  const client = new S3Client({
    endpoint: world.aws.url,
    forcePathStyle: true,
    region: env['AWS_REGION'] ?? '',
    credentials: {
      accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
      sessionToken: env['AWS_SESSION_TOKEN'] ?? '',
    },
    maxAttempts: 1,
  })
  try {
    await client.send(new PutObjectCommand({ Bucket: BUCKET, Key: key, Body: 'build' }))
    return 'ok'
  } catch (error) {
    return error instanceof Error ? error.name : String(error)
  } finally {
    client.destroy()
  }
}

const tellCommand = (step: StepReport): void => {
  say(`    $ ${/##\[group\]Run (.*)/.exec(step.log)?.[1] ?? ''}`)
  say(indent(logOf(step)))
}

const hasAwsCli = (): Promise<boolean> =>
  run('aws', ['--version']).then(
    () => true,
    () => false,
  )

const mainStory = async (world: LocalWorld, cli: boolean): Promise<void> => {
  chapter('A job on main deploys')
  say(
    `  acme/payments, refs/heads/main, environment production: uses org/tvm-action@v1 with grants: payments-deploy`,
  )
  const job = await deploy(world, cli)
  const tvm = job.step('tvm')
  say(indent(logOf(tvm)))
  const { env } = tvm
  for (const [name, value] of Object.entries(env))
    say(
      `    ${name}=${/KEY|TOKEN/.test(name) ? `${value.slice(0, 4)}… (masked in the log)` : value}`,
    )
  expect(
    'the job got AWS credentials',
    tvm.outcome === 'success' && env['AWS_SESSION_TOKEN'] !== undefined,
  )
  expect(
    'no secret stands in the log or the summary',
    job.masked.every((secret) => !job.log.includes(secret) && !tvm.summary.includes(secret)),
  )

  chapter(
    `With these credentials: ${cli ? 'the AWS CLI' : 'the AWS SDK (there is no aws CLI here)'}`,
  )
  if (cli) {
    for (const id of ['who', 'write', 'beside']) tellCommand(job.step(id))
    expect('they write below their own prefix', job.step('write').outcome === 'success')
    expect('they are refused beside it', job.step('beside').outcome === 'failure')
  } else {
    expect('they write below their own prefix', (await put(world, env, '99120/build.tgz')) === 'ok')
    expect(
      'they are refused beside it',
      (await put(world, env, 'other/build.tgz')) === 'AccessDenied',
    )
  }
  expect('the object lies in the bucket', world.aws.object(BUCKET, '99120/build.tgz') !== null)

  chapter('Ten minutes later (on the clock of this AWS)')
  expect('just before, they still work', (await putAfter(world, 9 * 60_000, env)) === 'ok')
  expect(
    'after their ten minutes they are refused',
    (await putAfter(world, 10 * 60_000 + 1_000, env)) === 'AccessDenied',
  )
  say(
    "    AWS's own expiry is later still: it makes no credentials for less than 15 minutes, so the session policy ends them.",
  )

  chapter('The job summary')
  say(indent(tvm.summary))
}

/** As it will be `ms` from now; then the clock goes back. */
const putAfter = async (
  world: LocalWorld,
  ms: number,
  env: Readonly<Record<string, string>>,
): Promise<string> => {
  world.clock.advance(ms)
  const outcome = await put(world, env, '99120/later.tgz')
  world.clock.advance(-ms)
  return outcome
}

const denialStory = async (world: LocalWorld): Promise<void> => {
  chapter('The same step on another branch')
  const { github, runner } = world
  const job = await runner.runJob({
    job: github.job({ ref: 'refs/heads/feature/refunds', environment: 'production' }),
    steps: [use(world)],
  })
  const tvm = job.step('tvm')
  say(indent(logOf(tvm)))
  expect('the job got nothing', tvm.outcome === 'failure' && Object.keys(tvm.env).length === 0)
  expect('the refusal has a code', tvm.outputs['error-code'] === 'grant_refused')
  say(`    The whole step took ${Math.round(tvm.duration)} ms.`)
}

const auditStory = async (world: LocalWorld): Promise<void> => {
  chapter('What the audit log says')
  const tvm = (...args: string[]) =>
    run(process.execPath, [join(ROOT, 'server/main.ts'), ...args, '--config', world.configFile])
  const [list, verified] = await Promise.all([
    tvm('audit', 'list'),
    tvm('audit', 'verify').catch((error: unknown) => error as { stdout: string }),
  ])
  say(indent(list.stdout))
  say(indent(verified.stdout))
  expect('the chain of records is whole', verified.stdout.startsWith('ok: '))
  expect('it tells the intent, the outcome, the end and the refusal', isWhole(list.stdout))
}

const isWhole = (list: string): boolean =>
  ['exchange.intent', 'exchange.outcome', 'session.ended', 'exchange.refused'].every((event) =>
    list.includes(event),
  )

const keepRunning = async (world: LocalWorld): Promise<void> => {
  chapter('It goes on running; Ctrl-C ends it')
  say(`    Enter      runs the job on main again, under the policies as they are then`)
  say(`    broker     ${world.url}`)
  say(`    readiness  ${world.adminUrl}/readyz    metrics  ${world.adminUrl}/metrics`)
  say(`    policies   ${join(world.folder, 'policies')}  (read again every minute)`)
  say(`    audit      npm run --silent tvm -- audit list --config ${world.configFile}`)
  say(`    GitHub     ${world.github.url}`)
  say(`    AWS        ${world.aws.url}  (AWS_ENDPOINT_URL)`)
  const stopped = new Promise((resolve) => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  const lines = createInterface({ input: process.stdin })
  let running = Promise.resolve()
  lines.on('line', () => {
    running = running.then(() => again(world))
  })
  await stopped
  lines.close()
  await running
}

const again = async (world: LocalWorld): Promise<void> => {
  const job = await deploy(world, false)
  say(indent(logOf(job.step('tvm'))))
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(1)

const main = async (): Promise<void> => {
  if (values.help) {
    say(
      'npm run demo [-- --keep]\n\n  --keep  leave everything running, and say where it is\n\nExit code: 0 when everything came out as told, 1 when not.',
    )
    return
  }
  if (!existsSync(join(ROOT, 'dist/action/main.cjs')))
    throw new Error('dist/action is missing: run npm run build:action')
  say(
    paint(
      1,
      'TVM: a local GitHub, a local AWS, a broker without any cloud secret, and the built action',
    ),
  )
  const started = performance.now()
  const [cli, world] = await Promise.all([hasAwsCli(), startWorld({ broker: 'process' })])
  try {
    await mainStory(world, cli)
    await denialStory(world)
    await auditStory(world)
    say()
    say(
      wrong.length === 0
        ? paint(32, `Everything came out as told, in ${seconds(started)} s.`)
        : paint(31, `Not as told: ${wrong.join('; ')}`),
    )
    if (values.keep) await keepRunning(world)
  } finally {
    await world.close()
  }
  process.exitCode = wrong.length === 0 ? 0 : 1
}

await main()
