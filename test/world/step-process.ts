import { spawn, type ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { finished } from 'node:stream/promises'
import type { Readable } from 'node:stream'

/** How long the runner waits, in milliseconds, before it asks less kindly. */
export interface Patience {
  /** Between SIGINT and SIGTERM; GitHub: 7,500. */
  readonly sigint: number
  /** Between SIGTERM and SIGKILL; GitHub: 2,500. */
  readonly sigterm: number
  /** For output of children that outlive the process; GitHub: 5,000. */
  readonly output: number
}

export const GITHUB_PATIENCE: Patience = { sigint: 7_500, sigterm: 2_500, output: 5_000 }

export interface ProcessOrder {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly onLine: (line: string) => void
  /** Aborted: SIGINT, then SIGTERM, then SIGKILL. */
  readonly cancel: AbortSignal | null
  readonly patience: Patience
  /** Told of the process, so that a runner that closes can end it. */
  readonly onStart: (child: ChildProcess) => void
}

export interface ProcessEnd {
  /** null: ended by a signal, or never started. */
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** Why it could not be started. */
  readonly problem: string | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs a process to its end and hands on its output line by line. */
export const runProcess = async (order: ProcessOrder): Promise<ProcessEnd> => {
  const { command, args, cwd, env } = order
  const child = spawn(command, args, { cwd, env: { ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  order.onStart(child)
  const ended = endOf(child)
  const stopCancelling = cancelWith(child, order)
  const outputs = [
    collect(child.stdout, order.onLine),
    collect(child.stderr, order.onLine),
  ] as const
  const end = await ended
  stopCancelling()
  await outputsEnd(child, order.patience.output)
  const [stdout, stderr] = outputs.map((end) => end())
  return { ...end, stdout: stdout ?? '', stderr: stderr ?? '' }
}

const endOf = (child: ChildProcess): Promise<Omit<ProcessEnd, 'stdout' | 'stderr'>> =>
  new Promise((resolve) => {
    child.once('exit', (exitCode, signal) => {
      resolve({ exitCode, signal, problem: null })
    })
    child.once('error', (error) => {
      resolve({ exitCode: null, signal: null, problem: error.message })
    })
  })

const cancelWith = (child: ChildProcess, { cancel, patience }: ProcessOrder): (() => void) => {
  const timers: NodeJS.Timeout[] = []
  const onAbort = (): void => {
    child.kill('SIGINT')
    timers.push(
      setTimeout(() => child.kill('SIGTERM'), patience.sigint),
      setTimeout(() => child.kill('SIGKILL'), patience.sigint + patience.sigterm),
    )
  }
  if (cancel?.aborted === true) onAbort()
  else cancel?.addEventListener('abort', onAbort, { once: true })
  return () => {
    cancel?.removeEventListener('abort', onAbort)
    timers.forEach(clearTimeout)
  }
}

/** Hands on whole lines; gives the function that ends the last one and tells all that came. */
const collect = (stream: Readable, onLine: (line: string) => void): (() => string) => {
  let all = ''
  let rest = ''
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    all += chunk
    // A carriage return at the very end may be half of a line's end.
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    lines.forEach(onLine)
  })
  return () => {
    if (rest !== '') onLine(rest.replace(/\r$/, ''))
    rest = ''
    return all
  }
}

/** A child in the background may hold the pipes open; the runner does not wait for it for ever. */
const outputsEnd = async ({ stdout, stderr }: ChildProcess, ms: number): Promise<void> => {
  const streams = [stdout, stderr].filter((stream) => stream !== null)
  const timer = setTimeout(() => {
    streams.forEach((stream) => stream.destroy())
  }, ms)
  await Promise.allSettled(streams.map((stream) => finished(stream)))
  clearTimeout(timer)
}

/**
 * Ends what the job left running, as the runner does: processes that carry its RUNNER_TRACKING_ID. Gives their ids.
 * Where there is no /proc it ends none.
 */
export const endOrphans = (trackingId: string): readonly number[] => {
  const needle = `RUNNER_TRACKING_ID=${trackingId}\0`
  const orphans = processIds().filter((pid) => environmentOf(pid).includes(needle))
  for (const pid of orphans)
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended by itself meanwhile.
    }
  return orphans
}

const processIds = (): readonly number[] => {
  try {
    return readdirSync('/proc')
      .map(Number)
      .filter((pid) => pid > 0 && pid !== process.pid)
  } catch {
    return []
  }
}

const environmentOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    return ''
  }
}
