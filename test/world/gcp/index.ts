import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { errorAnswer, GcpError, type Answer, type Face } from './answer.ts'
import { generateAccessToken } from './iam-credentials.ts'
import type { Issuers } from './issuer.ts'
import {
  addBucket,
  addPool,
  addProvider,
  addServiceAccount,
  bind,
  emptyState,
  type Binding,
  type ProviderInput,
  type State,
  type StoredObject,
} from './project.ts'
import { answerStorage, placeOf, type Arrived } from './storage.ts'
import { answerSts } from './sts.ts'

export { GcpError } from './answer.ts'
export type { Binding, ProviderInput, StoredObject } from './project.ts'
export { tvmMember, tvmProvider, type TvmProvider } from './trust.ts'

/**
 * A Google Cloud for tests and the demo: STS, IAM Credentials and Cloud Storage on one loopback port. It is meant to
 * refuse whatever the real one refuses; where the two are known to differ, this one is the stricter.
 */
export interface GcpSettings {
  /** Milliseconds since the epoch. The `Date` of every answer comes from it too. */
  readonly now: () => number
  /** Issuer origin (`https://tvm.example.com`) → loopback base URL that serves it. Read at every call, so it may be filled later. */
  readonly resolve: Readonly<Record<string, string>>
  /** The number of the project; `123456789012` when absent. */
  readonly projectNumber?: string
  /** Milliseconds that an issuer has for each of its two documents; 5000 when absent. */
  readonly issuerTimeout?: number
  /** Google takes https issuers only. true: `http://127.0.0.1:<port>` is taken as well. */
  readonly acceptHttpLoopbackIssuersUnlikeGcp?: boolean
}

export interface LocalGcp {
  /** `http://127.0.0.1:<port>`: the endpoint of STS, of IAM Credentials and of Cloud Storage. */
  readonly url: string
  /** Every request that was answered or injured, oldest first. */
  readonly calls: readonly GcpCall[]
  /** Throws GcpError as IAM would; so do the next. */
  createPool(id: string): void
  /** Returns the provider's name, `projects/<number>/…`. */
  createProvider(input: ProviderInput): string
  createServiceAccount(email: string): void
  createBucket(name: string): void
  /** `resource` is a service account's address or a bucket's name. */
  bind(resource: string, binding: Binding): void
  unbind(resource: string, binding: Binding): void
  /** A pool's id, a provider's name or a service account's address. */
  disable(what: string, disabled?: boolean): void
  /** What lies in a bucket; null when nothing does. */
  object(bucket: string, name: string): StoredObject | null
  /** The names in a bucket, in the order of their first upload. */
  names(bucket: string): readonly string[]
  /** The next request that fits is treated so. Several queue up. */
  failNext(fault: Fault): void
  close(): Promise<void>
}

export type GcpOperation =
  | 'ExchangeToken'
  | 'CutDownToken'
  | 'GenerateAccessToken'
  | 'InsertObject'
  | 'GetObject'
  | 'DeleteObject'
  | 'ListObjects'
  | 'GetBucket'
  | 'Unknown'

/** One request. Nothing in it is secret, and nothing unverified but what the request itself was for. */
export interface GcpCall {
  readonly operation: GcpOperation
  /** Milliseconds. */
  readonly at: number
  /** null: no answer was given. */
  readonly status: number | null
  /** The error's code; null: success, or an injected fault without one. */
  readonly code: string | null
  /** Why it was refused, in more words than the caller was given. */
  readonly why: string | null
  /**
   * ExchangeToken: `provider`; once the token is verified `subject`, `scope`. CutDownToken: `principal`, `boundary`.
   * GenerateAccessToken: `principal`, `account`, `lifetime`, `scope`. Cloud Storage: `principal`, `bucket`, `object`.
   */
  readonly about: Readonly<Record<string, string>>
}

