import { join, resolve } from 'node:path'
import {
  choice,
  cidr,
  count,
  duration,
  flag,
  isLoopback,
  list,
  listen,
  path,
  uri,
  url,
  type ConfigProblem,
  type Listen,
  type Reader,
} from './values.ts'
import { audienceProblem } from '../targets/token.ts'
import { readIssuers, type IssuerConfig } from './issuers.ts'
import { readSource, type ConfigInput, type Source } from './source.ts'
import type { LogLevel } from '../log.ts'

interface Values {
  listen: Listen
  admin_listen: Listen
  public_url: string | null
  issuer_url: string | null
  audience: string | null
  policies: string
  data: string
  tls_cert: string | null
  tls_key: string | null
  tls_terminated: boolean
  trusted_proxies: readonly string[]
  ca_certificates: readonly string[]
  token_audiences: readonly string[]
  aws_endpoint: string | null
  azure_authority: string | null
  gcp_endpoint: string | null
  jwks_stale: number
  max_policy_age: number
  max_database_mb: number
  limit_address: number
  limit_issuer: number
  limit_owner: number
  limit_repository: number
  limit_job: number
  log_level: LogLevel
}

export type ConfigKey = keyof Values

/** Durations in milliseconds, limits per minute. */
export type Config = Readonly<Omit<Values, 'public_url' | 'issuer_url' | 'audience'>> & {
  readonly public_url: string
  readonly issuer_url: string
  readonly audience: string
  readonly issuers: readonly IssuerConfig[]
  /** Names of TVM_ variables that mean nothing here (a Kubernetes service called tvm makes some). */
  readonly ignored: readonly string[]
}

export const databasePath = ({ data }: Config): string => join(data, 'tvm.db')

type Row<T> = readonly [Reader<T & {}>, T]

const endpoint = url({ path: false, port: true })

/** Every key: how it is read, and what it is when nobody says. `TVM_<KEY>` wins over tvm.yaml. */
export const KEYS: { readonly [K in ConfigKey]: Row<Values[K]> } = {
  listen: [listen, { host: '127.0.0.1', port: 8080 }],
  admin_listen: [listen, { host: '127.0.0.1', port: 8081 }],
  public_url: [endpoint, null],
  issuer_url: [url({ path: true, port: false }), null],
  audience: [uri, null],
  policies: [path, 'policies'],
  data: [path, 'data'],
  tls_cert: [path, null],
  tls_key: [path, null],
  tls_terminated: [flag, false],
  trusted_proxies: [list(cidr), []],
  ca_certificates: [list(path), []],
  token_audiences: [list(uri), []],
  aws_endpoint: [endpoint, null],
  azure_authority: [endpoint, null],
  gcp_endpoint: [endpoint, null],
  jwks_stale: [duration('0s', '24h'), 4 * 3_600_000],
  max_policy_age: [duration('1m', '168h'), 24 * 3_600_000],
  max_database_mb: [count(16, 16_777_216), 4096],
  limit_address: [count(1, 1_000_000), 300],
  limit_issuer: [count(1, 1_000_000), 6000],
  limit_owner: [count(1, 1_000_000), 1200],
  limit_repository: [count(1, 1_000_000), 300],
  limit_job: [count(1, 1_000_000), 30],
  log_level: [choice('debug', 'info', 'warn', 'error', 'silent'), 'info'],
}

/** Environment and tvm.yaml → Config, or every problem at once. */
export const readConfig = (input: ConfigInput): Config | readonly ConfigProblem[] => {
  const problems: ConfigProblem[] = []
  const source = readSource(input)
  problems.push(...source.problems, ...unknownKeys(source))
  const values = readValues(input, source, problems)
  const issuers = readIssuers(source, problems)
  const config = complete(values, issuers, ignoredNames(input.env))
  const broken = new Set(problems.map((problem) => problem.key))
  const crossed = [...crossProblems(values, config), ...audienceProblems(config)]
  problems.push(...crossed.filter((problem) => !broken.has(problem.key)))
  return problems.length > 0 ? problems : config
}

