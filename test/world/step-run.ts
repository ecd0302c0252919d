import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Action, Condition, JobStatus, Script } from './action-manifest.ts'
import { fillAll, fillIn, type Contexts } from './expression.ts'
import { openCommandFiles } from './file-commands.ts'
import { COMMAND_FILES, type Place } from './job-place.ts'
import type { Job } from './job.ts'
import type { Masker } from './mask.ts'
import { actionsEnv, contextOf, githubEnv, machineEnv, runnerEnv } from './runner-env.ts'
import type { Stage, Step, StepReport } from './runner.ts'
import { StepLog } from './step-log.ts'
import { runProcess, type Patience, type ProcessEnd } from './step-process.ts'

type Strings = Readonly<Record<string, string>>

/** A step of the workflow as the job goes: its id, its action, and what its stages share. */
export interface Planned {
  readonly id: string
  readonly step: Step
  /** null: a `run` step. */
  readonly action: Action | null
  readonly state: Map<string, string>
}

/** One stage of a step, ready to run. */
export interface Turn {
  readonly planned: Planned
  readonly stage: Stage
  readonly condition: Condition
  /** null: a `run` step. */
  readonly script: Script | null
}

/** What all steps of a job share, and each may change. */
export interface Shared {
  readonly job: Job
  readonly place: Place
  readonly patience: Patience
  readonly masker: Masker
  readonly trackingId: string
  readonly debug: boolean
  readonly secrets: Strings
  readonly onLine: (line: string, step: string) => void
  readonly onStart: (child: ChildProcess) => void
  /** `env:` of the job, and GITHUB_ENV. */
  readonly env: Map<string, string>
  /** GITHUB_PATH; the last goes first. */
  readonly paths: string[]
  /** Step id → its outputs. */
  readonly outputs: Map<string, Strings>
}

/** Runs one stage of a step; its effects are in `shared` afterwards. `cancel`: null where nothing may cancel it. */
export const runTurn = async (
  turn: Turn,
  shared: Shared,
  cancel: AbortSignal | null,
): Promise<StepReport> => {
  const { id, state } = turn.planned
  const began = performance.now()
  const files = openCommandFiles(join(shared.place.temp, COMMAND_FILES))
  const outputs = new Map<string, string>()
  const saved = new Map<string, string>()
  const log = new StepLog({
    masker: shared.masker,
    debug: shared.debug,
    onLine: (line) => {
      shared.onLine(line, id)
    },
    effects: {
      output: (name, value) => void outputs.set(name, value),
      state: (name, value) => void saved.set(name, value),
    },
  })
  const end = await launch(turn, shared, { log, files: files.env, cancel })
  const changes = files.take(log)
  addTo(shared.env, changes.env)
  addTo(outputs, changes.outputs)
  addTo(saved, changes.state)
  addTo(state, saved)
  for (const path of changes.paths) prepend(shared.paths, path)
  shared.outputs.set(id, { ...shared.outputs.get(id), ...Object.fromEntries(outputs) })
  const outcome = outcomeOf(turn, end, log, cancel)
  return {
    id,
    stage: turn.stage,
    exitCode: end.exitCode,
    signal: end.signal,
    outcome,
    outputs: Object.fromEntries(outputs),
    state: Object.fromEntries(saved),
    env: Object.fromEntries(changes.env),
    paths: changes.paths,
    annotations: log.annotations,
    summary: maskLines(changes.summary, shared.masker),
    log: log.entries.join('\n'),
    stdout: end.stdout,
    stderr: end.stderr,
    duration: performance.now() - began,
  }
}

const addTo = (into: Map<string, string>, from: ReadonlyMap<string, string>): void => {
  for (const [name, value] of from) into.set(name, value)
}

const prepend = (paths: string[], path: string): void => {
  const known = paths.indexOf(path)
  if (known >= 0) paths.splice(known, 1)
  paths.push(path)
}

