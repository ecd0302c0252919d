import {
  error,
  exportVariable,
  getInput,
  info,
  notice,
  saveState,
  setOutput,
  setSecret,
  warning,
} from '@actions/core'
import { randomBytes } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Problem, SessionsReply } from '../server/api.ts'
import { endSessions, openSessions } from './broker.ts'
import type { Exported } from './export/export.ts'
import { AZURE_NOTICE } from './export/azure.ts'
import { planExports, replacedBy, secretsIn } from './export/index.ts'
import { Failure, type FailureCode } from './failure.ts'
import { findEndpoint } from './id-token.ts'
import { readInputs, type Inputs } from './inputs.ts'
import { leftVariables, stateName, type Left } from './left.ts'
import type { Clock } from './pause.ts'
import { tempRoot, writePrivate } from './private-files.ts'
import { openJobKey, type JobKey } from './proof.ts'
import { readHandles, readSessions, type Handle } from './reply.ts'
import {
  earliestExpiry,
  failureAnnotation,
  failureSummary,
  grantedBy,
  grantedLines,
  grantSummary,
  refusalAnnotation,
  refusalSummary,
  replacedNotice,
  type Annotation,
} from './report.ts'
import { plain } from './text.ts'

const { env } = process

const END_MS = 5_000

const clock: Clock = {
  now: Date.now,
  random: Math.random,
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
}

/** The step, once its inputs are known. */
const run = async (inputs: Inputs): Promise<void> => {
  const endpoint = findEndpoint(env)
  const root = openRunner()
  const key = openKey(root)
  const outcome = await openSessions({ inputs, endpoint, key, clock, mask, tell: info })
  if (outcome.kind === 'refused') {
    refuse(outcome.problem, inputs)
    return
  }
  const handles = remember(inputs, outcome.json)
  try {
    const reply = readReply(outcome.json, inputs)
    exportAll(reply, { inputs, root, key })
    tellGranted(reply, inputs)
  } catch (thrown) {
    await endSessions({ ...inputs, handles, timeoutMs: END_MS })
    throw thrown instanceof Failure ? thrown : new Failure('export_failed', words(thrown))
  }
}

/** Without these files @actions/core would print state and variables, secrets among them, to the log. */
const openRunner = (): string => {
  const missing = ['GITHUB_ENV', 'GITHUB_OUTPUT', 'GITHUB_STATE'].filter((name) => !env[name])
  if (missing.length > 0)
    throw new Failure('not_on_a_runner', `The runner did not set ${missing.join(', ')}.`)
  return tempRoot(env)
}

const openKey = (root: string): JobKey => {
  const key = openJobKey(root, env)
  mask(key.secret)
  if (key.made !== null) leave('key', key.made)
  return key
}

/** From here on post ends the sessions, whatever happens to this process. */
const remember = ({ url }: Inputs, json: unknown): readonly Handle[] => {
  const handles = readHandles(json)
  handles.forEach(({ token }) => mask(token))
  leave('sessions', { url, handles })
  return handles
}

const readReply = (json: unknown, { grants }: Inputs): SessionsReply => {
  const reply = readSessions(json, grants)
  secretsIn(reply).forEach(mask)
  return reply
}

interface ExportTo {
  readonly inputs: Inputs
  readonly root: string
  readonly key: JobKey
}

const exportAll = (reply: SessionsReply, { inputs, root, key }: ExportTo): void => {
  const folder = join(root, `tvm-${randomBytes(8).toString('hex')}`)
  const { awsRegion, outputCredentials } = inputs
  const plan = planExports(reply, { env, folder, keyFile: key.path, awsRegion })
  const replaced = replacedBy(plan, env)
  leave('variables', leftVariables(plan.variables))
  writeFiles(folder, plan)
  for (const { name, value } of plan.variables) exportVariable(name, value)
  if (replaced.length > 0) annotate(notice, replacedNotice(replaced))
  if (reply.sessions.some(({ targets }) => targets.azure !== undefined))
    annotate(notice, AZURE_NOTICE)
  if (outputCredentials)
    for (const [name, secret] of Object.entries(plan.secrets)) setOutput(name, secret)
}

const writeFiles = (path: string, { files }: Exported): void => {
  if (files.length === 0) return
  leave('folder', { path, names: files.map(({ name }) => name) })
  if (!writePrivate(path, files))
    throw new Failure('runner_temp_unusable', 'A folder of that name is there already.')
}

const tellGranted = (reply: SessionsReply, inputs: Inputs): void => {
  const granted = grantedBy(reply, inputs.awsRegion)
  setOutput('session-id', reply.sessions.map(({ id }) => id).join(','))
  setOutput('expires-at', earliestExpiry(granted))
  setOutput('decision-id', reply.decision_id)
  setOutput('granted', JSON.stringify(granted))
  const aws = reply.sessions.find(({ targets }) => targets.aws !== undefined)?.targets.aws
  if (aws !== undefined) setOutput('aws-account-id', aws.account_id)
  grantedLines(granted).forEach((line) => info(line))
  if (inputs.summary === 'on') summarise(grantSummary(granted, reply))
}

/** A 403 is the broker's word about this job; any other refusal is about the request or about the moment. */
const refuse = (problem: Problem, inputs: Inputs): void => {
  setOutput('error-code', problem.code)
  if (problem.decision_id !== undefined) setOutput('decision-id', problem.decision_id)
  const fatal = problem.status !== 403 || inputs.failOnDenied
  stop(refusalAnnotation(problem, inputs.grants), fatal)
  if (inputs.summary !== 'off') summarise(refusalSummary(problem, inputs.grants))
}

/** GitHub itself says no to these runs, so `fail-on-denied: false` speaks of them too. */
const DENIED_BY_GITHUB: readonly FailureCode[] = ['no_id_token_fork', 'no_id_token_dependabot']

const fail = (thrown: unknown, inputs: Inputs | null): void => {
  const failure = thrown instanceof Failure ? thrown : new Failure('action_failed', words(thrown))
  setOutput('error-code', failure.code)
  const fatal = !DENIED_BY_GITHUB.includes(failure.code) || inputs?.failOnDenied !== false
  stop(failureAnnotation(failure), fatal)
  if (inputs?.summary !== 'off') summarise(failureSummary(failure))
}

/** System errors name a path of ours at most, and everything secret is masked by now. */
const words = (thrown: unknown): string =>
  thrown instanceof Error ? plain(thrown.message) : 'Unknown failure.'

const stop = (annotation: Annotation, fatal: boolean): void => {
  annotate(fatal ? error : warning, annotation)
  if (fatal) process.exitCode = 1
}

const annotate = (by: typeof error, { title, message }: Annotation): void => by(message, { title })

/**
 * A summary that cannot be written must not cost the job its credentials. (The summary builder of @actions/core is 9 kB and would
 * only append to this file too.)
 */
const summarise = (text: string): void => {
  try {
    appendFileSync(env['GITHUB_STEP_SUMMARY'] ?? '', text)
  } catch {
    info('TVM: the job summary could not be written.')
  }
}

/** The runner masks line by line. */
const mask = (secret: string): void => {
  for (const line of secret.split(/\r?\n/)) if (line.trim() !== '') setSecret(line)
}

const leave = <Part extends keyof Left>(part: Part, value: Left[Part]): void => {
  saveState(stateName(part), JSON.stringify(value))
}

const step = async (): Promise<void> => {
  let inputs: Inputs | null = null
  try {
    inputs = readInputs(getInput, env)
    await run(inputs)
  } catch (thrown) {
    fail(thrown, inputs)
  }
}

void step()
