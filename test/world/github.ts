import { randomUUID, type KeyObject } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { makeFaults, respond, type Answer, type Fault } from './fault.ts'
import { makeJob, type Job, type JobOptions, type Numbers } from './job.ts'
import { makeSigningKey, signCompact, type Algorithm, type SigningKey } from './signing-key.ts'

/** `other` counts requests of anything else. */
export type Endpoint = 'token' | 'jwks' | 'discovery' | 'other'

/** How tokens are to differ from the true ones. */
export interface Lie {
  /** Laid over the payload: any JSON value, a `['__proto__']` too; undefined takes the claim away. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** Laid over the header; undefined takes the parameter away. */
  readonly header?: Readonly<Record<string, unknown>>
  /** Seconds to move `iat`, `nbf` and `exp` by: negative back-dates, -3600 is long expired. */
  readonly shift?: number
  /** `exp` - `iat` in seconds; default 300. */
  readonly lifetime?: number
  /** `wrong`: a key that GitHub never had, under the kid of the right one. */
  readonly key?: 'right' | 'wrong'
}

export interface TokenOptions extends Lie {
  /** Default: what GitHub puts when none is asked for, `https://github.com/<owner>`. */
  readonly audience?: string
}

export interface SignOptions {
  /** Default RS256. */
  readonly algorithm?: Algorithm
  /**
   * `current` signs as GitHub, `foreign` with a key it never had, `public` takes the PEM of GitHub's public key as
   * the secret of an HMAC; a KeyObject or a secret is taken as it is. Default `current`, and `public` for HS*.
   */
  readonly key?: 'current' | 'foreign' | 'public' | KeyObject | { readonly secret: string }
}

/** A GitHub that issues ID tokens on loopback; it lies and fails only when told to. */
export interface LocalGitHub {
  /** What tokens say: `https://token.actions.githubusercontent.com` unless told otherwise. */
  readonly issuer: string
  /** Where this GitHub listens: `http://127.0.0.1:<port>`. */
  readonly url: string
  readonly jwksUri: string
  readonly discoveryUri: string
  /** A new job of a new run. */
  job(options?: JobOptions): Job
  /** An ID token of the job, without the way through the token endpoint. */
  token(job: Job, options?: TokenOptions): string
  /** Signs anything. Objects become JSON; header members are laid over `{typ, alg, x5t, kid}`. */
  sign(
    payload: object | string,
    header?: Readonly<Record<string, unknown>>,
    how?: SignOptions,
  ): string
  /** From now on the tokens of every job differ so, until `honest()`. */
  lie(lie: Lie): void
  honest(): void
  readonly keys: {
    /** The published keys, as they are now. */
    readonly kids: readonly string[]
    /** The kid that signs. */
    readonly current: string
    /** Publishes one more key; it does not sign yet. Gives its kid. */
    add(kind?: 'certificate' | 'uuid'): Promise<string>
    /** Sign with this key from now on. */
    use(kid: string): void
    /** Takes the key out of the JWKS; one that signs goes on signing. */
    drop(kid: string): void
  }
  /** The next `times` requests (default: all) of the endpoint fail so. */
  fail(endpoint: Endpoint, fault: Fault, times?: number): void
  mend(endpoint?: Endpoint): void
  /** `refuse` (default) closes the port, `hang` takes every request and never answers. */
  silence(how?: 'refuse' | 'hang'): Promise<void>
  /** The end of a silence, at the same address. */
  speak(): Promise<void>
  /** Requests so far; what found the port closed is not among them. */
  readonly requests: Readonly<Record<Endpoint, number>>
  /** Audiences of the tokens handed out at the endpoint, in order; null: none was asked for. */
  readonly audiences: readonly (string | null)[]
  close(): Promise<void>
}

export interface GitHubOptions {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Another edition: `…githubusercontent.com/<enterprise>`, `https://HOST/_services/token`. */
  readonly issuer?: string
  /** `iat` - `nbf` in seconds; seen in the wild: 600 and 300. */
  readonly backdate?: 600 | 300
}

