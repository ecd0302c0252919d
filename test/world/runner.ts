import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Condition, JobStatus } from './action-manifest.ts'
import type { LocalGitHub } from './github.ts'
import { makePlace, type AllLeft } from './job-place.ts'
import { JobRun } from './job-run.ts'
import type { Job } from './job.ts'
import type { Annotation } from './step-log.ts'
import { GITHUB_PATIENCE, type Patience } from './step-process.ts'

interface AnyStep {
  /** As in `steps.<id>`; without one the runner makes one up. */
  readonly id?: string
  /** Default `success()`. */
  readonly if?: Condition
  readonly env?: Readonly<Record<string, string>>
  readonly continueOnError?: boolean
}

/** A JavaScript action. Values of `with` and `env` may hold `${{ steps.x.outputs.y }}`, `env.X`, `github.x`, `runner.x`, `secrets.X`. */
export interface UsesStep extends AnyStep {
  /** Path to its action.yml, or to the folder of it. */
  readonly uses: string
  /** What the workflow would say; default `acme/tvm-action@v1`. */
  readonly as?: string
  readonly with?: Readonly<Record<string, string | number | boolean>>
}

export interface RunStep extends AnyStep {
  /** A script for `bash -e`, or a command and its arguments. */
  readonly run: string | readonly [command: string, ...args: string[]]
}

export type Step = UsesStep | RunStep

export interface JobOrder {
  /** Default: a new job of the runner's GitHub. */
  readonly job?: Job
  readonly steps: readonly Step[]
  /** `env:` of the job. */
  readonly env?: Readonly<Record<string, string>>
  /** Masked from the start, and `${{ secrets.NAME }}`. */
  readonly secrets?: Readonly<Record<string, string>>
  /** What a checkout would have put into the workspace: path → text. */
  readonly files?: Readonly<Record<string, string>>
  /** Debug logging: RUNNER_DEBUG=1 and debug messages in the log. */
  readonly debug?: boolean
  /** Aborted: the job is cancelled, as by the button. The running main step gets SIGINT; post steps still run. */
  readonly cancel?: AbortSignal
  /** Each entry of the log as it is written, masked, and the id of its step. */
  readonly onLine?: (line: string, step: string) => void
}

export type Stage = 'pre' | 'main' | 'post'

export interface StepReport {
  readonly id: string
  readonly stage: Stage
  /** null: skipped, ended by a signal, or not started. */
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** Before `continueOnError`; the job's conclusion counts it after. */
  readonly outcome: JobStatus | 'skipped'
  readonly outputs: Readonly<Record<string, string>>
  /** What the step itself saved for later stages. */
  readonly state: Readonly<Record<string, string>>
  /** What it wrote to GITHUB_ENV. */
  readonly env: Readonly<Record<string, string>>
  /** What it wrote to GITHUB_PATH. */
  readonly paths: readonly string[]
  readonly annotations: readonly Annotation[]
  /** Markdown, masked; empty without a summary. */
  readonly summary: string
  /** As the page of the job shows it: masked, commands obeyed. */
  readonly log: string
  /** Unmasked: nobody sees it outside a test. */
  readonly stdout: string
  readonly stderr: string
  /** Milliseconds. */
  readonly duration: number
}

export interface JobReport {
  readonly conclusion: JobStatus
  /** In the order in which they ran: pre, main, post. */
  readonly steps: readonly StepReport[]
  /** The step's report; throws when there is none. Default stage `main`. */
  step(id: string, stage?: Stage): StepReport
  readonly log: string
  readonly annotations: readonly Annotation[]
  /** The job's environment at the end: `env:` of runner and job, and GITHUB_ENV. */
  readonly env: Readonly<Record<string, string>>
  /** Every value that was to be masked, unmasked. */
  readonly masked: readonly string[]
  /** Processes that steps had left running when the job was over; they are ended now. Linux only. */
  readonly orphans: readonly number[]
  /** What lay on the disk after the last post step. */
  readonly left: AllLeft
}

export interface RunnerOptions {
  readonly github: LocalGitHub
  /** `env:` of every job. */
  readonly env?: Readonly<Record<string, string>>
  readonly patience?: Partial<Patience>
}

/** A machine that runs jobs as GitHub's runner does; each job has folders of its own, and several may run at once. */
export interface Runner {
  runJob(order: JobOrder): Promise<JobReport>
  /** Ends what still runs and removes every folder. */
  close(): Promise<void>
}

export const startRunner = (options: RunnerOptions): Runner => {
  const [major = '0'] = process.versions.node.split('.')
  if (Number(major) < 24)
    throw new Error('the local runner needs Node 24: it runs actions on its own')
  const root = mkdtempSync(join(tmpdir(), 'tvm-runner-'))
  const running = new Map<JobRun, Promise<JobReport>>()
  let jobs = 0
  let closed = false
  return {
    runJob: async (order) => {
      if (closed) throw new Error('the runner was closed')
      const run = new JobRun({
        order: { ...order, env: { ...options.env, ...order.env } },
        job: order.job ?? options.github.job(),
        patience: { ...GITHUB_PATIENCE, ...options.patience },
        place: makePlace(join(root, String((jobs += 1)))),
      })
      const end = run.toEnd()
      running.set(run, end)
      return end.finally(() => running.delete(run))
    },
    close: async () => {
      closed = true
      await Promise.allSettled([...running].flatMap(([run, end]) => [run.kill(), end]))
      rmSync(root, { recursive: true, force: true })
    },
  }
}
