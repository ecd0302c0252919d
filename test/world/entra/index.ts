import { randomInt, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { respond, type Answer, type Fault as Wrong } from '../fault.ts'
import { makeSigningKey, type SigningKey } from '../signing-key.ts'
import { answerArm, ArmError, armErrorAnswer } from './arm.ts'
import { EntraError, entraAnswer, errorAnswer, type Trace } from './error.ts'
import type { Issuers } from './issuer.ts'
import {
  addCredential,
  isGuid,
  makeTenant,
  type FederatedCredential,
  type Tenant,
  type TenantInput,
} from './tenant.ts'
import { answerToken } from './token.ts'

export type {
  ApplicationInput,
  FederatedCredential,
  ResourceInput,
  SubscriptionInput,
  TenantInput,
} from './tenant.ts'

/**
 * An Entra for tests and the demo, and an Azure Resource Manager, on one TLS port of the loopback. It is meant to refuse whatever the
 * real one refuses; where the real one's rule is not known, this one is the stricter.
 */
export interface EntraSettings {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Issuer origin (`https://tvm.example.com`) → loopback base URL that serves it. Read at every call, so it may be filled later. */
  readonly resolve: Readonly<Record<string, string>>
  readonly tenants: readonly TenantInput[]
  /** Seconds that the next token lives; drawn from 60 to 90 minutes when absent. */
  readonly lifetime?: () => number
  /** Milliseconds that an issuer has for each of its two documents; 5000 when absent. */
  readonly issuerTimeout?: number
  /** Entra takes https issuers only. true: `http://127.0.0.1:<port>` is taken as well. */
  readonly acceptHttpLoopbackIssuersUnlikeEntra?: boolean
}

export interface LocalEntra {
  /** `https://127.0.0.1:<port>`: the authority, and the endpoint of Azure Resource Manager. */
  readonly url: string
  /** PEM of the CA that signed its certificate. */
  readonly ca: string
  /** Every request that was answered or injured, oldest first. */
  readonly calls: readonly EntraCall[]
  /** Throws an Error as Graph would refuse. */
  createFederatedCredential(tenant: string, clientId: string, input: FederatedCredential): void
  deleteFederatedCredential(tenant: string, clientId: string, name: string): void
  /** The next request that fits is treated so. Several queue up. */
  failNext(fault: Fault): void
  close(): Promise<void>
}

export type Operation = 'Token' | 'Discovery' | 'Keys' | 'GetSubscription' | 'Unknown'

/** One request. Nothing in it is secret, and nothing unverified but what the request itself was for. */
export interface EntraCall {
  readonly operation: Operation
  /** Milliseconds. */
  readonly at: number
  readonly traceId: string
  readonly correlationId: string
  /** null: no answer was given, or an injected one. */
  readonly status: number | null
  /** `AADSTS…` or ARM's code; null: success, or an injected fault. */
  readonly code: string | null
  /** Why it was refused, in more words than the caller was given. */
  readonly why: string | null
  /** Token: `tenant`, `client`, `scope`; once verified `subject`, `uti`, `expires_in`. GetSubscription: `client`, `uti`, `subscription`. */
  readonly about: Readonly<Record<string, string>>
}

export type Fault = {
  /** Only for this operation; any when absent. */
  readonly operation?: Operation
} & (
  | {
      /** An error document with this AADSTS number. */
      readonly kind: 'error'
      readonly code: number
      readonly message?: string
      /** What goes with the code when absent. */
      readonly status?: number
    }
  | Wrong
)

const CERTIFICATES = join(import.meta.dirname, '../../action/fixtures')
const certificate = (name: string) => readFile(join(CERTIFICATES, name), 'utf8')

/** One key for every Entra of this process, as the real one has for all tenants: making one takes its time. */
let signing: Promise<SigningKey> | null = null

/** Listens when it resolves. Throws when the settings are none that Graph would take. */
export async function startEntra(settings: EntraSettings): Promise<LocalEntra> {
  signing ??= makeSigningKey('certificate')
  const tls = {
    ca: await certificate('ca.pem'),
    cert: await certificate('server.pem'),
    key: await certificate('server-key.pem'),
  }
  const world = new World(settings, tls, await signing)
  await world.listen()
  return world
}

interface Tls {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

const MAX_BODY = 64 * 1024

class World implements LocalEntra {
  readonly calls: EntraCall[] = []
  readonly ca: string
  readonly #settings: EntraSettings
  readonly #tenants: ReadonlyMap<string, Tenant>
  readonly #issuers: Issuers
  readonly #signing: SigningKey
  readonly #faults: Fault[] = []
  readonly #server: Server

  constructor(settings: EntraSettings, { ca, cert, key }: Tls, signing: SigningKey) {
    this.ca = ca
    this.#settings = settings
    this.#signing = signing
    this.#issuers = {
      resolve: settings.resolve,
      timeout: settings.issuerTimeout ?? 5000,
      httpLoopback: settings.acceptHttpLoopbackIssuersUnlikeEntra ?? false,
    }
    const tenants = settings.tenants.map((each) => makeTenant(each, this.#issuers.httpLoopback))
    this.#tenants = new Map(tenants.map((tenant) => [tenant.id, tenant]))
    this.#server = createServer({ cert, key }, (request, response) => {
      this.#serve(request, response).catch(() => response.destroy())
    })
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  createFederatedCredential(tenant: string, clientId: string, input: FederatedCredential): void {
    addCredential(this.#application(tenant, clientId), input, this.#issuers.httpLoopback)
  }

  deleteFederatedCredential(tenant: string, clientId: string, name: string): void {
    const { credentials } = this.#application(tenant, clientId)
    const index = credentials.findIndex((one) => one.name === name)
    if (index < 0) throw new Error(`no federated credential is called ${name}`)
    credentials.splice(index, 1)
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

  #application(tenant: string, clientId: string) {
    const application = this.#tenants.get(tenant)?.applications.get(clientId)
    if (application === undefined) throw new Error(`no application ${clientId} in ${tenant}`)
    return application
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await arrive(request)
    const visit = this.#visit(request)
    const fault = this.#takeFault(visit.operation)
    const injected = fault === null || fault.kind === 'error' ? null : fault
    const { answer, code, why } = await this.#answer(request, body, visit, fault)
    const given = injected === null ? answer.status : null
    this.#log(visit, { status: given, code: injected === null ? code : null, why })
    respond(response, answer, injected)
  }

  #visit({ method = '', url = '', headers }: IncomingMessage): Visit {
    const at = new URL(url, 'https://login.example')
    const [, tenant = '', rest = ''] = /^\/([^/]*)\/(.*)$/.exec(at.pathname) ?? []
    const asked = headers['client-request-id']
    const correlationId = typeof asked === 'string' && isGuid(asked) ? asked : randomUUID()
    const now = this.#settings.now()
    return {
      operation: operationOf(method, at.pathname),
      url: at,
      tenant,
      rest,
      trace: { traceId: randomUUID(), correlationId, now },
      about: {},
    }
  }

  async #answer(
    request: IncomingMessage,
    body: string | null,
    visit: Visit,
    fault: Fault | null,
  ): Promise<Outcome> {
    try {
      if (fault?.kind === 'error') throw injectedError(fault)
      const answer = await this.#handle(request, body, visit)
      return { answer, code: null, why: null }
    } catch (problem) {
      if (problem instanceof ArmError)
        return { answer: armErrorAnswer(problem), code: problem.code, why: problem.message }
      if (!(problem instanceof EntraError)) throw problem
      const answer = errorAnswer(problem, visit.trace)
      const status = fault?.kind === 'error' ? (fault.status ?? answer.status) : answer.status
      const why = problem.why ?? problem.message
      return { answer: { ...answer, status }, code: `AADSTS${problem.code}`, why }
    }
  }

  async #handle(request: IncomingMessage, body: string | null, visit: Visit): Promise<Answer> {
    const { operation, trace, tenant, about, url } = visit
    const { now } = trace
    const common = { tenants: this.#tenants, key: this.#signing, now }
    if (operation === 'GetSubscription')
      return answerArm(url, request.headers.authorization, { world: common, about })
    if (operation === 'Token') {
      const form = formOf(request, body)
      const lifetime = this.#settings.lifetime ?? (() => randomInt(3600, 5401))
      const world = { ...common, issuers: this.#issuers, lifetime }
      return entraAnswer(200, await answerToken(tenant, form, { world, about }), trace)
    }
    if (operation === 'Discovery') return entraAnswer(200, discovery(this.url, tenant), trace)
    if (operation === 'Keys') return entraAnswer(200, { keys: [this.#signing.jwk] }, trace)
    if (visit.rest === TOKEN_PATH)
      throw new EntraError(900561, 'The endpoint only accepts POST requests.')
    return { ...entraAnswer(404, { error: 'not_found' }, trace) }
  }

  #takeFault(operation: Operation): Fault | null {
    const index = this.#faults.findIndex(
      (fault) => fault.operation === undefined || fault.operation === operation,
    )
    return index < 0 ? null : (this.#faults.splice(index, 1)[0] ?? null)
  }

  #log(visit: Visit, outcome: Pick<EntraCall, 'status' | 'code' | 'why'>): void {
    const { operation, trace, about } = visit
    const { traceId, correlationId, now } = trace
    this.calls.push({ operation, at: now, traceId, correlationId, ...outcome, about })
  }
}

interface Visit {
  readonly operation: Operation
  readonly url: URL
  /** First segment of the path, and what follows. */
  readonly tenant: string
  readonly rest: string
  readonly trace: Trace
  readonly about: Record<string, string>
}

interface Outcome {
  readonly answer: Answer
  readonly code: string | null
  readonly why: string | null
}

const TOKEN_PATH = 'oauth2/v2.0/token'

function operationOf(method: string, path: string): Operation {
  if (method === 'POST') return path.endsWith(`/${TOKEN_PATH}`) ? 'Token' : 'Unknown'
  if (method !== 'GET') return 'Unknown'
  if (path.startsWith('/subscriptions/')) return 'GetSubscription'
  if (path.endsWith('/v2.0/.well-known/openid-configuration')) return 'Discovery'
  return path.endsWith('/discovery/v2.0/keys') ? 'Keys' : 'Unknown'
}

/** What client libraries read before they ask for a token. */
function discovery(url: string, tenant: string) {
  return {
    token_endpoint: `${url}/${tenant}/${TOKEN_PATH}`,
    authorization_endpoint: `${url}/${tenant}/oauth2/v2.0/authorize`,
    jwks_uri: `${url}/${tenant}/discovery/v2.0/keys`,
    issuer: `https://login.microsoftonline.com/${tenant}/v2.0`,
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt'],
    response_types_supported: ['code', 'id_token'],
    subject_types_supported: ['pairwise'],
    id_token_signing_alg_values_supported: ['RS256'],
  }
}

function formOf({ headers }: IncomingMessage, body: string | null): URLSearchParams {
  const type = (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase()
  if (body === null || type !== 'application/x-www-form-urlencoded')
    throw new EntraError(
      900144,
      "The request body must contain the following parameter: 'grant_type'.",
    )
  return new URLSearchParams(body)
}

function injectedError({ code, message }: Fault & { kind: 'error' }): EntraError {
  return new EntraError(code, message ?? 'as the test says.')
}

/** null: the body is too long, and was not kept. */
async function arrive(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size <= MAX_BODY) chunks.push(chunk)
  }
  return size > MAX_BODY ? null : Buffer.concat(chunks).toString('utf8')
}
