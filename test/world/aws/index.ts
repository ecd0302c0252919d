import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  addBucket,
  addManagedPolicy,
  addProvider,
  addRole,
  emptyState,
  type ProviderInput,
  type RoleInput,
  type StoredObject,
} from './account.ts'
import { AwsError, type Answer } from './answer.ts'
import type { Issuers } from './issuer.ts'
import { answerS3, s3Error, s3Operation } from './s3.ts'
import type { Arrived, Service } from './sigv4.ts'
import { answerSts, randomId, stsError, withRequestId } from './sts.ts'

export type { ProviderInput, RoleInput, StoredObject } from './account.ts'
export { AwsError } from './answer.ts'
export { tvmTrustPolicy, type TvmTrust } from './trust.ts'

/**
 * An AWS for tests and the demo: STS and S3 on one loopback port, for clients that are pointed at it by
 * AWS_ENDPOINT_URL. It is meant to refuse whatever the real one refuses; where the two are known to
 * differ, this one is the stricter.
 */
export interface AwsSettings {
  /** Milliseconds since the epoch. The `Date` of every answer comes from it too. */
  readonly now: () => number
  /** Issuer origin (`https://tvm.example.com`) → loopback base URL that serves it. Read at every call, so it may be filled later. */
  readonly resolve: Readonly<Record<string, string>>
  /** 12 digits, the account of providers and buckets; `111122223333` when absent. */
  readonly account?: string
  readonly providers?: readonly ProviderInput[]
  readonly roles?: readonly RoleInput[]
  /** ARN → document, for session policies by ARN. */
  readonly managedPolicies?: Readonly<Record<string, unknown>>
  readonly buckets?: readonly string[]
  /** Milliseconds that an issuer has for each of its two documents; 5000, as on AWS, when absent. */
  readonly issuerTimeout?: number
  /** AWS takes https issuers without a port only. true: `http://127.0.0.1:<port>` is taken as well. */
  readonly acceptHttpLoopbackIssuersUnlikeAws?: boolean
}

export interface LocalAws {
  /** `http://127.0.0.1:<port>`: the endpoint of STS and of S3. */
  readonly url: string
  /** Every request that was answered or injured, oldest first. */
  readonly calls: readonly AwsCall[]
  /** Returns the provider's ARN. Throws AwsError as IAM would. */
  createOpenIdConnectProvider(input: ProviderInput): string
  /** Throws AwsError as IAM would. */
  createRole(input: RoleInput): void
  /** A managed policy. Throws AwsError as IAM would. */
  createPolicy(input: { readonly arn: string; readonly document: unknown }): void
  createBucket(name: string): void
  /** What lies in a bucket; null when nothing does. */
  object(bucket: string, key: string): StoredObject | null
  /** The keys of a bucket, in the order of their first upload. */
  keys(bucket: string): readonly string[]
  /** The next request that fits is treated so. Several queue up. */
  failNext(fault: Fault): void
  /** Every later request counts as coming from this address; null: from the socket's again. */
  pretendSourceIp(address: string | null): void
  close(): Promise<void>
}

/** One request. Nothing in it is secret, and nothing unverified but what the request itself was for. */
export interface AwsCall {
  /** `AssumeRoleWithWebIdentity`, `PutObject`, …; `Unknown` when it is none that this AWS has. */
  readonly operation: string
  /** Milliseconds. */
  readonly at: number
  readonly sourceIp: string
  readonly requestId: string
  /** null: no answer was given. */
  readonly status: number | null
  /** AWS's error code; null: success, or an injected fault without one. */
  readonly code: string | null
  /** Why it was refused, in more words than the caller was given. */
  readonly why: string | null
  /**
   * AssumeRoleWithWebIdentity: `roleArn`, `roleSessionName`, `durationSeconds`, `policy`, `policyArns`; once
   * the token is verified `subject`, `tags` (JSON), `sourceIdentity`; `principal`. S3: `principal`, `bucket`, `key`.
   */
  readonly about: Readonly<Record<string, string>>
}