/** Line by line, as the runner does: a secret of several lines is caught by its lines. */
const maskLines = (text: string, masker: Masker): string =>
  text
    .split('\n')
    .map((line) => masker.mask(line))
    .join('\n')

const outcomeOf = (
  { script }: Turn,
  end: ProcessEnd,
  log: StepLog,
  cancel: AbortSignal | null,
): JobStatus => {
  if (cancel?.aborted === true) {
    log.issue('error', 'The operation was canceled.')
    return 'cancelled'
  }
  if (end.problem !== null) log.issue('error', end.problem)
  // An action is trusted to say itself why it failed.
  else if (end.exitCode !== 0 && script === null)
    log.issue('error', `Process completed with exit code ${end.exitCode ?? 128}.`)
  return end.exitCode === 0 && !log.failed ? 'success' : 'failure'
}

/** What a skipped stage reports. */
export const skipped = ({ planned, stage }: Turn): StepReport => ({
  id: planned.id,
  stage,
  exitCode: null,
  signal: null,
  outcome: 'skipped',
  outputs: {},
  state: {},
  env: {},
  paths: [],
  annotations: [],
  summary: '',
  log: '',
  stdout: '',
  stderr: '',
  duration: 0,
})

interface Means {
  readonly log: StepLog
  readonly files: Strings
  readonly cancel: AbortSignal | null
}

const launch = async (turn: Turn, shared: Shared, means: Means): Promise<ProcessEnd> => {
  const { planned, script, stage } = turn
  const github = {
    ...githubEnv(shared.job, shared.place, planned.id),
    ...means.files,
    ...sourceOf(planned),
  }
  const runner = runnerEnv(shared.job, shared.place, shared.debug)
  const contexts = contextsOf(shared, github, runner)
  // Later rows win; a job cannot forge GITHUB_*, RUNNER_* or ACTIONS_* through GITHUB_ENV.
  const own = { ...Object.fromEntries(shared.env), ...fillAll(planned.step.env ?? {}, contexts) }
  for (const [name, value] of planned.state) own[`STATE_${name}`] = value
  const inputs = inputsOf(planned, contexts, means.log)
  const command = commandOf(planned.step, script, contexts, shared.place)
  if (stage === 'post') means.log.write('Post job cleanup.')
  else printHeader(planned.step, command, { inputs, own, log: means.log })
  const env = {
    ...machineEnv(shared.place, shared.trackingId),
    ...own,
    ...inputVariables(inputs),
    ...github,
    ...runner,
    ...actionsEnv(shared.job, script !== null),
    GITHUB_ACTIONS: 'true',
    CI: own['CI'] ?? 'true',
  }
  const end = await runProcess({
    command: command.file,
    args: command.args,
    cwd: shared.place.workspace,
    env: finish(env, shared.paths),
    onLine: (line) => {
      means.log.take(line)
    },
    cancel: means.cancel,
    patience: shared.patience,
    onStart: shared.onStart,
  })
  command.clean()
  return end
}

/** `acme/tvm-action@v1` → GITHUB_ACTION_REPOSITORY and GITHUB_ACTION_REF. */
const sourceOf = ({ step }: Planned): Strings => {
  if (!('uses' in step)) return {}
  const [repository = '', ref = ''] = labelOf(step.as).split('@')
  return { GITHUB_ACTION_REPOSITORY: repository.split('/', 2).join('/'), GITHUB_ACTION_REF: ref }
}

/** What the workflow is thought to say after `uses:`. */
export const labelOf = (as: string | undefined): string => as ?? 'acme/tvm-action@v1'

const contextsOf = (shared: Shared, github: Strings, runner: Strings): Contexts => ({
  env: Object.fromEntries(shared.env),
  github: { ...contextOf('GITHUB_', github), token: shared.job.githubToken },
  runner: contextOf('RUNNER_', runner),
  secrets: shared.secrets,
  ...Object.fromEntries(
    [...shared.outputs].map(([id, outputs]) => [`steps.${id}.outputs`, outputs]),
  ),
})

