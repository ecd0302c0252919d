import type { Worker } from 'node:worker_threads'
import type { AuditRecord } from '../audit/record.ts'
import type { StoredSession } from '../session/session.ts'
import type { Change, Committed, Lock, Look, Looked } from '../session/store.ts'
import { StoreError, type Health } from './store.ts'

/** What goes between a store's main half and its worker thread. */

export interface WorkerOptions {
  readonly path: string
  /** Milliseconds that a statement waits for a hand with another tool. */
  readonly busyTimeout: number
  /** High-water mark; Infinity for none. */
  readonly maxBytes: number
}

export type Request =
  | { readonly kind: 'look'; readonly look: Look }
  | { readonly kind: 'commit'; readonly change: Change }
  | { readonly kind: 'session'; readonly id: string }
  | { readonly kind: 'records'; readonly from: number; readonly limit: number }
  | { readonly kind: 'locks' }
  | { readonly kind: 'health' }
  | { readonly kind: 'close' }

export interface Answers {
  readonly look: Looked
  readonly commit: Committed
  readonly session: StoredSession | null
  readonly records: readonly AuditRecord[]
  readonly locks: readonly Lock[]
  readonly health: Health
  readonly close: null
}

export interface Call {
  readonly id: number
  readonly request: Request
  /** On the clock of `process.hrtime`, which all threads of a process share. */
  readonly deadline: bigint
}

export type Answer =
  | { readonly id: number; readonly ok: true; readonly value: Answers[Request['kind']] }
  | { readonly id: number; readonly ok: false; readonly because: string }

export interface Calls {
  /** Rejects with a StoreError: refused by the database, not answered in time, or the worker is gone. */
  call<Kind extends Request['kind']>(
    request: Extract<Request, { readonly kind: Kind }>,
  ): Promise<Answers[Kind]>
  close(): Promise<void>
}

interface Waiting {
  readonly settle: (answer: Answer) => void
  readonly fail: (error: StoreError) => void
}

/**
 * Calls to `worker`, once it has said that it is open. Nothing here waits on the disk: while the worker does, calls pile up in its
 * queue and give up after `timeout` milliseconds each.
 */
export const callsTo = async (worker: Worker, timeout: number): Promise<Calls> => {
  const waiting = new Map<number, Waiting>()
  let broken: StoreError | null = null
  const fail = (error: StoreError): void => {
    broken ??= error
    for (const { fail } of waiting.values()) fail(broken)
  }
  const gone = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  worker.on('error', (error) => fail(new StoreError(messageOf(error))))
  worker.on('exit', () => fail(new StoreError('the store has stopped')))
  await opened(worker)
  worker.on('message', (answers: readonly Answer[]) => {
    for (const answer of answers) waiting.get(answer.id)?.settle(answer)
  })
  let last = 0
  const call: Calls['call'] = (request) => {
    if (broken !== null) return Promise.reject(broken)
    const id = ++last
    const { promise, ...one } = waitingFor(timeout, () => waiting.delete(id))
    waiting.set(id, one)
    const deadline = process.hrtime.bigint() + BigInt(Math.ceil(timeout)) * 1_000_000n
    try {
      worker.postMessage({ id, request, deadline } satisfies Call)
    } catch (error) {
      one.fail(new StoreError(messageOf(error)))
    }
    return promise as Promise<never>
  }
  return { call, close: () => closing(call, worker, gone) }
}

/** Resolves when the worker says that the database is open, rejects when it stops before it does. */
const opened = (worker: Worker): Promise<void> =>
  new Promise((resolve, reject) => {
    worker.once('message', () => resolve())
    worker.once('error', (error) => reject(new StoreError(messageOf(error))))
    worker.once('exit', () => reject(new StoreError('the store did not start')))
  })

const waitingFor = (timeout: number, over: () => void) => {
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const fail = (error: StoreError): void => {
    clearTimeout(timer)
    over()
    reject(error)
  }
  const timer = setTimeout(() => fail(new StoreError('the store did not answer in time')), timeout)
  const settle = (answer: Answer): void => {
    clearTimeout(timer)
    over()
    if (answer.ok) resolve(answer.value)
    else reject(new StoreError(answer.because))
  }
  return { promise, settle, fail }
}

/** A worker that does not close in time is stopped where it stands; what was acknowledged is durable. */
const closing = async (call: Calls['call'], worker: Worker, gone: Promise<void>): Promise<void> => {
  try {
    await call({ kind: 'close' })
    await gone
  } catch {
    await worker.terminate()
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
