import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { holds, readAction, type JobStatus } from './action-manifest.ts'
import { furnish, listLeft, type Place } from './job-place.ts'
import type { Job } from './job.ts'
import { makeMasker } from './mask.ts'
import type { JobOrder, JobReport, Step, StepReport } from './runner.ts'
import { endOrphans, type Patience } from './step-process.ts'
import { labelOf, runTurn, skipped, type Planned, type Shared, type Turn } from './step-run.ts'

export interface JobRunOptions {
  readonly order: JobOrder
  readonly job: Job
  readonly patience: Patience
  readonly place: Place
}

/** One job from its first step to its last post step (actions/runner, StepsRunner.cs). */
export class JobRun {
  readonly #order: JobOrder
  readonly #planned: readonly Planned[]
  readonly #shared: Shared
  readonly #reports: StepReport[] = []
  /** Post stages of the steps that came to run, the first at the bottom. */
  readonly #posts: Turn[] = []
  readonly #owing = new Set<Planned>()
  #status: JobStatus = 'success'
  #child: ChildProcess | null = null
  #killed = false
  #orphans: readonly number[] = []

  constructor({ order, job, patience, place }: JobRunOptions) {
    this.#order = order
    this.#planned = plan(order.steps)
    this.#shared = {
      job,
      place,
      patience,
      masker: makeMasker(),
      trackingId: `github_${randomUUID()}`,
      debug: order.debug === true,
      secrets: order.secrets ?? {},
      onLine: (line, step) => order.onLine?.(line, step),
      onStart: (child) => {
        this.#child = child
      },
      env: new Map(Object.entries(order.env ?? {})),
      paths: [],
      outputs: new Map(),
    }
    for (const secret of [job.requestToken, job.githubToken, ...Object.values(order.secrets ?? {})])
      this.#shared.masker.add(secret)
    furnish(place, job.event, order.files ?? {})
  }

  async toEnd(): Promise<JobReport> {
    const { cancel } = this.#order
    const onCancel = (): void => {
      this.#status = 'cancelled'
    }
    cancel?.addEventListener('abort', onCancel)
    if (cancel?.aborted === true) onCancel()
    try {
      for (const planned of this.#planned) await this.#pre(planned)
      for (const planned of this.#planned) await this.#main(planned)
      for (let turn = this.#posts.pop(); turn !== undefined; turn = this.#posts.pop())
        await this.#take(turn)
    } finally {
      cancel?.removeEventListener('abort', onCancel)
      this.#orphans = endOrphans(this.#shared.trackingId)
    }
    return this.#report()
  }

  /** Ends the process at hand and starts no further one. */
  async kill(): Promise<void> {
    this.#killed = true
    const child = this.#child
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }

  async #pre(planned: Planned): Promise<void> {
    const script = planned.action?.pre ?? null
    if (script !== null)
      await this.#take({ planned, stage: 'pre', condition: script.condition, script })
  }

  #main(planned: Planned): Promise<void> {
    const script = planned.action?.main ?? null
    return this.#take({ planned, stage: 'main', condition: planned.step.if ?? 'success()', script })
  }

  async #take(turn: Turn): Promise<void> {
    if (this.#killed) throw new Error('the runner was closed')
    if (!holds(turn.condition, this.#status)) {
      this.#reports.push(skipped(turn))
      return
    }
    this.#owePost(turn.planned)
    const report = await runTurn(turn, this.#shared, this.#cancelOf(turn))
    this.#reports.push(report)
    const counts = report.outcome === 'failure' && turn.planned.step.continueOnError !== true
    if (counts && this.#status === 'success') this.#status = 'failure'
  }

  /** Owed as soon as a stage of the action begins; a step that was skipped owes none. */
  #owePost(planned: Planned): void {
    const script = planned.action?.post ?? null
    if (script === null || this.#owing.has(planned)) return
    this.#owing.add(planned)
    this.#posts.push({ planned, stage: 'post', condition: script.condition, script })
  }

  /** A step that runs on a cancelled job too is not interrupted by the cancellation. */
  #cancelOf({ condition }: Turn): AbortSignal | null {
    const { cancel } = this.#order
    return cancel === undefined || cancel.aborted || holds(condition, 'cancelled') ? null : cancel
  }

  #report(): JobReport {
    const steps = this.#reports
    const { env, masker, place } = this.#shared
    return {
      conclusion: this.#status,
      steps,
      step: (id, stage = 'main') => {
        const found = steps.find((step) => step.id === id && step.stage === stage)
        if (found === undefined) throw new Error(`no ${stage} of a step ${id} ran`)
        return found
      },
      log: steps.map(({ log }) => log).join('\n'),
      annotations: steps.flatMap(({ annotations }) => annotations),
      env: Object.fromEntries(env),
      masked: masker.values,
      orphans: this.#orphans,
      left: listLeft(place, this.#order.files ?? {}),
    }
  }
}

/** Steps without an id are named as the runner names them: `__run`, `__run_2`, `__acme_tvm-action`. */
const plan = (steps: readonly Step[]): readonly Planned[] => {
  const used = new Map<string, number>()
  const planned = steps.map((step) => ({
    id: step.id ?? madeUp(step, used),
    step,
    action: 'uses' in step ? readAction(step.uses) : null,
    state: new Map<string, string>(),
  }))
  if (new Set(planned.map(({ id }) => id)).size < planned.length)
    throw new Error('two steps have the same id')
  return planned
}

const madeUp = (step: Step, used: Map<string, number>): string => {
  const repository = 'uses' in step ? (labelOf(step.as).split('@')[0] ?? '') : ''
  const name = repository === '' ? '__run' : `__${repository.replaceAll('/', '_')}`
  const times = (used.get(name) ?? 0) + 1
  used.set(name, times)
  return times === 1 ? name : `${name}_${times}`
}
