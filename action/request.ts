import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { RequestOptions } from 'node:https'

/** One HTTP request. `timeoutMs` bounds it from the first byte out to the last byte in. */
export interface Ask {
  readonly url: string
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  /** PEM: the server's certificate must chain to one of these and to nothing else. */
  readonly ca?: string
  readonly timeoutMs: number
  readonly maxBytes: number
}

export interface Answer {
  readonly ok: true
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface NoAnswer {
  readonly ok: false
  readonly why: 'network' | 'timeout' | 'certificate' | 'too_large'
  /** An error code such as ECONNREFUSED, or our own words. */
  readonly cause: string
}

/** Sends once and follows no redirect; never rejects. */
export const send = (ask: Ask): Promise<Answer | NoAnswer> =>
  new Promise((resolve) => {
    const signal = AbortSignal.timeout(Math.max(1, Math.floor(ask.timeoutMs)))
    const fail = (error: Error) => resolve(unanswered(error, signal, ask.timeoutMs))
    const sent = dispatch(ask, signal, (response) => {
      response.on('error', fail)
      collect(response, ask.maxBytes, resolve)
    })
    sent.on('error', fail)
    sent.end(ask.body)
  })

/** node:http and node:https are loaded on first use: they are half of what the step takes to start. */
const dispatch = (
  ask: Ask,
  signal: AbortSignal,
  onResponse: (response: IncomingMessage) => void,
): ClientRequest => {
  const secure = new URL(ask.url).protocol === 'https:'
  const { request, Agent } = process.getBuiltinModule(secure ? 'node:https' : 'node:http')
  const options: RequestOptions = {
    method: ask.method,
    headers: { ...ask.headers, 'Accept-Encoding': 'identity' },
    signal,
    // A CA given to the request reaches the TLS socket through a proxy too, one given to the agent does not.
    ...(ask.ca === undefined ? {} : { ca: ask.ca }),
    // Plain http is spoken on loopback, which is no proxy's business.
    agent: new Agent({ keepAlive: false, ...(secure ? { proxyEnv: process.env } : {}) }),
  }
  return request(ask.url, options, onResponse)
}

const collect = (
  response: IncomingMessage,
  maxBytes: number,
  resolve: (answer: Answer | NoAnswer) => void,
): void => {
  const chunks: Buffer[] = []
  let size = 0
  response.on('data', (chunk: Buffer) => {
    size += chunk.length
    chunks.push(chunk)
    if (size <= maxBytes) return
    resolve({ ok: false, why: 'too_large', cause: `more than ${maxBytes} bytes` })
    response.destroy()
  })
  response.on('end', () => {
    const body = Buffer.concat(chunks).toString('utf8')
    resolve({ ok: true, status: response.statusCode ?? 0, headers: response.headers, body })
  })
}

const unanswered = (
  error: Error & { readonly code?: unknown },
  signal: AbortSignal,
  timeoutMs: number,
): NoAnswer => {
  if (signal.aborted)
    return { ok: false, why: 'timeout', cause: `no answer within ${seconds(timeoutMs)}` }
  const cause =
    typeof error.code === 'string' && /^\w{1,64}$/.test(error.code) ? error.code : 'connection lost'
  return { ok: false, why: isCertificate(cause) ? 'certificate' : 'network', cause }
}

/** OpenSSL's verification codes, and node's own for a name that does not fit. */
const isCertificate = (cause: string): boolean => /CERT|LEAF_SIGNATURE|CRL|_CA$/.test(cause)

/** Milliseconds as people say them: `0.4 s`, `15 s`. */
export const seconds = (ms: number): string =>
  `${ms < 9_950 ? String(Math.round(ms / 100) / 10) : String(Math.round(ms / 1000))} s`
