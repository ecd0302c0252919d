import { readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { makeBroker } from './broker/broker.ts'
import type { Endpoint } from './broker/ports.ts'
import { CommandError } from './cli/terminal.ts'
import { databasePath, type Config } from './config/config.ts'
import { blockList, isLoopback } from './config/values.ts'
import { healthOf } from './health.ts'
import { makeAdminApp } from './http/admin.ts'
import { makeApp } from './http/app.ts'
import { startListener, type Listener } from './http/listen.ts'
import { makeObserver } from './http/observer.ts'
import { parseStrictJson } from './identity/json.ts'
import { remoteKeys, staticKeys, type KeySource } from './identity/keys.ts'
import {
  verifyPresented,
  type ConfiguredIssuer,
  type Presented,
  type Trust,
} from './identity/verify.ts'
import {
  cloudDiscovery,
  DISCOVERY_PATH,
  jwks,
  JWKS_PATH,
  tokenDiscovery,
} from './issuer/discovery.ts'
import { createKeys, openKeys, type Keys } from './issuer/key-set.ts'
import type { Log } from './log.ts'
import { parsePolicySet } from './policy/parse.ts'
import { formatProblem } from './policy/problem.ts'
import type { PolicySource } from './policy/source.ts'
import type { Limits } from './session/admit.ts'
import { makeStrangers, type Strangers } from './session/strangers.ts'
import { openDirectory, type DirectoryChange } from './source/directory.ts'
import { openSqlite } from './store/sqlite.ts'
import type { Store } from './store/store.ts'
import { makeTargets, mintAllWith } from './targets/index.ts'
import type { World } from './world.ts'

/** Everything that the listeners stand on. */
interface House {
  readonly config: Config
  readonly world: World
  readonly log: Log
  readonly keys: Keys
  readonly store: Store
  readonly policies: PolicySource
  readonly issuers: ReadonlyMap<string, ConfiguredIssuer>
  readonly strangers: Strangers
}

export interface Running {
  readonly listener: Listener
  readonly admin: Listener
  /** Stops listening, lets open requests finish, closes the store; bounded. */
  close(): Promise<void>
}

/** Why the public listener takes no requests; null: it does. */
interface Door {
  shut: string | null
}

const GRACE_MS = 10_000
const MINUTE_MS = 60_000

/** Wires the house and opens its doors; rejects, with nothing left open, when a part cannot start. */
export const startBroker = async (config: Config, world: World, log: Log): Promise<Running> => {
  await using opening = new AsyncDisposableStack()
  trustCertificates(config)
  const keys = await keysOf(config, world)
  const issuers = await openIssuers(config, world, log)
  const policies = await openPolicies(config, world, log)
  opening.defer(() => policies.close())
  const store = await openSqlite({
    path: databasePath(config),
    maxBytes: config.max_database_mb * 1024 * 1024,
  })
  opening.defer(() => store.close())
  const strangers = makeStrangers({
    burst: config.limit_address,
    perSecond: config.limit_address / 60,
  })
  const house: House = { config, world, log, keys, store, policies, issuers, strangers }
  await note(house, 'broker.started')
  opening.defer(() => note(house, 'broker.stopped'))
  const doors = await openDoors(house, opening)
  const opened = opening.move()
  return { ...doors, close: () => opened.disposeAsync() }
}

/** A file that the configuration names; an error for people when it cannot be read. */
const fileOf = (key: string, file: string): string => {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown'
    throw new CommandError(`${file} cannot be read (${code})`, [`It is what ${key} names.`])
  }
}

/** Process-wide, so that every SDK and fetch trust them as well. */
const trustCertificates = ({ ca_certificates }: Config): void => {
  if (ca_certificates.length === 0) return
  const more = ca_certificates.map((file) => fileOf('ca_certificates', file))
  setDefaultCACertificates([...getCACertificates('default'), ...more])
}

/** Keys made by this start are for trying out: for a broker that others can reach they must have been put there. */
const keysOf = ({ listen, public_url, data }: Config, { random }: World): Promise<Keys> =>
  isLoopback(listen.host) && isLoopback(new URL(public_url).hostname)
    ? createKeys(data, random)
    : openKeys(data, random)

const openIssuers = async (
  config: Config,
  world: World,
  log: Log,
): Promise<ReadonlyMap<string, ConfiguredIssuer>> => {
  const opened = new Map<string, ConfiguredIssuer>()
  for (const each of config.issuers) {
    const { alias, dialect, issuer } = each
    const keys =
      each.jwksFile === null
        ? remoteKeys({ jwksUri: each.jwksUri, world, staleMs: config.jwks_stale, log })
        : await fileKeys(each.jwksFile)
    opened.set(issuer, { alias, dialect, issuer, keys })
  }
  return opened
}

const fileKeys = async (file: string): Promise<KeySource> => {
  const json = parseStrictJson(fileOf('jwks_file', file))
  if (!json.ok)
    throw new CommandError(`${file}: ${json.problem}`, ['Put the JWKS of the issuer there.'])
  return staticKeys(json.value)
}

/** A file that is refused denies its own grants; a folder of which nothing could be loaded is an error of the start. */
const openPolicies = async (config: Config, world: World, log: Log): Promise<PolicySource> => {
  const sole = config.issuers.length === 1
  const issuers = new Map(
    config.issuers.map(({ alias, dialect, isDefault }) => [
      alias,
      { dialect, default: isDefault || sole },
    ]),
  )
  const context = { issuers, tokenAudiences: config.token_audiences }
  const source = await openDirectory({
    folder: config.policies,
    parse: (files, revision) => parsePolicySet(files, context, revision),
    world,
    onChange: (change) => tellPolicies(change, log),
  })
  const set = source.current()?.set
  if (set !== undefined && set.grants.size > 0 && set.closed === null) return source
  await source.close()
  const found = set?.problems ?? []
  throw new CommandError(
    `no grant could be loaded from ${config.policies}`,
    found.length === 0
      ? ['Set policies to the folder that holds your policy files.']
      : found.map(formatProblem),
  )
}