export type Fault = {
  /** Only for this operation; any when absent. */
  readonly operation?: GcpOperation
} & (
  | {
      /** `UNAVAILABLE`, `RESOURCE_EXHAUSTED`, `invalid_grant`, … as an error document. */
      readonly kind: 'error'
      readonly code: string
      /** That of the code when absent. */
      readonly status?: number
      readonly message?: string
    }
  /** No answer until the client gives up or the world closes. */
  | { readonly kind: 'hang' }
  /** The connection is cut without a byte. */
  | { readonly kind: 'reset' }
  /** These bytes instead of an answer. */
  | {
      readonly kind: 'body'
      readonly body: string
      readonly status?: number
      readonly contentType?: string
    }
  /** The true answer, cut off in the middle. */
  | { readonly kind: 'half' }
)

export async function startGcp(settings: GcpSettings): Promise<LocalGcp> {
  const world = new World(settings)
  await world.listen()
  return world
}

const MAX_BODY = 16 * 1024 * 1024

class World implements LocalGcp {
  readonly calls: GcpCall[] = []
  readonly #state: State
  readonly #faults: Fault[] = []
  readonly #now: () => number
  readonly #issuers: Issuers
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch(() => response.destroy())
  })

  constructor(settings: GcpSettings) {
    this.#now = settings.now
    this.#state = emptyState(settings.projectNumber ?? '123456789012')
    this.#issuers = {
      resolve: settings.resolve,
      timeout: settings.issuerTimeout ?? 5000,
      httpLoopback: settings.acceptHttpLoopbackIssuersUnlikeGcp ?? false,
    }
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  createPool(id: string): void {
    addPool(this.#state, id)
  }

  createProvider(input: ProviderInput): string {
    return addProvider(this.#state, input, this.#issuers.httpLoopback).name
  }

  createServiceAccount(email: string): void {
    addServiceAccount(this.#state, email)
  }

  createBucket(name: string): void {
    addBucket(this.#state, name)
  }

  bind(resource: string, binding: Binding): void {
    bind(this.#state, resource, binding)
  }

  unbind(resource: string, { role, member }: Binding): void {
    const { accounts, buckets } = this.#state
    const policy = (accounts.get(resource) ?? buckets.get(resource))?.policy ?? []
    const index = policy.findIndex((one) => one.role === role && one.member === member)
    if (index < 0) throw new GcpError('NOT_FOUND', 'There is no such binding.')
    policy.splice(index, 1)
  }

  disable(what: string, disabled = true): void {
    const { pools, providers, accounts } = this.#state
    const found = pools.get(what) ?? providers.get(what) ?? accounts.get(what)
    if (found === undefined) throw new GcpError('NOT_FOUND', `There is no ${what}.`)
    found.disabled = disabled
  }

  object(bucket: string, name: string): StoredObject | null {
    return this.#state.buckets.get(bucket)?.objects.get(name) ?? null
  }

  names(bucket: string): readonly string[] {
    return [...(this.#state.buckets.get(bucket)?.objects.keys() ?? [])]
  }

  failNext(fault: Fault): void {
    this.#faults.push(fault)
  }

  async listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>()
    this.#server.once('error', reject)
    this.#server.listen(0, '127.0.0.1', () => resolve(undefined))
    await promise
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>()
    this.#server.close(() => resolve(undefined))
    this.#server.closeAllConnections()
    await promise
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const arrived = await arrive(request)
    const visit = { ...errandOf(arrived), arrived, now: this.#now(), about: {} }
    const fault = this.#takeFault(visit.operation)
    if (fault?.kind === 'hang' || fault?.kind === 'reset') {
      this.#log(visit, null, null)
      if (fault.kind === 'reset') request.socket.destroy()
      return
    }
    send(response, await this.#answer(visit, fault), visit.now, fault?.kind === 'half')
  }

  async #answer(visit: Visit, fault: Fault | null): Promise<Answer> {
    try {
      if (fault?.kind === 'error') {
        throw new GcpError(fault.code, fault.message ?? fault.code, null, fault.status)
      }
      const answer = fault?.kind === 'body' ? garbage(fault) : await this.#handle(visit)
      this.#log(visit, answer.status, null)
      return answer
    } catch (problem) {
      const error = problem instanceof GcpError ? problem : failure(problem)
      this.#log(visit, error.status, error)
      return errorAnswer(visit.face, error)
    }
  }

  #handle({ face, arrived, now, about }: Visit): Answer | Promise<Answer> {
    const state = this.#state
    if (arrived === null) throw new GcpError('INVALID_ARGUMENT', 'The request is too large.')
    if (face === 'storage') return answerStorage(arrived, { state, now, about })
    if (arrived.query.size > 0) throw new GcpError('INVALID_ARGUMENT', 'No query here.')
    const body = arrived.body.toString('utf8')
    if (face === 'sts') {
      checkType(arrived, 'application/x-www-form-urlencoded', 'invalid_request')
      return answerSts(new URLSearchParams(body), { state, issuers: this.#issuers, now }, about)
    }
    checkType(arrived, 'application/json', 'INVALID_ARGUMENT')
    const name = arrived.path.slice('/v1/'.length, -GENERATE.length)
    const { authorization } = arrived.headers
    return generateAccessToken(name, { authorization, body }, { state, now, about })
  }

  #takeFault(operation: GcpOperation): Fault | null {
    const index = this.#faults.findIndex(
      (fault) => fault.operation === undefined || fault.operation === operation,
    )
    return index < 0 ? null : (this.#faults.splice(index, 1)[0] ?? null)
  }

  #log({ operation, now, about }: Visit, status: number | null, error: GcpError | null): void {
    const why = error === null ? null : (error.why ?? error.message)
    this.calls.push({ operation, at: now, status, code: error?.code ?? null, why, about })
  }
}

interface Errand {
  readonly face: Face
  readonly operation: GcpOperation
}

interface Visit extends Errand {
  /** null: the body was too long, and was not kept. */
  readonly arrived: Arrived | null
  /** Milliseconds. */
  readonly now: number
  readonly about: Record<string, string>
}

const GENERATE = ':generateAccessToken'

function errandOf(arrived: Arrived | null): Errand {
  const { method, path, body } = arrived ?? { method: '', path: '', body: Buffer.alloc(0) }
  if (method === 'POST' && path === '/v1/token') {
    const type = new URLSearchParams(body.toString('utf8')).get('subject_token_type') ?? ''
    const operation = type.endsWith(':access_token') ? 'CutDownToken' : 'ExchangeToken'
    return { face: 'sts', operation }
  }
  if (method === 'POST' && path.startsWith('/v1/') && path.endsWith(GENERATE)) {
    return { face: 'iam', operation: 'GenerateAccessToken' }
  }
  const place = arrived === null ? null : placeOf(arrived)
  return { face: 'storage', operation: place?.operation ?? 'Unknown' }
}

function checkType({ headers }: Arrived, wanted: string, code: string): void {
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== wanted) throw new GcpError(code, `The content type must be ${wanted}.`)
}

async function arrive(request: IncomingMessage): Promise<Arrived | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_BODY) chunks.push(chunk)
  }
  if (size > MAX_BODY) return null
  const [path = '', ...query] = (request.url ?? '').split('?')
  const headers = Object.entries(request.headersDistinct)
  return {
    method: request.method ?? '',
    path,
    query: new URLSearchParams(query.join('?')),
    headers: Object.fromEntries(headers.map(([name, values]) => [name, (values ?? []).join(',')])),
    body: Buffer.concat(chunks),
  }
}

function send(response: ServerResponse, answer: Answer, now: number, half: boolean): void {
  const body = Buffer.from(answer.body)
  response.statusCode = answer.status
  response.setHeader('date', new Date(now).toUTCString())
  if (answer.status !== 204) response.setHeader('content-length', body.length)
  for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value)
  if (half) {
    response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.destroy())
  } else {
    response.end(body)
  }
}

function garbage(fault: Fault & { kind: 'body' }): Answer {
  return {
    status: fault.status ?? 200,
    headers: { 'content-type': fault.contentType ?? 'application/json' },
    body: fault.body,
  }
}

/** A fault of this world itself; `why` in the call log tells what it was. */
function failure(problem: unknown): GcpError {
  const why = problem instanceof Error ? (problem.stack ?? problem.message) : 'thrown value'
  return new GcpError('INTERNAL', 'Internal error encountered.', why)
}
