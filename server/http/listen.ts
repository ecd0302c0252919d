import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Code } from '../api.ts'
import { makeId } from '../id.ts'
import { refuse } from '../refusal.ts'
import type { World } from '../world.ts'
import type { Observer } from './observer.ts'
import { problem, problemBody } from './problem.ts'

export interface ListenOptions {
  readonly fetch: (request: Request, env: object) => Response | Promise<Response>
  readonly host: string
  readonly port: number
  /** PEM texts; null: plain HTTP, on loopback or behind a proxy that ends TLS. */
  readonly tls: { readonly cert: string; readonly key: string } | null
  readonly world: World
  /** Told of what is refused before the app sees a request. */
  readonly observer: Observer
}

export interface Listener {
  readonly host: string
  readonly port: number
  /** No new connections; the open requests get `graceMs` to finish, then their sockets are cut. */
  close(graceMs: number): Promise<void>
}

/**
 * Headers ≤ 24 KiB in 5 s, whole request in 15 s: a slow sender cannot hold a socket. A missing Host is refused by us, with a body.
 */
const SERVER_OPTIONS = {
  maxHeaderSize: 24 * 1024,
  headersTimeout: 5_000,
  requestTimeout: 15_000,
  // How often node looks for what is overdue; its own 30 s would make of 5 s up to 35.
  connectionsCheckingInterval: 1_000,
  requireHostHeader: false,
}

/** A handshake is as slow as headers may be; node would wait for two minutes. */
const TLS_OPTIONS = { minVersion: 'TLSv1.2', handshakeTimeout: 5_000 } as const

/** Milliseconds that a refused peer has to read its answer and hang up. */
const LINGER_MS = 1_000

export const startListener = async (options: ListenOptions): Promise<Listener> => {
  const { tls } = options
  const listener = requestListener(options)
  const server =
    tls === null
      ? createServer(SERVER_OPTIONS, listener)
      : createTlsServer({ ...SERVER_OPTIONS, ...tls, ...TLS_OPTIONS }, listener)
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) =>
    refuseRaw(socket, CLIENT_ERRORS[error.code ?? ''] ?? 'request_malformed', options),
  )
  server.on('connect', (_: IncomingMessage, socket: Socket) =>
    refuseRaw(socket, 'request_malformed', options),
  )
  // Node would answer 417 without a body; an expectation may be ignored (RFC 9110 section 10.1.1).
  server.on('checkExpectation', (request: IncomingMessage, response) =>
    server.emit('request', request, response),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port }, resolve)
  })
  const { port } = server.address() as AddressInfo
  return { host: options.host, port, close: (graceMs) => close(server, graceMs) }
}

/** The adapter refuses targets and hosts that make no URL, with an empty 400; here they get a body, and are counted. */
const requestListener = ({ fetch, world, observer }: ListenOptions): RequestListener =>
  getRequestListener((request, env) => fetch(request, env), {
    errorHandler: (error) => {
      const started = world.now()
      const requestId = makeId('req', started, world.random(10))
      const code = error instanceof RequestError ? 'request_malformed' : 'internal_error'
      const response = problem(refuse(code), { requestId })
      const { status } = response
      observer.answered({ ...UNREAD, requestId, address: '', status, code, started })
      return response
    },
  })

/** What Node's parser refuses before there is a request. */
const CLIENT_ERRORS: Readonly<Record<string, Code>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}

const UNREAD = { method: '', route: 'none' } as const

/**
 * Node answers these itself, without a body; here they are problem+json like every other refusal. Node has let go of such a socket,
 * or is about to: no timeout of the server ends it, and an error nobody listens for (a peer that resets) would end the process.
 */
const refuseRaw = (socket: Socket, code: Code, { world, observer }: ListenOptions): void => {
  if (!socket.writable) return void socket.destroy()
  socket.on('error', () => socket.destroy())
  const cut = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(cut))
  const started = world.now()
  const requestId = makeId('req', started, world.random(10))
  const body = problemBody(refuse(code), { requestId })
  const { status } = body
  const address = socket.remoteAddress ?? ''
  observer.answered({ ...UNREAD, requestId, address, status, code, started })
  const text = JSON.stringify(body)
  socket.end(
    `HTTP/1.1 ${status} ${body.title}\r\nConnection: close\r\nCache-Control: no-store\r\n` +
      `Content-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  )
}

const close = async (server: Server, graceMs: number): Promise<void> => {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const cut = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearTimeout(cut)
}
