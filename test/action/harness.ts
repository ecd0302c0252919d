import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  writeFile,
} from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { onTestFinished } from 'vitest'
import { buildAction, type Bundle } from '../../build.ts'

const ROOT = join(import.meta.dirname, '../..')
const NODE = join(ROOT, 'node_modules/.bin/node')

export const fixture = (name: string): string => join(import.meta.dirname, 'fixtures', name)

/** Opens something that is closed when the test that asked for it is over. */
export const keep = async <T extends { close(): Promise<void> }>(
  opening: Promise<T>,
): Promise<T> => {
  const opened = await opening
  onTestFinished(() => opened.close())
  return opened
}

/** A scripted answer; `hang` never answers, `reset` cuts the connection. */
export type Scripted =
  | 'hang'
  | 'reset'
  | {
      readonly status: number
      readonly body?: unknown
      readonly headers?: Readonly<Record<string, string>>
    }

/** One request as the server saw it. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** A server that answers as its script says and keeps what it saw. */
export interface Scene {
  readonly url: string
  readonly seen: Seen[]
  close(): Promise<void>
}

type Script = (seen: Seen, count: number) => Scripted

/** `tls`: with the certificate below fixtures/. */
export const openScene = async (script: Script, tls = false): Promise<Scene> => {
  const seen: Seen[] = []
  const sockets = new Set<Socket>()
  const listener: RequestListener = (request, response) => {
    void bodyOf(request).then((body) => {
      const { method = '', url = '', headers } = request
      const one = { method, path: url, headers, body }
      seen.push(one)
      const answer = script(one, seen.length)
      if (answer === 'hang') return
      if (answer === 'reset') {
        request.socket.destroy()
        return
      }
      const { status, body: reply, headers: extra } = answer
      const type = status >= 400 ? 'application/problem+json' : 'application/json'
      response.writeHead(status, { 'content-type': type, ...extra })
      response.end(reply === undefined || typeof reply === 'string' ? reply : JSON.stringify(reply))
    })
  }
  const server = tls ? createTlsServer(await certificate(), listener) : createServer(listener)
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const port = await listen(server)
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    seen,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

/** An HTTP proxy that tunnels (CONNECT) and keeps what it was asked for. */
export const openProxy = async (): Promise<Pick<Scene, 'url' | 'close'> & { asked: string[] }> => {
  const asked: string[] = []
  const sockets = new Set<Duplex>()
  const server = createServer((_, response) => response.writeHead(500).end())
  server.on('connect', (request: IncomingMessage, near: Duplex) => {
    asked.push(request.url ?? '')
    const { hostname, port } = new URL(`http://${request.url ?? ''}`)
    const far = connect(Number(port), hostname, () => {
      near.write('HTTP/1.1 200 OK\r\n\r\n')
      near.pipe(far).pipe(near)
    })
    for (const each of [near, far]) {
      sockets.add(each)
      each.on('error', () => each.destroy())
    }
  })
  const port = await listen(server)
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

const certificate = async () => ({
  cert: await readFile(fixture('server.pem')),
  key: await readFile(fixture('server-key.pem')),
})

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}

const listen = (server: Server): Promise<number> =>
  new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
  })

/** The bundles, built once for this process from the sources as they are now. */
let built: Promise<{ folder: string; bundles: readonly Bundle[] }> | null = null
const build = () =>
  (built ??= (async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tvm-bundles-'))
    return { folder, bundles: await buildAction(folder) }
  })())

export const bundled = async (): Promise<readonly Bundle[]> => (await build()).bundles

export const removeBundles = async (): Promise<void> => {
  if (built !== null) await rm((await built).folder, { recursive: true })
  built = null
}

/** What a step did. */
export interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly outputs: Readonly<Record<string, string>>
  readonly summary: string
  /** Variables that this step wrote to GITHUB_ENV. */
  readonly exported: Readonly<Record<string, string>>
  /** What main left for post. */
  readonly state: Readonly<Record<string, string>>
}

export interface StepOptions {
  readonly inputs?: Readonly<Record<string, string>>
  /** undefined removes a variable of the job for this step. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Called with the pid as soon as the step runs, and with the paths of its command files. */
  readonly started?: (pid: number, files: Readonly<Record<string, string>>) => void
}

const COMMAND_FILES = ['ENV', 'OUTPUT', 'STATE', 'STEP_SUMMARY'] as const

/** One job on a runner: its temporary folder and the environment that its steps share. */
export class Job {
  readonly folder: string
  readonly temp: string
  readonly env: Record<string, string>

