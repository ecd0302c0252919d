import { Hono, type Context } from 'hono'
import { makeId } from '../id.ts'
import { described } from '../log.ts'
import { refuse, type Refusal } from '../refusal.ts'
import type { World } from '../world.ts'
import type { Observer } from './observer.ts'
import { problem } from './problem.ts'

/** One part of the broker as readyz tells it: `degraded` still serves, `failed` does not. */
export interface PartHealth {
  readonly part: string
  readonly state: 'ok' | 'degraded' | 'failed'
  readonly reason?: string
}

const NO_STORE = { 'Cache-Control': 'no-store' }

export interface AdminParts {
  readonly health: () => Promise<readonly PartHealth[]>
  readonly observer: Observer
  readonly world: Pick<World, 'now' | 'random'>
}

/** The admin listener: liveness, readiness with reasons, metrics. */
export const makeAdminApp = (parts: AdminParts): Hono => {
  const app = new Hono()
  app.get('/livez', (c) => c.json({ status: 'ok' }, 200, NO_STORE))
  app.get('/readyz', async (c) => {
    const health = await parts.health()
    const ready = health.every(({ state }) => state !== 'failed')
    return c.json(
      { status: ready ? 'ready' : 'not_ready', parts: health },
      ready ? 200 : 503,
      NO_STORE,
    )
  })
  app.get('/metrics', async () => {
    const { registry } = parts.observer
    const text = await registry.metrics()
    return new Response(text, {
      headers: { 'Content-Type': registry.contentType, ...NO_STORE },
    })
  })
  app.notFound((c) => refused(parts, c, refuse('not_found')))
  app.onError((error, c) =>
    refused(parts, c, refuse('internal_error', { cause: described(error) })),
  )
  return app
}

const refused = ({ observer, world }: AdminParts, c: Context, refusal: Refusal): Response => {
  const started = world.now()
  const requestId = makeId('req', started, world.random(10))
  const response = problem(refusal, { requestId })
  const { status } = response
  const { method } = c.req
  observer.answered({ requestId, address: '', method, route: 'admin', status, started, ...refusal })
  return response
}
