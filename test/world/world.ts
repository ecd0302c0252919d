import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes, randomInt } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { stringify } from 'yaml'
import { readConfig, type Config } from '../../server/config/config.ts'
import { makeLog } from '../../server/log.ts'
import { startBroker, type Running } from '../../server/serve.ts'
import type { World as BrokerWorld } from '../../server/world.ts'
import { startAws, tvmTrustPolicy, type LocalAws } from './aws/index.ts'
import { startGitHub, type LocalGitHub } from './github.ts'
import { startRunner, type Runner } from './runner.ts'

/** The issuer as clouds know it; the local AWS finds it by name, as DNS would have it. */
export const ISSUER_URL = 'https://tvm.example.com'
export const ACCOUNT = '111122223333'
export const BUCKET = 'artifacts'
export const ROOT = join(import.meta.dirname, '../..')
export const ACTION = join(ROOT, 'action.yml')

/** One artifact bucket, ten minutes, one repository, one branch, one environment. */
export const DEPLOY_POLICY = `version: 1
grants:
  payments-deploy:
    description: Upload build artifacts of the payments service
    allow:
      repository_owner_id: 8841
      repository_id: 99120
      repository: acme/payments
      ref: refs/heads/main
      environment: production
      event_name: [push, workflow_dispatch]
    ttl: 10m
    aws:
      role: arn:aws:iam::${ACCOUNT}:role/tvm/payments-deploy
      region: eu-west-1
      session_policy:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Action: [s3:PutObject, s3:GetObject]
            Resource: arn:aws:s3:::${BUCKET}/\${claims.repository_id}/*
`

export interface WorldOptions {
  /** Path below the policy folder → text. Default: the policy above. */
  readonly policies?: Readonly<Record<string, string>>
  /** Further keys of tvm.yaml. */
  readonly config?: Readonly<Record<string, unknown>>
  /** `process`: `tvm serve` as its own process. \`here\`: in this one, on the world's clock. Default: here. */
  readonly broker?: 'process' | 'here'
}

export interface Clock {
  readonly now: () => number
  advance(ms: number): void
}

/** A GitHub, an AWS, a broker and a runner on loopback, that know one another. */
export interface LocalWorld {
  readonly github: LocalGitHub
  readonly aws: LocalAws
  readonly runner: Runner
  /** Drives AWS, and with a broker in this process GitHub and the broker too. */
  readonly clock: Clock
  readonly url: string
  readonly adminUrl: string
  /** Holds tvm.yaml, policies/ and data/. */
  readonly folder: string
  readonly configFile: string
  /** What the broker has logged. */
  log(): string
  /** Ends the broker as SIGTERM would, and starts it again on the same folder. */
  restart(): Promise<void>
  /** Ends the broker alone. */
  stop(): Promise<void>
  close(): Promise<void>
}

/** A role that trusts the broker for one grant, with the rights that its grants narrow. */
export const createGrantRole = (aws: LocalAws, grant: string): void =>
  aws.createRole({
    arn: `arn:aws:iam::${ACCOUNT}:role/tvm/${grant}`,
    trust: tvmTrustPolicy({
      providerArn: `arn:aws:iam::${ACCOUNT}:oidc-provider/tvm.example.com`,
      host: 'tvm.example.com',
      grant,
      audience: 'sts.amazonaws.com',
    }),
    policies: [
      {
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: 's3:*',
            Resource: [`arn:aws:s3:::${BUCKET}`, `arn:aws:s3:::${BUCKET}/*`],
          },
          { Effect: 'Allow', Action: 'sts:AssumeRole', Resource: '*' },
        ],
      },
    ],
  })

