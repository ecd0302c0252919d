import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { NOW, payloadOf } from './orders.ts'

/** A request as STS got it. */
export interface StsRequest {
  readonly form: URLSearchParams
  /** Claims of the web identity token, unverified. */
  readonly claims: Readonly<Record<string, unknown>>
}

export type Play = (response: ServerResponse, request: StsRequest) => void

export interface ScriptedSts {
  readonly url: string
  readonly requests: readonly StsRequest[]
  /** The next answers, in order; after them every request is answered well. */
  next(...plays: readonly Play[]): void
  close(): Promise<void>
}

/** An HTTP server that answers as the test says. It judges nothing. */
export const scriptedSts = async (): Promise<ScriptedSts> => {
  const requests: StsRequest[] = []
  const plays: Play[] = []
  const server = createServer((incoming, response) => {
    void readForm(incoming).then((form) => {
      const request = { form, claims: payloadOf(form.get('WebIdentityToken') ?? '') }
      requests.push(request)
      const play = plays.shift() ?? good()
      play(response, request)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    next: (...more) => void plays.push(...more),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const readForm = async (incoming: IncomingMessage): Promise<URLSearchParams> => {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
}

/** What STS says of an assumed role; a test changes one member to make it lie, null takes it away. */
export interface Assumed {
  readonly accessKeyId: string | null
  readonly secretAccessKey: string | null
  readonly sessionToken: string | null
  readonly expiration: string | null
  readonly arn: string | null
  readonly sourceIdentity: string | null
}

/** STS writes whole seconds. */
export const stsTime = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, 'Z')

const honest = ({ form, claims }: StsRequest): Assumed => {
  const [, account = '', role = ''] = /::(\d+):role\/.*?([^/]+)$/.exec(form.get('RoleArn')!) ?? []
  const session = claims['https://aws.amazon.com/source_identity'] as string
  return {
    accessKeyId: `ASIA${session.slice(-16)}`,
    secretAccessKey: `secret/of+${session}`,
    sessionToken: `FwoGZXIvYXdzE-token-of-${session}`,
    expiration: stsTime(NOW + Number(form.get('DurationSeconds')) * 1000),
    arn: `arn:aws:sts::${account}:assumed-role/${role}/${form.get('RoleSessionName')!}`,
    sourceIdentity: session,
  }
}

/** Credentials that name the session they belong to. */
export const good =
  (lie: (request: StsRequest) => Partial<Assumed> = () => ({})): Play =>
  (response, request) => {
    const said = { ...honest(request), ...lie(request) }
    const body = element('AssumeRoleWithWebIdentityResponse', [
      element('AssumeRoleWithWebIdentityResult', [
        element('Credentials', [
          element('AccessKeyId', said.accessKeyId),
          element('SecretAccessKey', said.secretAccessKey),
          element('SessionToken', said.sessionToken),
          element('Expiration', said.expiration),
        ]),
        element('AssumedRoleUser', [
          element('Arn', said.arn),
          element('AssumedRoleId', 'AROAEXAMPLEEXAMPLE123:tvm'),
        ]),
        element('SourceIdentity', said.sourceIdentity),
        element('PackedPolicySize', '34'),
        element('SessionTokenUtilization', '21'),
      ]),
    ])
    response.writeHead(200, { 'content-type': 'text/xml', 'x-amzn-requestid': 'b1f2-77' }).end(body)
  }

const element = (name: string, content: string | null | readonly string[]): string => {
  if (content === null) return ''
  return `<${name}>${typeof content === 'string' ? content : content.join('')}</${name}>`
}

/** An error as STS words it. */
export const failure =
  (status: number, code: string, message = 'as the test says'): Play =>
  (response) => {
    const error = element('Error', [
      element('Type', 'Sender'),
      element('Code', code),
      element('Message', message),
    ])
    response.writeHead(status, { 'content-type': 'text/xml' })
    response.end(element('ErrorResponse', [error, element('RequestId', 'b1f2-77')]))
  }

export const raw =
  (status: number, body: string, headers: Record<string, string> = {}): Play =>
  (response) => {
    response.writeHead(status, headers).end(body)
  }

export const reset: Play = (response) => void response.socket?.destroy()

/** Status and some of the answer, then nothing: the peer went away. */
export const breakOff: Play = (response) => {
  response.writeHead(200, { 'content-type': 'text/xml', 'content-length': '2000' })
  response.write('<AssumeRoleWithWebIdentity', () => response.socket?.destroy())
}

export const hang: Play = () => undefined

export const hangInBody: Play = (response) => {
  response.writeHead(200, { 'content-type': 'text/xml' }).write('<AssumeRoleWithWebIdentity')
}

/** The peer says our own token back in an error message. */
export const echoToken: Play = (response, { form }) =>
  failure(
    400,
    'InvalidIdentityToken',
    `refused ${form.get('WebIdentityToken')!}`,
  )(response, {
    form,
    claims: {},
  })
