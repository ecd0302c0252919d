import type { ServerResponse } from 'node:http'

/** A way for an HTTP endpoint to go wrong. */
export type Fault =
  | {
      readonly kind: 'status'
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }
  /** The true answer, `ms` late. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** Takes the request and never answers. */
  | { readonly kind: 'hang' }
  /** Cuts the connection without a byte. */
  | { readonly kind: 'reset' }
  /** 200 and no JSON. */
  | { readonly kind: 'garbage' }
  /** 200 and any JSON. */
  | { readonly kind: 'json'; readonly body: unknown }
  /** The first half of the true answer under its whole length, then the connection is cut. */
  | { readonly kind: 'half' }
  /** The first half of the true answer as if it were all: ends well, does not parse. */
  | { readonly kind: 'cut' }
  | { readonly kind: 'redirect'; readonly to: string; readonly status?: number }
  /** The true answer behind `bytes` of white space: parses, if anyone reads that far. */
  | { readonly kind: 'oversize'; readonly bytes: number }
  /** White space for ever, a byte each `everyMs`. */
  | { readonly kind: 'drip'; readonly everyMs: number }

/** An endpoint's true answer. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Sends the true answer, or what the fault makes of it. */
export const respond = (response: ServerResponse, answer: Answer, fault: Fault | null): void => {
  if (fault === null) send(response, answer)
  else (FAULTS[fault.kind] as Wrong)(response, answer, fault)
}

type Wrong<F extends Fault = Fault> = (response: ServerResponse, answer: Answer, fault: F) => void

const send = (response: ServerResponse, { status, headers, body }: Answer): void => {
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body)
}

const half = (text: string): string => text.slice(0, Math.floor(text.length / 2))

const FAULTS: { readonly [K in Fault['kind']]: Wrong<Extract<Fault, { kind: K }>> } = {
  status: (response, _, { status, headers, body }) => {
    const all = { 'content-type': 'text/plain', ...headers }
    send(response, { status, headers: all, body: body ?? `fault ${status}` })
  },
  slow: (response, answer, { ms }) => {
    const timer = setTimeout(() => {
      send(response, answer)
    }, ms)
    response.once('close', () => {
      clearTimeout(timer)
    })
  },
  hang: () => undefined,
  reset: (response) => {
    response.socket?.resetAndDestroy()
  },
  garbage: (response, answer) => {
    send(response, { ...answer, status: 200, body: '<!doctype html><p>It works!' })
  },
  json: (response, answer, { body }) => {
    send(response, { ...answer, status: 200, body: JSON.stringify(body) })
  },
  half: (response, { headers, body }) => {
    response.writeHead(200, { ...headers, 'content-length': Buffer.byteLength(body) })
    response.write(half(body), () => response.socket?.destroy())
  },
  cut: (response, answer) => {
    send(response, { ...answer, body: half(answer.body) })
  },
  redirect: (response, _, { to, status = 302 }) => {
    send(response, { status, headers: { location: to }, body: '' })
  },
  oversize: (response, answer, { bytes }) => {
    send(response, { ...answer, body: ' '.repeat(bytes) + answer.body })
  },
  drip: (response, { headers }, { everyMs }) => {
    response.writeHead(200, headers).flushHeaders()
    const timer = setInterval(() => response.write(' '), everyMs)
    response.once('close', () => {
      clearInterval(timer)
    })
  },
}

/** Which endpoint is to fail next, and how. */
export interface Faults<Endpoint extends string> {
  /** From now on, `times` requests of the endpoint fail so; several orders are worked off one after another. */
  fail(endpoint: Endpoint, fault: Fault, times?: number): void
  /** No further faults, of this endpoint or of any. */
  mend(endpoint?: Endpoint): void
  /** The fault of the request at hand; counts it. */
  next(endpoint: Endpoint): Fault | null
}

export const makeFaults = <Endpoint extends string>(): Faults<Endpoint> => {
  const orders = new Map<Endpoint, { readonly fault: Fault; left: number }[]>()
  return {
    fail: (endpoint, fault, times = Infinity) => {
      orders.set(endpoint, [...(orders.get(endpoint) ?? []), { fault, left: times }])
    },
    mend: (endpoint) => {
      if (endpoint === undefined) orders.clear()
      else orders.delete(endpoint)
    },
    next: (endpoint) => {
      const order = orders.get(endpoint)?.find(({ left }) => left > 0)
      if (order === undefined) return null
      order.left -= 1
      return order.fault
    },
  }
}
