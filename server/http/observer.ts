import { Counter, Histogram, Registry } from 'prom-client'
import type { Log } from '../log.ts'
import type { World } from '../world.ts'

/** One answered request, as the log and the metrics see it: ours, or of a closed set, in every field. */
export interface Answered {
  readonly requestId: string
  readonly decisionId?: string
  readonly address: string
  readonly method: string
  readonly route: string
  readonly status: number
  readonly code?: string
  readonly cause?: string
  readonly started: number
}

export interface Observer {
  answered(answered: Answered): void
  readonly registry: Registry
}

/** Lines per code and minute for answers that leave no record, faults among them; beyond, only the count goes on. */
const SAMPLE = 20

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

export const makeObserver = (log: Log, world: World): Observer => {
  const registry = new Registry()
  const requests = new Counter({
    name: 'tvm_requests_total',
    help: 'Answered requests by route, status and refusal code.',
    labelNames: ['route', 'status', 'code'],
    registers: [registry],
  })
  const seconds = new Histogram({
    name: 'tvm_request_duration_seconds',
    help: 'Time from request to answer.',
    labelNames: ['route'],
    registers: [registry],
  })
  const sampled = sampler(world)
  return {
    registry,
    answered: (each) => {
      requests.inc({ route: each.route, status: String(each.status), code: each.code ?? '' })
      seconds.observe({ route: each.route }, (world.now() - each.started) / 1000)
      if (each.decisionId !== undefined || sampled(each.code ?? ''))
        log[each.status >= 500 ? 'error' : 'info']('answered', fields(each, world.now()))
    },
  }
}

const fields = (each: Answered, now: number): Parameters<Log['info']>[1] => ({
  request_id: each.requestId,
  ...(each.decisionId === undefined ? {} : { decision_id: each.decisionId }),
  method: METHODS.includes(each.method) ? each.method : 'other',
  route: each.route,
  status: each.status,
  ...(each.code === undefined ? {} : { code: each.code }),
  ...(each.cause === undefined ? {} : { cause: each.cause }),
  address: each.address,
  duration_ms: now - each.started,
})

/** True for the first SAMPLE calls with a key in a minute. */
const sampler = (world: World): ((key: string) => boolean) => {
  let minute = 0
  const seen = new Map<string, number>()
  return (key) => {
    const current = Math.floor(world.now() / 60_000)
    if (current !== minute) seen.clear()
    minute = current
    const count = (seen.get(key) ?? 0) + 1
    seen.set(key, count)
    return count <= SAMPLE
  }
}
