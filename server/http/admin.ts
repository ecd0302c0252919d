import { Hono } from 'hono'
import type { Registry } from 'prom-client'

/** One part of the broker as readyz tells it: `degraded` still serves, `failed` does not. */
export interface PartHealth {
  readonly part: string
  readonly state: 'ok' | 'degraded' | 'failed'
  readonly reason?: string
}

const NO_STORE = { 'Cache-Control': 'no-store' }

/** The admin listener: liveness, readiness with reasons, metrics. */
export const makeAdminApp = (parts: {
  readonly health: () => Promise<readonly PartHealth[]>
  readonly registry: Registry
}): Hono => {
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
    const text = await parts.registry.metrics()
    return new Response(text, {
      headers: { 'Content-Type': parts.registry.contentType, ...NO_STORE },
    })
  })
  return app
}
