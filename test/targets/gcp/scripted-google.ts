import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { NOW, payloadOf } from '../orders.ts'

/** The three things that the target asks Google, in their order. */
export type Leg = 'federate' | 'impersonate' | 'bound'

/** A request as Google got it. */
export interface GoogleRequest {
  readonly leg: Leg
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
  /** STS: the form. */
  readonly form: URLSearchParams
  /** The token that was shown: our JWT, or the one of the leg before. */
  readonly shown: string
}

export type Play = (response: ServerResponse, request: GoogleRequest) => void

export interface ScriptedGoogle {
  readonly url: string
  readonly requests: readonly GoogleRequest[]
  /** The next answers of one leg, in order; after them every request is answered well. */
  next(leg: Leg, ...plays: readonly Play[]): void
  of(leg: Leg): readonly GoogleRequest[]
  close(): Promise<void>
}

/** An HTTP server that answers as the test says. It judges nothing. */
export const scriptedGoogle = async (): Promise<ScriptedGoogle> => {
  const requests: GoogleRequest[] = []
  const plays = { federate: [] as Play[], impersonate: [] as Play[], bound: [] as Play[] }
  const server = createServer((incoming, response) => {
    void read(incoming).then((request) => {
      requests.push(request)
      const play = plays[request.leg].shift() ?? good()
      play(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    next: (leg, ...more) => void plays[leg].push(...more),
    of: (leg) => requests.filter((request) => request.leg === leg),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const read = async (incoming: IncomingMessage): Promise<GoogleRequest> => {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks).toString('utf8')
  const form = new URLSearchParams(body)
  const { url: path = '', headers } = incoming
  const leg = path.endsWith(':generateAccessToken')
    ? 'impersonate'
    : form.get('subject_token_type')?.endsWith(':jwt') === true
      ? 'federate'
      : 'bound'
  const bearer = (headers.authorization ?? '').replace('Bearer ', '')
  return { leg, path, headers, body, form, shown: form.get('subject_token') ?? bearer }
}

const ACCESS = 'urn:ietf:params:oauth:token-type:access_token'

/** The job that a token of this Google names. */
export const jobOf = (token: string): string =>
  Buffer.from(token.split('-of-')[1] ?? '', 'base64url').toString()

const named = (kind: string, job: string): string =>
  `ya29.${kind}-of-${Buffer.from(job).toString('base64url')}`

type Json = Readonly<Record<string, unknown>>

const exchanged = (access_token: string, expires_in: number): Json => ({
  access_token,
  issued_token_type: ACCESS,
  token_type: 'Bearer',
  expires_in,
})

const HONEST: Readonly<Record<Leg, (request: GoogleRequest) => Json>> = {
  federate: ({ shown }) => {
    const { job, exp } = payloadOf(shown)
    return exchanged(named('federated', job as string), (exp as number) - NOW / 1000)
  },
  impersonate: ({ shown, body }) => {
    const { lifetime } = JSON.parse(body) as { readonly lifetime: string }
    const end = new Date(NOW + Number.parseInt(lifetime, 10) * 1000)
    return {
      accessToken: named('acting', jobOf(shown)),
      expireTime: end.toISOString().replace('.000Z', 'Z'),
    }
  },
  // Google says no end here: it is that of the token that went in.
  bound: ({ shown }) => ({
    ...exchanged(named('bounded', jobOf(shown)), 0),
    expires_in: undefined,
  }),
}

/** Tokens that name the job they belong to; a test changes members to make it lie, undefined takes one away. */
export const good =
  (lie: (request: GoogleRequest) => Json = () => ({})): Play =>
  (response, request) =>
    raw(200, JSON.stringify({ ...HONEST[request.leg](request), ...lie(request) }))(
      response,
      request,
    )

/** An error as STS words it. */
export const stsFailure = (status: number, error: string, description = 'as the test says'): Play =>
  raw(status, JSON.stringify({ error, error_description: description }))

/** An error as every other API of Google words it. */
export const apiFailure = (status: number, code: string, message = 'as the test says'): Play =>
  raw(status, JSON.stringify({ error: { code: status, message, status: code } }))

export const raw =
  (status: number, body: string, headers: Record<string, string> = {}): Play =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
  }

export const reset: Play = (response) => void response.socket?.destroy()

/** Status and some of the answer, then nothing: the peer went away. */
export const breakOff: Play = (response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '2000' })
  response.write('{"access_tok', () => response.socket?.destroy())
}

export const hang: Play = () => undefined

export const hangInBody: Play = (response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{"access_tok')
}

/** The peer says our own token back in an error message. */
export const echo: Play = (response, request) =>
  stsFailure(400, 'invalid_grant', `refused ${request.shown}, that is all`)(response, request)

/** The same in the words of the other API, and in pieces. */
export const echoInPieces: Play = (response, request) =>
  apiFailure(403, 'PERMISSION_DENIED', request.shown.split('.').join(' . '))(response, request)