export const startWorld = async (options: WorldOptions = {}): Promise<LocalWorld> => {
  const clock = makeClock()
  const folder = mkdtempSync(join(tmpdir(), 'tvm-world-'))
  // A broker of its own has the real time, and so has the GitHub whose tokens it reads.
  const github = await startGitHub({ now: options.broker === 'process' ? Date.now : clock.now })
  const port = await freePort()
  const adminPort = await freePort()
  const url = `http://127.0.0.1:${port}`
  const aws = await startAws({ now: clock.now, resolve: { [ISSUER_URL]: url } })
  aws.createOpenIdConnectProvider({ url: ISSUER_URL, clientIds: ['sts.amazonaws.com'] })
  createGrantRole(aws, 'payments-deploy')
  aws.createBucket(BUCKET)
  writePolicies(folder, options.policies ?? { 'payments/deploy.yaml': DEPLOY_POLICY })
  const configFile = join(folder, 'tvm.yaml')
  const config = {
    listen: `127.0.0.1:${port}`,
    admin_listen: `127.0.0.1:${adminPort}`,
    public_url: url,
    issuer_url: ISSUER_URL,
    aws_endpoint: aws.url,
    issuers: { github: { dialect: 'github', jwks_uri: github.jwksUri } },
    ...options.config,
  }
  writeFileSync(configFile, stringify(config))
  const start = options.broker === 'process' ? startProcess : startHere
  let broker = await start(configFile, clock)
  const runner = startRunner({ github })
  const logs: string[] = []
  return {
    github,
    aws,
    runner,
    clock,
    url,
    adminUrl: `http://127.0.0.1:${adminPort}`,
    folder,
    configFile,
    log: () => [...logs, broker.log()].join(''),
    restart: async () => {
      await broker.stop()
      logs.push(broker.log())
      broker = await start(configFile, clock)
    },
    stop: () => broker.stop(),
    close: async () => {
      await runner.close()
      await broker.stop()
      await Promise.all([aws.close(), github.close()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const makeClock = (): Clock => {
  let offset = 0
  return {
    now: () => Date.now() + offset,
    advance: (ms) => {
      offset += ms
    },
  }
}

const writePolicies = (folder: string, files: Readonly<Record<string, string>>): void => {
  mkdirSync(join(folder, 'policies'))
  for (const [path, text] of Object.entries(files)) {
    const file = join(folder, 'policies', path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
}

/**
 * A port that nobody listens on, below those that the system gives to outgoing connections: one of these would be taken
 * again before the broker opens it.
 */
export const freePort = async (): Promise<number> => {
  const port = randomInt(10_000, 30_000)
  const server = createServer()
  const free = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!free) return freePort()
  await new Promise((resolve) => server.close(resolve))
  return port
}

interface StartedBroker {
  log(): string
  stop(): Promise<void>
}

export const configOf = (file: string, text: string): Config => {
  const config = readConfig({ env: {}, cwd: dirname(file), file: { path: file, text } })
  if (Array.isArray(config)) throw new Error(JSON.stringify(config))
  return config as Config
}

const startHere = async (configFile: string, clock: Clock): Promise<StartedBroker> => {
  const lines: string[] = []
  const world: BrokerWorld = {
    now: clock.now,
    random: (bytes) => randomBytes(bytes),
    fetch: globalThis.fetch,
    sleep: (ms, signal) => sleep(ms, undefined, signal === undefined ? {} : { signal }),
  }
  const log = makeLog('info', { write: (line) => void lines.push(line) })
  const config = configOf(configFile, readFileSync(configFile, 'utf8'))
  let running: Running | null = await startBroker(config, world, log)
  return {
    log: () => lines.join(''),
    stop: async () => {
      await running?.close()
      running = null
    },
  }
}

const startProcess = async (configFile: string): Promise<StartedBroker> => {
  const lines: string[] = []
  const main = join(ROOT, 'server/main.ts')
  const child = spawn(process.execPath, [main, 'serve', '--config', configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] },
  })
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => void lines.push(text))
  const { admin_listen } = configOf(configFile, readFileSync(configFile, 'utf8'))
  const readyz = `http://127.0.0.1:${admin_listen.port}/readyz`
  while (!(await answers(readyz))) {
    if (child.exitCode !== null) throw new Error(`tvm serve ended: ${lines.join('')}`)
    await sleep(20)
  }
  return { log: () => lines.join(''), stop: () => stopProcess(child) }
}

const answers = (url: string): Promise<boolean> =>
  fetch(url).then(
    (response) => response.ok,
    () => false,
  )

const stopProcess = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exited
}
