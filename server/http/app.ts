import type { BlockList } from 'node:net'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { routePath } from 'hono/route'
import type { Broker } from '../broker/ports.ts'
import { makeId } from '../id.ts'
import { described } from '../log.ts'
import { refuse, type Refusal } from '../refusal.ts'
import type { World } from '../world.ts'
import { callerAddress } from './address.ts'
import { MAX_BODY } from './body.ts'
import { answer, type AppContext, type Env, type Told } from './call.ts'
import type { Observer } from './observer.ts'
import { endSession, listGrants, openSession } from './sessions.ts'
import { wellKnown, type Published } from './well-known.ts'

export interface AppParts {
  readonly broker: Broker
  readonly world: World
  readonly proxies: BlockList
  readonly published: Published
  readonly observer: Observer
  /** Step 1 of the exchange: false when this address has had its share. */
  readonly takeAddress: (address: string, now: number) => boolean
}

const METHODS: Readonly<Record<string, readonly string[]>> = {
  '/v1/sessions': ['POST'],
  '/v1/sessions/:id': ['DELETE'],
  '/v1/grants': ['GET'],
}

/** The public interface: Request → Response, without a socket. */
export const makeApp = (parts: AppParts): Hono<Env> => {
  const app = new Hono<Env>()
  app.use(observed(parts))
  app.use('/v1/*', admitted(parts))
  app.use(
    '/v1/*',
    bodyLimit({
      maxSize: MAX_BODY,
      onError: (c) => answer(c as AppContext, refuse('request_too_large')),
    }),
  )
  app.post('/v1/sessions', (c) => openSession(c, parts.broker))
  app.get('/v1/grants', (c) => listGrants(c, parts.broker))
  app.delete('/v1/sessions/:id', (c) => endSession(c, parts.broker))
  wellKnown(app, parts.published)
  for (const [path, methods] of Object.entries(METHODS))
    app.all(path, (c) => {
      const refused = answer(c, refuse('method_not_allowed'))
      refused.headers.set('Allow', methods.join(', '))
      return refused
    })
  app.notFound((c) => answer(c as AppContext, refuse('not_found')))
  app.onError((error, c) => answer(c as AppContext, failure(error, c as AppContext)))
  return app
}

/** A caller that goes away while its body is read is no fault of ours. */
const failure = (error: Error, { env }: AppContext): Refusal =>
  env.incoming?.errored === error
    ? refuse('request_malformed', { about: 'the body ended early' })
    : refuse('internal_error', { cause: described(error) })

const observed =
  ({ world, proxies, observer }: AppParts) =>
  async (c: AppContext, next: () => Promise<void>): Promise<void> => {
    const started = world.now()
    const peer = c.env.incoming?.socket.remoteAddress
    const address = callerAddress(peer, c.req.header('x-forwarded-for'), proxies)
    const call = { requestId: makeId('req', started, world.random(10)), address }
    const told: Told = {}
    c.set('call', call)
    c.set('told', told)
    await next()
    c.res.headers.set('X-Request-Id', call.requestId)
    observer.answered({
      ...call,
      ...told,
      method: c.req.method,
      route: routePath(c),
      status: c.res.status,
      started,
    })
  }

const admitted =
  ({ world, takeAddress }: AppParts) =>
  async (c: AppContext, next: () => Promise<void>): Promise<Response | undefined> => {
    if (!takeAddress(c.get('call').address, world.now()))
      return answer(c, refuse('rate_limited', { about: 'from this address' }))
    await next()
    return undefined
  }