const unknownKeys = (source: Source): readonly ConfigProblem[] =>
  [...source.values]
    .filter(([key]) => key !== 'issuers' && !Object.hasOwn(KEYS, key))
    .map(([key, { at }]) => ({ at, key, message: 'is not a key of tvm.yaml' }))

const envName = (key: string): string => `TVM_${key.toUpperCase()}`

const ignoredNames = (env: ConfigInput['env']): readonly string[] =>
  Object.keys(env)
    .filter((name) => name.startsWith('TVM_') && name !== 'TVM_CONFIG')
    .filter((name) => !Object.keys(KEYS).some((key) => envName(key) === name))

const readValues = (input: ConfigInput, source: Source, problems: ConfigProblem[]): Values => {
  const values: Record<string, unknown> = {}
  for (const [key, [read, otherwise]] of Object.entries(KEYS) as [ConfigKey, Row<unknown>][]) {
    const env = input.env[envName(key)]
    const given =
      env === undefined || env === '' ? source.values.get(key) : { value: env, at: envName(key) }
    const base = given?.at === envName(key) ? input.cwd : source.base
    values[key] =
      typeof otherwise === 'string' && read === path ? resolve(base, otherwise) : otherwise
    if (given === undefined) continue
    const result = read(given.value, base)
    if ('problem' in result) problems.push({ at: given.at, key, message: result.problem })
    else values[key] = result.value
  }
  return values as unknown as Values
}

const complete = (
  values: Values,
  issuers: readonly IssuerConfig[],
  ignored: readonly string[],
): Config => {
  const { host, port } = values.listen
  const scheme = values.tls_cert === null ? 'http' : 'https'
  const own = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
  const public_url = values.public_url ?? own
  return {
    ...values,
    public_url,
    issuer_url: values.issuer_url ?? public_url,
    audience: values.audience ?? public_url,
    issuers,
    ignored,
  }
}

const crossProblems = (values: Values, config: Config): readonly ConfigProblem[] => {
  const problems: ConfigProblem[] = []
  const say = (key: string, message: string): void =>
    void problems.push({ at: 'configuration', key, message })
  const remote = !isLoopback(config.listen.host)
  if ((config.tls_cert === null) !== (config.tls_key === null))
    say('tls_key', 'tls_cert and tls_key go together')
  if (remote && config.tls_cert === null && !config.tls_terminated)
    say('listen', 'is not a loopback address: set tls_cert and tls_key, or tls_terminated: true')
  if (remote && values.public_url === null)
    say('public_url', 'must be set when the broker listens on other than a loopback address')
  if (!remote && config.listen.port === 0 && values.public_url === null)
    say('public_url', 'must be set when the system chooses the port')
  if (!isLoopback(config.admin_listen.host) && !config.tls_terminated)
    say('admin_listen', 'is not a loopback address, and speaks no TLS: set tls_terminated: true')
  // One `iss` with two keys: a service's token would then be one that clouds trust.
  if (config.issuer_url === `${config.public_url}/tokens`)
    say('issuer_url', 'is the address of the token issuer')
  const { listen: a, admin_listen: b } = config
  if (a.port !== 0 && a.port === b.port && a.host === b.host)
    say('admin_listen', 'must be another address than listen')
  const aliases = config.issuers.map((issuer) => issuer.issuer)
  if (new Set(aliases).size < aliases.length) say('issuers', 'two aliases name one issuer')
  if (config.issuers.filter((issuer) => issuer.isDefault).length > 1)
    say('issuers', 'only one issuer can be the default')
  return problems
}

const audienceProblems = (config: Config): readonly ConfigProblem[] => {
  const own = {
    publicUrl: config.public_url,
    issuerUrl: config.issuer_url,
    audience: config.audience,
  }
  return config.token_audiences.flatMap((audience) => {
    const message = audienceProblem(audience, own)
    return message === null ? [] : [{ at: 'configuration', key: 'token_audiences', message }]
  })
}
