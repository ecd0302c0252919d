import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'
import type { Refusal } from '../refusal.ts'
import { problem, type ProblemMore } from './problem.ts'

/** What a handler knows of its request besides the request. */
export interface Call {
  readonly requestId: string
  readonly address: string
}

export interface Env {
  Bindings: Partial<HttpBindings>
  Variables: { call: Call; told: Told }
}
export type AppContext = Context<Env>

/** What the handler tells the observer about its answer. */
export interface Told {
  code?: string
  decisionId?: string
  cause?: string
}

/** Every refusal leaves through here, so that it is counted and logged under its code. */
export const answer = (
  c: AppContext,
  refusal: Refusal,
  more: Omit<ProblemMore, 'requestId'> = {},
): Response => {
  const told = c.get('told')
  told.code = refusal.code
  if (more.decisionId !== undefined) told.decisionId = more.decisionId
  if (refusal.cause !== undefined) told.cause = refusal.cause
  return problem(refusal, { requestId: c.get('call').requestId, ...more })
}
