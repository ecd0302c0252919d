import { once } from 'node:events'
import { connect } from 'node:net'

/** An answer as it stood on the wire; names of headers in lower case. */
export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Everything that came, further answers too. */
  readonly wire: string
}

/**
 * Writes the bytes to the socket and reads until the other side closes. `end`: close our half behind them. What asks for an answer
 * and wants the connection to end says `Connection: close` itself.
 */
export const sendRaw = async (
  url: string,
  bytes: string | Uint8Array,
  { end = false } = {},
): Promise<RawAnswer> => {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  // A server may close before it has read all; what it had said until then is the answer.
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(bytes)
  if (end) socket.end()
  socket.once('end', () => socket.end())
  await once(socket, 'close')
  return readAnswer(Buffer.concat(chunks).toString('utf8'))
}

const readAnswer = (wire: string): RawAnswer => {
  const [head = '', ...rest] = wire.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line): [string, string] => {
    const colon = line.indexOf(':')
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  return {
    status: Number(first.split(' ')[1] ?? 0),
    headers: Object.fromEntries(headers),
    body: rest.join('\r\n\r\n'),
    wire,
  }
}

/** A request line and headers in HTTP/1.1, one header a line, with the empty line behind them. */
export const head = (line: string, ...headers: readonly string[]): string =>
  `${[`${line} HTTP/1.1`, ...headers].join('\r\n')}\r\n\r\n`
