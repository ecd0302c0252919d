import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connect as secureConnect } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { startListener, type Listener } from '../../server/http/listen.ts'
import { makeObserver } from '../../server/http/observer.ts'
import { makeLog } from '../../server/log.ts'
import type { World } from '../../server/world.ts'

const world: World = {
  now: Date.now,
  random: (bytes) => randomBytes(bytes),
  fetch: () => Promise.reject(new Error('nobody is asked')),
  sleep: () => Promise.resolve(),
}
const fixture = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../action/fixtures', name), 'utf8')

const open: Listener[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((listener) => listener.close(0)))
})

const listening = async (tls: boolean): Promise<Listener> => {
  const listener = await startListener({
    fetch: () => new Response('ok'),
    host: '127.0.0.1',
    port: 0,
    tls: tls ? { cert: fixture('server.pem'), key: fixture('server-key.pem') } : null,
    world,
    observer: makeObserver(makeLog('silent', { write: () => undefined }), world),
  })
  open.push(listener)
  return listener
}

const CONNECT = 'CONNECT octocat.example:443 HTTP/1.1\r\nHost: octocat.example\r\n\r\n'
const GARBAGE = 'garbage\r\n\r\n'

/** A peer that has sent `text`, and keeps its own half of the connection open whatever it is told; `wire` is below its TLS. */
const peer = async ({ port }: Listener, text: string, tls: boolean) => {
  const wire = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const socket = tls ? secureConnect({ socket: wire, rejectUnauthorized: false }) : wire
  for (const each of [wire, socket]) each.on('error', () => undefined)
  await once(socket, tls ? 'secureConnect' : 'connect')
  await new Promise((resolve) => socket.resume().write(text, resolve))
  return { socket, wire }
}

const REFUSED = [
  ['a tunnel over http', CONNECT, false, false],
  ['garbage over http', GARBAGE, false, false],
  ['a tunnel over https', CONNECT, true, true],
  ['garbage over https', GARBAGE, true, true],
  ['garbage in place of a handshake', GARBAGE, true, false],
] as const

describe.each(REFUSED)('a peer that sends %s', (_, text, tls, speaksTls) => {
  test('does not end the process when it resets the connection', async () => {
    const listener = await listening(tls)
    for (let n = 0; n < 50; n++) {
      const { wire } = await peer(listener, text, speaksTls)
      wire.resetAndDestroy()
    }
    // An error that nobody listens for fails the whole run.
    const { socket } = await peer(listener, text, speaksTls)
    expect(await once(socket, 'end')).toEqual([])
    socket.destroy()
  })

  test('does not keep the listener from stopping', async () => {
    const listener = await listening(tls)
    const { socket } = await peer(listener, text, speaksTls)
    await once(socket, 'end')
    await listener.close(60_000)
    socket.destroy()
    expect(open.splice(0)).toEqual([listener])
  })
})

test('a peer that never ends its headers is told so', async () => {
  const listener = await listening(false)
  const { socket } = await peer(listener, 'GET / HTTP/1.1\r\nHost: octocat.example\r\n', false)
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  await new Promise((resolve) => socket.once('end', resolve))
  expect(text).toMatch(/^HTTP\/1\.1 408 [^]*"code":"request_timeout"/)
}, 15_000)