  private constructor(folder: string, env: Record<string, string>) {
    this.folder = folder
    this.temp = join(folder, '_temp')
    this.env = { ...env, RUNNER_TEMP: this.temp, GITHUB_WORKSPACE: join(folder, 'work') }
  }

  /** `idTokenUrl` null: a job without `id-token: write`. */
  static async open(idTokenUrl: string | null): Promise<Job> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'tvm-job-')))
    const job = new Job(folder, {
      PATH: process.env['PATH'] ?? '',
      GITHUB_ACTIONS: 'true',
      GITHUB_REPOSITORY: 'acme/payments',
      GITHUB_REPOSITORY_ID: '99120',
      GITHUB_RUN_ID: '77',
      GITHUB_RUN_ATTEMPT: '1',
      GITHUB_JOB: 'deploy',
      GITHUB_EVENT_NAME: 'push',
      GITHUB_ACTOR: 'octocat',
      ...(idTokenUrl === null
        ? {}
        : {
            ACTIONS_ID_TOKEN_REQUEST_URL: `${idTokenUrl}/token?api-version=2.0`,
            ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-token',
          }),
    })
    await mkdir(job.temp)
    await mkdir(join(folder, 'work'))
    return job
  }

  /** Runs a bundle as the runner does: command files, INPUT_*, and for post the STATE_* of its main. */
  async run(which: 'main' | 'post', options: StepOptions = {}): Promise<Ran> {
    const files = await this.#commandFiles()
    const env: NodeJS.ProcessEnv = { ...this.env }
    for (const [name, path] of Object.entries(files)) env[`GITHUB_${name}`] = path
    for (const [name, value] of Object.entries(options.inputs ?? {}))
      env[`INPUT_${name.toUpperCase()}`] = value
    for (const [name, value] of Object.entries(options.env ?? {}))
      if (value === undefined) Reflect.deleteProperty(env, name)
      else env[name] = value
    const bundle = join((await build()).folder, `${which}.cjs`)
    const { code, stdout, stderr } = await spawned(bundle, env, (pid) =>
      options.started?.(pid, files),
    )
    const read = async (name: (typeof COMMAND_FILES)[number]) =>
      commandFile(await readFile(files[name], 'utf8'))
    const exported = await read('ENV')
    Object.assign(this.env, exported)
    return {
      code,
      stdout,
      stderr,
      outputs: await read('OUTPUT'),
      summary: await readFile(files.STEP_SUMMARY, 'utf8'),
      exported,
      state: await read('STATE'),
    }
  }

  /** The post step of a main that left `state`. */
  post(state: Ran['state'], options: StepOptions = {}): Promise<Ran> {
    const entries = Object.entries(state).map(([name, value]) => [`STATE_${name}`, value])
    return this.run('post', {
      ...options,
      env: { ...(Object.fromEntries(entries) as Record<string, string>), ...options.env },
    })
  }

  /** Paths of everything below RUNNER_TEMP. */
  async tempFiles(): Promise<string[]> {
    return (await readdir(this.temp, { recursive: true })).sort()
  }

  async close(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }

  async #commandFiles(): Promise<Record<(typeof COMMAND_FILES)[number], string>> {
    const folder = join(this.folder, randomUUID())
    await mkdir(folder)
    const paths = COMMAND_FILES.map((name) => [name, join(folder, name)] as const)
    for (const [, path] of paths) await appendFile(path, '')
    return Object.fromEntries(paths) as Record<(typeof COMMAND_FILES)[number], string>
  }
}

const spawned = (
  bundle: string,
  env: NodeJS.ProcessEnv,
  started: (pid: number) => void,
): Promise<Pick<Ran, 'code' | 'stdout' | 'stderr'>> =>
  new Promise((resolve, reject) => {
    const child = spawn(NODE, [bundle], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, stdout, stderr }))
    if (child.pid !== undefined) started(child.pid)
  })

/** `name<<delimiter`, value, delimiter: the form that the runner reads; the last value of a name wins. */
const commandFile = (text: string): Record<string, string> => {
  const found: Record<string, string> = {}
  const entry = /^([^\n]+?)<<(\S+)\n([\s\S]*?)\n?\2\n/gm
  for (const [, name, , value] of text.matchAll(entry)) found[name!] = value!
  return found
}

/** The lines of a step's log that are not masks. */
export const spoken = (stdout: string): string =>
  stdout
    .split('\n')
    .filter((line) => !line.startsWith('::add-mask::'))
    .join('\n')
    .trim()

export const writeEvent = async (job: Job, event: unknown): Promise<string> => {
  const path = join(job.folder, 'event.json')
  await writeFile(path, JSON.stringify(event))
  return path
}