const tellPolicies = (change: DirectoryChange, log: Log): void => {
  if (change.kind === 'failed') {
    log.error('the policies could not be read', { cause: change.cause })
    return
  }
  const { problems, revision, grants } = change.set
  for (const problem of problems)
    log.error('policy problem', { code: problem.code, about: formatProblem(problem) })
  log.info('policies loaded', { revision, count: grants.size })
}

/** The admin door opens first and shuts last: it tells whether the public one is open. */
const openDoors = async (
  house: House,
  opening: AsyncDisposableStack,
): Promise<Pick<Running, 'listener' | 'admin'>> => {
  const { config, world, log } = house
  const observer = makeObserver(log, world)
  const app = makeApp({
    broker: makeBroker(brokerParts(house)),
    world,
    proxies: blockList(config.trusted_proxies),
    published: published(house),
    observer,
    takeAddress: (address, now) => house.strangers.takeAddress(address, now),
  })
  const door: Door = { shut: 'it is not open yet' }
  const health = () => healthOf({ ...house, shut: door.shut, maxPolicyAge: config.max_policy_age })
  const { fetch } = makeAdminApp({ health, observer, world })
  const admin = await startListener({ ...config.admin_listen, fetch, tls: null, world, observer })
  opening.defer(() => admin.close(0))
  const flushing = setInterval(() => void flushStrangers(house), MINUTE_MS)
  opening.defer(async () => {
    clearInterval(flushing)
    await flushStrangers(house)
  })
  const tls = tlsOf(config)
  const listener = await startListener({ ...config.listen, fetch: app.fetch, tls, world, observer })
  opening.defer(() => {
    door.shut = 'it is stopping'
    return listener.close(GRACE_MS)
  })
  door.shut = null
  log.info('listening', {
    listen: `${listener.host}:${listener.port}`,
    public_url: config.public_url,
    issuer_url: config.issuer_url,
  })
  return { listener, admin }
}

const tlsOf = ({ tls_cert, tls_key }: Config) =>
  tls_cert === null || tls_key === null
    ? null
    : { cert: fileOf('tls_cert', tls_cert), key: fileOf('tls_key', tls_key) }

const brokerParts = ({ config, world, keys, store, policies, issuers, strangers }: House) => {
  const targets = makeTargets({
    signer: keys.cloud,
    tokenSigner: keys.tokens,
    issuerUrl: config.issuer_url,
    tokenIssuerUrl: tokenIssuerUrl(config),
    world,
    aws: { endpoint: config.aws_endpoint },
    azure: { authority: config.azure_authority },
    gcp: { endpoint: config.gcp_endpoint },
    token: { audiences: config.token_audiences },
  })
  return {
    world,
    verify: (presented: Presented, endpoint: Endpoint, now: number) =>
      verifyPresented(presented, trustOf(endpoint, config, issuers), now),
    policies,
    maxPolicyAge: config.max_policy_age,
    strangers,
    limits: limitsOf(config),
    store,
    sessionKey: keys.session,
    mintAll: mintAllWith(targets),
  }
}

const ENDPOINTS = {
  'POST /v1/sessions': { htm: 'POST', path: '/v1/sessions' },
  'GET /v1/grants': { htm: 'GET', path: '/v1/grants' },
} as const satisfies Record<Endpoint, unknown>

/** A proof names the method, and our configured URL with the path. */
const trustOf = (endpoint: Endpoint, config: Config, issuers: House['issuers']): Trust => {
  const { htm, path } = ENDPOINTS[endpoint]
  return { issuers, audience: config.audience, htm, htu: config.public_url + path }
}

const tokenIssuerUrl = ({ public_url }: Config): string => `${public_url}/tokens`

const limitsOf = (config: Config): Limits => {
  const perMinute = (count: number) => ({ count, length: MINUTE_MS })
  return {
    issuer: perMinute(config.limit_issuer),
    owner: perMinute(config.limit_owner),
    repository: perMinute(config.limit_repository),
    job: perMinute(config.limit_job),
  }
}

const published = ({ config, keys }: House) => ({
  [DISCOVERY_PATH]: cloudDiscovery(config.issuer_url),
  [JWKS_PATH]: jwks(keys.cloud),
  [`/tokens${DISCOVERY_PATH}`]: tokenDiscovery(tokenIssuerUrl(config)),
  [`/tokens${JWKS_PATH}`]: jwks(keys.tokens),
  // RFC 8414 section 3.1: the well-known part stands before the issuer's path.
  '/.well-known/oauth-authorization-server/tokens': tokenDiscovery(tokenIssuerUrl(config)),
})

const flushStrangers = async ({ strangers, store, world, log }: House): Promise<void> => {
  const body = strangers.flush(world.now())
  if (body === null) return
  await store
    .commit({ kind: 'note', now: world.now(), body })
    .catch((error: unknown) =>
      log.error('the summary of strangers was lost', { cause: String(error) }),
    )
}

const note = async (
  { store, world, policies }: House,
  event: 'broker.started' | 'broker.stopped',
): Promise<void> => {
  const revision = policies.current()?.set.revision ?? ''
  await store.commit({ kind: 'note', now: world.now(), body: { event, revision } })
}
