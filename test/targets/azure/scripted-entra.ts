import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { NOW, payloadOf } from '../orders.ts'

/** A request as Entra got it. */
export interface EntraRequest {
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly form: URLSearchParams
  /** Claims of the client assertion, unverified. */
  readonly claims: Readonly<Record<string, unknown>>
  /** Seconds that an honest token lives. */
  readonly lifetime: number
}

export type Play = (response: ServerResponse, request: EntraRequest) => void

export interface ScriptedEntra {
  readonly url: string
  readonly requests: readonly EntraRequest[]
  /** Seconds that honest tokens live from now on; 900 at first. */
  lifetime: number
  /** The next answers, in order; after them every request is answered well. */
  next(...plays: readonly Play[]): void
  close(): Promise<void>
}

/** An HTTP server that answers as the test says. It judges nothing. */
export const scriptedEntra = async (): Promise<ScriptedEntra> => {
  const requests: EntraRequest[] = []
  const plays: Play[] = []
  const server = createServer((incoming, response) => {
    void readForm(incoming).then((form) => {
      const { url: path = '', headers } = incoming
      const claims = payloadOf(form.get('client_assertion') ?? '')
      const request = { path, headers, form, claims, lifetime: entra.lifetime }
      requests.push(request)
      const play = plays.shift() ?? good()
      play(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const entra: ScriptedEntra = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    lifetime: 900,
    next: (...more) => void plays.push(...more),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
  return entra
}

const readForm = async (incoming: IncomingMessage): Promise<URLSearchParams> => {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
}

/** What Entra says; a test changes one member to make it lie, null takes it away. */
export interface Said {
  readonly token_type?: unknown
  readonly expires_in?: unknown
  readonly access_token?: unknown
  readonly padding?: string
  /** Claims of the access token. */
  readonly claims?: Readonly<Record<string, unknown>>
}

const honestClaims = ({ path, form, claims, lifetime }: EntraRequest) => ({
  aud: form.get('scope')!.replace(/\/\.default$/, ''),
  tid: path.split('/')[1],
  appid: form.get('client_id'),
  exp: NOW / 1000 + lifetime,
  uti: 'sP4GDAr4UE2zx8kBgWcMAA',
  ver: '1.0',
  // No claim of Entra's: it says whose token this is.
  job: claims['job'],
})

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

export const jwt = (claims: unknown): string =>
  `${part({ typ: 'JWT', alg: 'RS256', kid: 'entra-key' })}.${part(claims)}.c2lnbmF0dXJlLW9mLWVudHJh`

/** A token that names the job it belongs to. */
export const good =
  (lie: (request: EntraRequest) => Said = () => ({})): Play =>
  (response, request) => {
    const { claims, ...said } = lie(request)
    const all = Object.entries({ ...honestClaims(request), ...claims })
    const access_token = jwt(Object.fromEntries(all.filter(([, value]) => value !== null)))
    const expires_in = request.lifetime
    json(200, { token_type: 'Bearer', expires_in, access_token, ...said })(response, request)
  }

export const lying = (said: Said): Play => good(() => said)

export const json =
  (status: number, body: unknown): Play =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }

export const TRACE = '6e11a1f9-3492-4ac1-9251-4561eb284c00'

/** An error as Entra words it. */
export const failure = (
  status: number,
  code: number,
  message = 'as the test says.',
  error = 'invalid_client',
): Play =>
  json(status, {
    error,
    error_description: `AADSTS${code}: ${message} Trace ID: ${TRACE} Correlation ID: ${TRACE} Timestamp: 2026-11-22 01:00:00Z`,
    error_codes: [code],
    timestamp: '2026-11-22 01:00:00Z',
    trace_id: TRACE,
    correlation_id: TRACE,
  })

export const raw =
  (status: number, body: string, headers: Record<string, string> = {}): Play =>
  (response) => {
    response.writeHead(status, headers).end(body)
  }

export const reset: Play = (response) => void response.socket?.destroy()

/** Status and some of the answer, then nothing: the peer went away. */
export const breakOff: Play = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '2000' })
  response.write('{"token_type":"Bearer"', () => response.socket?.destroy())
}

export const hang: Play = () => undefined

export const hangInBody: Play = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{"token_type":"Bearer"')
}

/** The peer says our own assertion back in an error message. */
export const echoAssertion: Play = (response, request) =>
  failure(401, 50027, `refused ${request.form.get('client_assertion')!}`)(response, request)