const LIFETIME = 300
/** A job can ask for tokens for six hours and ten minutes, and for any audience. */
const REQUEST_TOKEN_MS = (6 * 60 + 10) * 60_000

export const startGitHub = async (options: GitHubOptions): Promise<LocalGitHub> => {
  const [foreign, ...keys] = await Promise.all([
    makeSigningKey('uuid'),
    makeSigningKey('certificate'),
    makeSigningKey('uuid'),
    makeSigningKey('uuid'),
  ])
  const github = new GitHub(options, keys, foreign)
  await github.listen(0)
  return github
}

interface HandedOut {
  readonly job: Job
  readonly until: number
}

class GitHub implements LocalGitHub {
  readonly issuer: string
  readonly requests = { token: 0, jwks: 0, discovery: 0, other: 0 }
  readonly audiences: (string | null)[] = []
  readonly #now: () => number
  readonly #backdate: number
  readonly #published: SigningKey[]
  readonly #foreign: SigningKey
  readonly #faults = makeFaults<Endpoint>()
  readonly #jobs = new Map<string, HandedOut>()
  #signing: SigningKey
  #lie: Lie = {}
  #numbers: Numbers = { run: 0, check: 0 }
  #server: Server = createServer()
  #port = 0
  #hanging = false

  constructor(options: GitHubOptions, keys: SigningKey[], foreign: SigningKey) {
    this.issuer = options.issuer ?? DIALECTS.github.issuer
    this.#now = options.now
    this.#backdate = options.backdate ?? 600
    this.#published = keys
    this.#foreign = foreign
    this.#signing = keys[0]!
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  get #path(): string {
    return new URL(this.issuer).pathname.replace(/\/$/, '')
  }

  /** A server's keys stand below its issuer; the clouds have theirs at the root, also those of an enterprise's own issuer. */
  get jwksUri(): string {
    const below = this.#path === '/_services/token' ? this.#path : ''
    return `${this.url}${below}/.well-known/jwks`
  }

  get discoveryUri(): string {
    return `${this.url}${this.#path}/.well-known/openid-configuration`
  }