export type Fault = {
  /** Only for this operation; any when absent. */
  readonly operation?: string
} & (
  | {
      /** `Throttling`, `IDPCommunicationError`, `InternalFailure`, … as an error document. */
      readonly kind: 'error'
      readonly code: string
      /** 400 when absent, which is AWS's for Throttling and IDPCommunicationError. */
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

/** Listens when it resolves. Throws AwsError when the settings are none that IAM would take. */
export async function startAws(settings: AwsSettings): Promise<LocalAws> {
  const world = new World(settings)
  await world.listen()
  return world
}

const MAX_BODY = 16 * 1024 * 1024

class World implements LocalAws {
  readonly calls: AwsCall[] = []
  readonly #state = emptyState()
  readonly #faults: Fault[] = []
  readonly #settings: AwsSettings
  readonly #account: string
  readonly #issuers: Issuers
  #sourceIp: string | null = null
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch(() => response.destroy())
  })

  constructor(settings: AwsSettings) {
    this.#settings = settings
    this.#account = settings.account ?? '111122223333'
    this.#issuers = {
      resolve: settings.resolve,
      timeout: settings.issuerTimeout ?? 5000,
      httpLoopback: settings.acceptHttpLoopbackIssuersUnlikeAws ?? false,
    }
    for (const provider of settings.providers ?? []) this.createOpenIdConnectProvider(provider)
    for (const role of settings.roles ?? []) this.createRole(role)
    for (const [arn, document] of Object.entries(settings.managedPolicies ?? {})) {
      this.createPolicy({ arn, document })
    }
    for (const name of settings.buckets ?? []) this.createBucket(name)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  createOpenIdConnectProvider(input: ProviderInput): string {
    const provider = { account: this.#account, ...input }
    return addProvider(this.#state, provider, this.#issuers.httpLoopback).arn
  }

  createRole(input: RoleInput): void {
    addRole(this.#state, input, `AROA${randomId()}`)
  }

  createPolicy({ arn, document }: { readonly arn: string; readonly document: unknown }): void {
    addManagedPolicy(this.#state, arn, document)
  }

  createBucket(name: string): void {
    addBucket(this.#state, name, this.#account)
  }

  object(bucket: string, key: string): StoredObject | null {
    return this.#state.buckets.get(bucket)?.objects.get(key) ?? null
  }

  keys(bucket: string): readonly string[] {
    return [...(this.#state.buckets.get(bucket)?.objects.keys() ?? [])]
  }

  failNext(fault: Fault): void {
    this.#faults.push(fault)
  }

  pretendSourceIp(address: string | null): void {
    this.#sourceIp = address
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
    const visit = this.#visit(arrived, request.socket.remoteAddress ?? '')
    const fault = this.#takeFault(visit.operation)
    if (fault?.kind === 'hang' || fault?.kind === 'reset') {
      this.#log(visit, null, null)
      if (fault.kind === 'reset') request.socket.destroy()
      return
    }
    const answer = await this.#answer(arrived, visit, fault)
    const head = request.method === 'HEAD'
    this.#send(response, { answer, visit, half: fault?.kind === 'half', head })
  }

  #visit(arrived: Arrived | null, address: string): Visit {
    const service = arrived?.method === 'POST' && arrived.path === '/' ? 'sts' : 's3'
    const form = new URLSearchParams(
      service === 'sts' ? new TextDecoder().decode(arrived?.body) : '',
    )
    return {
      service,
      form,
      operation: arrived === null ? 'Unknown' : operationOf(service, form, arrived),
      setting: { now: this.#settings.now(), sourceIp: this.#sourceIp ?? address },
      requestId: randomUUID(),
      about: {},
    }
  }

  async #answer(arrived: Arrived | null, visit: Visit, fault: Fault | null): Promise<Answer> {
    try {
      if (fault?.kind === 'error') {
        throw new AwsError(fault.code, fault.message ?? fault.code, fault.status)
      }
      const answer = fault?.kind === 'body' ? garbage(fault) : await this.#handle(arrived, visit)
      this.#log(visit, answer.status, null)
      return answer
    } catch (problem) {
      const error = problem instanceof AwsError ? problem : failure(problem)
      this.#log(visit, error.status, error)
      return (visit.service === 'sts' ? stsError : s3Error)(error, visit.requestId)
    }
  }

  async #handle(arrived: Arrived | null, visit: Visit): Promise<Answer> {
    if (arrived === null) {
      throw new AwsError('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size')
    }
    const { setting, about, form } = visit
    if (visit.service === 's3') return answerS3(arrived, { state: this.#state, setting, about })
    checkForm(arrived)
    const world = { state: this.#state, issuers: this.#issuers }
    return withRequestId(await answerSts(form, arrived, { world, setting, about }), visit.requestId)
  }

  #send(response: ServerResponse, { answer, visit, half, head }: Sending): void {
    const body = Buffer.from(answer.body)
    response.statusCode = answer.status
    response.setHeader('date', new Date(visit.setting.now).toUTCString())
    response.setHeader(
      visit.service === 'sts' ? 'x-amzn-requestid' : 'x-amz-request-id',
      visit.requestId,
    )
    if (answer.status !== 204) response.setHeader('content-length', body.length)
    for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value)
    if (half) {
      response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.destroy())
    } else {
      response.end(head ? undefined : body)
    }
  }

  #takeFault(operation: string): Fault | null {
    const index = this.#faults.findIndex(
      (fault) => fault.operation === undefined || fault.operation === operation,
    )
    return index < 0 ? null : (this.#faults.splice(index, 1)[0] ?? null)
  }

  #log(visit: Visit, status: number | null, error: AwsError | null): void {
    const { operation, setting, requestId, about } = visit
    this.calls.push({
      operation,
      at: setting.now,
      sourceIp: setting.sourceIp,
      requestId,
      status,
      code: error?.code ?? null,
      why: error === null ? null : (error.why ?? error.message),
      about,
    })
  }
}

interface Visit {
  readonly service: Service
  readonly operation: string
  readonly form: URLSearchParams
  readonly setting: { readonly now: number; readonly sourceIp: string }
  readonly requestId: string
  readonly about: Record<string, string>
}

interface Sending {
  readonly answer: Answer
  readonly visit: Visit
  readonly half: boolean
  readonly head: boolean
}

const STS_OPERATIONS = ['AssumeRoleWithWebIdentity', 'AssumeRole', 'GetCallerIdentity']

function operationOf(service: Service, form: URLSearchParams, arrived: Arrived): string {
  if (service === 'sts') {
    const action = form.get('Action') ?? ''
    return STS_OPERATIONS.includes(action) ? action : 'Unknown'
  }
  try {
    return s3Operation(arrived) ?? 'Unknown'
  } catch {
    return 'Unknown'
  }
}

function checkForm({ headers, query }: Arrived): void {
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (type !== 'application/x-www-form-urlencoded' || query !== '') {
    throw new AwsError('MalformedInput', 'STS is spoken to by form parameters in the body')
  }
}

/** null: the body is too long, and was not kept. */
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
    query: query.join('?'),
    headers: Object.fromEntries(headers.map(([name, values]) => [name, (values ?? []).join(',')])),
    body: Buffer.concat(chunks),
  }
}

function garbage(fault: Fault & { kind: 'body' }): Answer {
  return {
    status: fault.status ?? 200,
    headers: { 'content-type': fault.contentType ?? 'text/xml' },
    body: fault.body,
  }
}

/** A fault of this world itself; `why` in the call log tells what it was. */
function failure(problem: unknown): AwsError {
  const why = problem instanceof Error ? (problem.stack ?? problem.message) : 'thrown value'
  return new AwsError('InternalFailure', 'The request processing has failed.', 500, why)
}
