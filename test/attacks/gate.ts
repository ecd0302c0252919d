import { createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Stands between the broker and its AWS: sees what is sent, and holds it up when told to. */
export interface Gate {
  readonly url: string
  /** Where requests go on to; set once the AWS listens. */
  open(target: string): void
  /** Bodies of the requests so far, as they came. */
  readonly bodies: readonly string[]
  /**
   * Holds the next request back: `before` AWS sees it, or its answer on the way back (`after`). `arrived` resolves when it is
   * there; `release` lets it go.
   */
  hold(where: 'before' | 'after'): Held
  close(): Promise<void>
}

export interface Held {
  readonly arrived: Promise<void>
  release(): void
}

interface Order {
  readonly where: 'before' | 'after'
  readonly arrived: PromiseWithResolvers<void>
  readonly released: PromiseWithResolvers<void>
}

interface Passed {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export const startGate = async (): Promise<Gate> => {
  let target = ''
  const bodies: string[] = []
  const orders: Order[] = []
  const server = createServer((request, response) => {
    const pass = async (): Promise<void> => {
      const chunks: Buffer[] = []
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
      const body = Buffer.concat(chunks)
      bodies.push(body.toString())
      const order = orders.shift()
      const wait = async (where: Order['where']): Promise<void> => {
        if (order?.where !== where) return
        order.arrived.resolve()
        await order.released.promise
      }
      await wait('before')
      const {
        status,
        headers,
        body: answer,
      } = await forward(target + (request.url ?? ''), {
        headers: request.headers,
        method: request.method ?? 'POST',
        body,
      })
      await wait('after')
      response.writeHead(status, headers).end(answer)
    }
    pass().catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: (url) => {
      target = url
    },
    bodies,
    hold: (where) => {
      const order: Order = {
        where,
        arrived: Promise.withResolvers(),
        released: Promise.withResolvers(),
      }
      orders.push(order)
      return { arrived: order.arrived.promise, release: () => order.released.resolve() }
    },
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

const forward = (
  url: string,
  { body, ...options }: { headers: object; method: string; body: Buffer },
): Promise<Passed> =>
  new Promise((resolve, reject) => {
    const sent = httpRequest(url, { ...options, headers: { ...options.headers } }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.once('error', reject)
      answer.once('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          body: Buffer.concat(chunks),
        }),
      )
    })
    sent.once('error', reject)
    sent.end(body)
  })