/** Name as given or declared → value. What the action does not declare is passed all the same, with a warning. */
const inputsOf = (
  { step, action }: Planned,
  contexts: Contexts,
  log: StepLog,
): Map<string, string> => {
  if (!('uses' in step) || action === null) return new Map()
  const given = Object.entries(fillAll(step.with ?? {}, contexts))
  const inputs = new Map(given)
  const names = new Set(given.map(([name]) => name.toLowerCase()))
  for (const { name, default: value, deprecated } of action.inputs) {
    if (!names.has(name.toLowerCase())) inputs.set(name, fillIn(value, contexts))
    else if (deprecated !== null)
      log.issue('warning', `Input '${name}' has been deprecated with message: ${deprecated}`)
  }
  const valid = action.inputs.map(({ name }) => name)
  const known = new Set(valid.map((name) => name.toLowerCase()))
  const unexpected = given.map(([name]) => name).filter((name) => !known.has(name.toLowerCase()))
  if (unexpected.length > 0)
    log.issue(
      'warning',
      `Unexpected input(s) '${unexpected.join("', '")}', valid inputs are ['${valid.join("', '")}']`,
    )
  return inputs
}

/** Spaces become underscores, dashes stay. */
const inputVariables = (inputs: ReadonlyMap<string, string>): Strings =>
  Object.fromEntries(
    [...inputs].map(([name, value]) => [`INPUT_${name.replaceAll(' ', '_').toUpperCase()}`, value]),
  )

/** The runner drops NODE_ICU_DATA, which would reach its own Node; a variable without a name cannot be set. */
const finish = (env: Strings, paths: readonly string[]): Strings => {
  const kept = Object.entries(env).filter(([name]) => name !== '' && name !== 'NODE_ICU_DATA')
  const path = [...paths.toReversed(), env['PATH'] ?? ''].filter((part) => part !== '')
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter) }
}

interface Command {
  readonly file: string
  readonly args: readonly string[]
  /** What the log's header calls it. */
  readonly label: string
  clean(): void
}

const commandOf = (
  step: Step,
  script: Script | null,
  contexts: Contexts,
  place: Place,
): Command => {
  const clean = (): void => undefined
  if ('uses' in step)
    return { file: process.execPath, args: [script?.path ?? ''], label: labelOf(step.as), clean }
  if (typeof step.run === 'string') return scriptCommand(fillIn(step.run, contexts), place)
  const [file = '', ...args] = step.run.map((part) => fillIn(part, contexts))
  return { file, args, label: [file, ...args].join(' '), clean }
}

const scriptCommand = (text: string, place: Place): Command => {
  const path = join(place.temp, `${randomUUID()}.sh`)
  writeFileSync(path, `${text}\n`)
  return {
    file: 'bash',
    args: ['-e', path],
    label: text,
    clean: () => {
      rmSync(path, { force: true })
    },
  }
}

interface Header {
  readonly inputs: ReadonlyMap<string, string>
  readonly own: Strings
  readonly log: StepLog
}

/** The folded first lines of a step. They show its inputs and its whole `env`, GITHUB_ENV of earlier steps included. */
const printHeader = (step: Step, { label }: Command, { inputs, own, log }: Header): void => {
  const lines = label.split('\n')
  log.write(`##[group]Run ${lines[0] ?? ''}`)
  if (!('uses' in step)) for (const line of lines) log.write(line)
  if (inputs.size > 0) log.write('with:')
  for (const [name, value] of inputs) if (value !== '') log.write(`  ${name}: ${value}`)
  if (Object.keys(own).length > 0) log.write('env:')
  for (const [name, value] of Object.entries(own)) log.write(`  ${name}: ${value}`)
  log.write('##[endgroup]')
}