  job(options: JobOptions = {}): Job {
    this.#numbers = { run: this.#numbers.run + 1, check: this.#numbers.check + 1 }
    const job = makeJob(options, this.#numbers, this.url)
    if (job.idToken) {
      const until = this.#now() + REQUEST_TOKEN_MS
      this.#jobs.set(new URL(job.requestUrl).pathname, { job, until })
    }
    return job
  }

  token(job: Job, options: TokenOptions = {}): string {
    const { audience, ...lie } = { ...this.#lie, ...options }
    const signing = this.#signing
    const header = { typ: 'JWT', alg: 'RS256', x5t: signing.x5t ?? undefined, kid: signing.kid }
    const key = lie.key === 'wrong' ? this.#foreign : signing
    return signCompact(
      { ...header, ...lie.header },
      this.#payload(job, audience, lie),
      'RS256',
      key.privateKey,
    )
  }

  #payload(job: Job, audience: string | undefined, lie: Lie): object {
    const iat = Math.floor(this.#now() / 1000) + (lie.shift ?? 0)
    return {
      jti: randomUUID(),
      aud: audience ?? `https://github.com/${job.claims['repository_owner'] ?? ''}`,
      iss: this.issuer,
      nbf: iat - this.#backdate,
      exp: iat + (lie.lifetime ?? LIFETIME),
      iat,
      ...job.claims,
      ...lie.claims,
    }
  }

  sign(
    payload: object | string,
    header: Readonly<Record<string, unknown>> = {},
    { algorithm = 'RS256', key }: SignOptions = {},
  ): string {
    const { x5t, kid } = this.#signing
    const parameters = { typ: 'JWT', alg: algorithm, x5t: x5t ?? undefined, kid, ...header }
    const chosen = key ?? (algorithm.startsWith('HS') ? 'public' : 'current')
    return signCompact(parameters, payload, algorithm, this.#secret(chosen))
  }

  #secret(key: NonNullable<SignOptions['key']>): KeyObject | string {
    if (key === 'current') return this.#signing.privateKey
    if (key === 'foreign') return this.#foreign.privateKey
    if (key === 'public')
      return this.#signing.publicKey.export({ type: 'spki', format: 'pem' }).toString()
    return 'secret' in key ? key.secret : key
  }

  lie(lie: Lie): void {
    this.#lie = lie
  }

  honest(): void {
    this.#lie = {}
  }

  get keys(): LocalGitHub['keys'] {
    return {
      kids: this.#published.map(({ kid }) => kid),
      current: this.#signing.kid,
      add: async (kind = 'uuid') => {
        const key = await makeSigningKey(kind)
        this.#published.push(key)
        return key.kid
      },
      use: (kid) => {
        this.#signing = this.#published[this.#indexOf(kid)]!
      },
      drop: (kid) => {
        this.#published.splice(this.#indexOf(kid), 1)
      },
    }
  }

  #indexOf(kid: string): number {
    const index = this.#published.findIndex((key) => key.kid === kid)
    if (index < 0) throw new Error(`GitHub publishes no key ${kid}`)
    return index
  }

  fail(endpoint: Endpoint, fault: Fault, times?: number): void {
    this.#faults.fail(endpoint, fault, times)
  }

  mend(endpoint?: Endpoint): void {
    this.#faults.mend(endpoint)
  }

  async silence(how: 'refuse' | 'hang' = 'refuse'): Promise<void> {
    if (how === 'hang') this.#hanging = true
    else await this.close()
  }

  async speak(): Promise<void> {
    this.#hanging = false
    if (!this.#server.listening) await this.listen(this.#port)
  }

  async listen(port: number): Promise<void> {
    this.#server = createServer((request, response) => {
      this.#answer(request, response)
    })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen({ host: '127.0.0.1', port }, resolve)
    })
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url)
    const endpoint = this.#endpointOf(url)
    this.requests[endpoint] += 1
    if (this.#hanging) return
    const fault = this.#faults.next(endpoint)
    const answers = {
      token: () => this.#tokenAnswer(request, url, fault === null),
      jwks: () => json(200, { keys: this.#published.map(({ jwk }) => jwk) }),
      discovery: () => json(200, this.#discovery()),
      other: () => json(404, { message: 'Not Found' }),
    } as const satisfies Record<Endpoint, () => Answer>
    respond(response, answers[endpoint](), fault)
  }

  #endpointOf(url: URL): Endpoint {
    const address = url.origin + url.pathname
    if (address === this.jwksUri) return 'jwks'
    if (address === this.discoveryUri) return 'discovery'
    return /^\/runtime\/[^/]+\/idtoken\/[^/]+$/.test(url.pathname) ? 'token' : 'other'
  }

  #discovery(): object {
    const { registered, claims } = DIALECTS.github
    return {
      issuer: this.issuer,
      jwks_uri: this.jwksUri,
      subject_types_supported: ['public', 'pairwise'],
      response_types_supported: ['id_token'],
      claims_supported: [...new Set([...registered, ...claims])],
      id_token_signing_alg_values_supported: ['RS256'],
      scopes_supported: ['openid'],
    }
  }

  #tokenAnswer(request: IncomingMessage, url: URL, counts: boolean): Answer {
    const handedOut = this.#jobs.get(url.pathname)
    if (handedOut === undefined) return json(404, { message: 'Not Found' })
    const [scheme = '', given] = (request.headers.authorization ?? '').split(' ')
    const known = scheme.toLowerCase() === 'bearer' && given === handedOut.job.requestToken
    if (!known || this.#now() >= handedOut.until) return json(401, { message: 'Unauthorized' })
    if (request.method !== 'GET') return json(405, { message: 'Method Not Allowed' })
    const audience = url.searchParams.get('audience')
    if (counts) this.audiences.push(audience)
    const value = this.token(handedOut.job, audience === null ? {} : { audience })
    return json(200, { count: value.length, value })
  }
}

const json = (status: number, body: object): Answer => ({
  status,
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: JSON.stringify(body),
})
