import type { PolicyContext } from './grant-file.ts'
import { GRANT_NAME, OWNER_NAME, usualIssuer } from './grant-file.ts'
import type { Pattern, Place } from './grant.ts'
import { ID, readGlob } from './lines.ts'
import { suggest, type Say } from './problem.ts'
import {
  invalid,
  readFields,
  readList,
  readMap,
  readString,
  readText,
  readTexts,
  readVersion,
  type Fields,
} from './read.ts'
import { GUID } from './target-azure.ts'
import { PROVIDER } from './target-gcp.ts'
import { SCOPE } from './target-token.ts'
import { readYaml, type Entry, type Node } from './yaml.ts'

/** What one team's grants may be and name. What is not listed may not be named. */
export interface Owner {
  readonly name: string
  readonly at: Place
  /** Its files stand below it, seen from the policy folder. */
  readonly folder: string
  readonly prefix: string
  /** `<issuer alias>/<owner id>` */
  readonly ids: ReadonlySet<string>
  readonly roles: readonly Pattern[]
  readonly tags: readonly string[]
  /** `<tenant>/<client>` of the Entra apps. */
  readonly clients: readonly string[]
  readonly serviceAccounts: readonly Pattern[]
  /** Of workload identity, for grants that act as themselves. */
  readonly providers: readonly string[]
  /** Scopes by audience. */
  readonly audiences: ReadonlyMap<string, readonly string[]>
}

export interface Owners {
  /** null: the file speaks of no owners, only of retired names. */
  readonly byName: ReadonlyMap<string, Owner> | null
  readonly retired: ReadonlySet<string>
}

const FILE_KEYS = { required: ['version'], optional: ['owners', 'retired'] }
const OWNER_KEYS = {
  required: ['folder', 'prefix', 'owner_ids'],
  optional: ['aws', 'azure', 'gcp', 'token'],
}
const AWS_KEYS = { required: ['roles'], optional: ['tags'] }
const AZURE_KEYS = { required: ['tenant', 'clients'], optional: [] }
const GCP_KEYS = { required: [], optional: ['service_accounts', 'providers'] }
const TOKEN_KEYS = { required: ['audience', 'scope'], optional: [] }

const FOLDER = {
  pattern: /^(?:[A-Za-z0-9][A-Za-z0-9_.-]*\/)*[A-Za-z0-9][A-Za-z0-9_.-]*$/,
  hint: 'a folder below the policies, e.g. payments',
}
const PREFIX = { pattern: /^[a-z][a-z0-9-]{0,61}$/, hint: 'how its grants begin, e.g. payments-' }
const OWNER_ID = { pattern: ID, hint: 'digits, quoted or not' }
const ROLE = /^arn:aws(?:-[a-z]+)*:iam::[0-9]{12}:role\/./
const SERVICE_ACCOUNT = /^[a-z0-9*?-]+@(?:[a-z0-9-]+\.)+gserviceaccount\.com$/
const ANY_TEXT = { pattern: /^.{1,256}$/u, hint: '1 to 256 characters' }

/** `_owners.yaml`: how teams are kept apart. */
export const readOwners = (
  path: string,
  text: string,
  context: PolicyContext,
  say: Say,
): Owners | null => {
  const tree = readYaml(path, text, say)
  const fields = tree === null ? null : readFields(tree, 'the file', FILE_KEYS, say)
  if (fields === null) return null
  readVersion(fields, say)
  const [listed, retired] = [fields.get('owners'), fields.get('retired')]
  const entries = listed === null ? null : readMap(listed, 'owners', say)?.entries.values()
  const owners = [...(entries ?? [])].map((entry) => readOwner(entry, context, say))
  const good = owners.filter((owner) => owner !== null)
  refuseOverlaps(good, say)
  return {
    byName: listed === null ? null : new Map(good.map((owner) => [owner.name, owner])),
    retired: new Set(retired === null ? [] : readTexts(retired, 'retired', GRANT_NAME, say)),
  }
}

const readOwner = ({ key, value }: Entry, context: PolicyContext, say: Say): Owner | null => {
  const name = readText(key, 'the name of an owner', OWNER_NAME, say)
  const fields = readFields(value, `the owner '${key.text}'`, OWNER_KEYS, say)
  if (name === null || fields === null) return null
  const [folder, prefix, ids] = OWNER_KEYS.required.map(fields.get)
  const [aws, azure, gcp, token] = OWNER_KEYS.optional.map(fields.get)
  return {
    name,
    at: key.at,
    folder: (folder && readText(folder, 'folder', FOLDER, say)) ?? '',
    prefix: (prefix && readText(prefix, 'prefix', PREFIX, say)) ?? '',
    ids: new Set(ids ? readIds(ids, context, say) : []),
    ...readAwsBounds(aws ?? null, say),
    clients: azure ? readClients(azure, say) : [],
    ...readGcpBounds(gcp ?? null, say),
    audiences: new Map(token ? readAudiences(token, say) : []),
  }
}

/** A list of ids of the usual issuer, or lists by alias: an id means nothing outside its issuer. */
const readIds = (node: Node, { issuers }: PolicyContext, say: Say): readonly string[] => {
  const usual = usualIssuer(issuers)
  const lists =
    node.kind === 'map'
      ? [...node.entries.values()].map(({ key, value }) => ({ alias: key.text, value }))
      : [{ alias: usual ?? '', value: node }]
  for (const { alias, value } of lists)
    if (!issuers.has(alias))
      say({
        code: 'issuer_unknown',
        at: value.at,
        message: alias === '' ? 'owner_ids names no issuer' : `no issuer is called '${alias}'`,
        hint: `write owner_ids: {<alias>: [<id>]}; ${suggest(alias, [...issuers.keys()])}`,
      })
  return lists.flatMap(({ alias, value }) => idsOf(value, alias, say))
}

const idsOf = (node: Node, alias: string, say: Say): readonly string[] =>
  (readList(node, 'owner_ids', say)?.items ?? []).map((item) => {
    const isNumber = item.kind === 'scalar' && item.is === 'number'
    const scalar = isNumber ? { ...item, is: 'string' as const } : item
    return `${alias}/${readText(scalar, 'an owner id', OWNER_ID, say) ?? ''}`
  })

const readAwsBounds = (node: Node | null, say: Say): Pick<Owner, 'roles' | 'tags'> => {
  const fields = node === null ? null : readFields(node, 'aws', AWS_KEYS, say)
  const [roles, tags] = [fields?.get('roles') ?? null, fields?.get('tags') ?? null]
  const patterns = (roles && readList(roles, 'roles', say)?.items)?.map((item) =>
    readRole(item, say),
  )
  return {
    roles: (patterns ?? []).filter((pattern) => pattern !== null),
    tags: (tags && readTexts(tags, 'tags', ANY_TEXT, say)) ?? [],
  }
}

const readRole = (node: Node, say: Say): Pattern | null => {
  const scalar = readString(node, 'a role', say)
  if (scalar === null) return null
  return ROLE.test(scalar.text)
    ? readGlob(scalar, 'a role', true, say)
    : say(
        invalid(
          node.at,
          'a role is refused',
          'arn:aws:iam::<12 digits>:role/…, with wildcards in the path and name only',
        ),
      )
}

const readClients = (node: Node, say: Say): readonly string[] =>
  (readList(node, 'azure', say)?.items ?? []).flatMap((item) => {
    const fields = readFields(item, 'an entry of azure', AZURE_KEYS, say)
    const [tenant, clients] = AZURE_KEYS.required.map((key) => fields?.get(key) ?? null)
    const id = tenant ? (readText(tenant, 'tenant', GUID, say) ?? '') : ''
    return (clients ? (readTexts(clients, 'clients', GUID, say) ?? []) : []).map(
      (client) => `${id}/${client}`,
    )
  })

const readGcpBounds = (
  node: Node | null,
  say: Say,
): Pick<Owner, 'serviceAccounts' | 'providers'> => {
  const fields = node === null ? null : readFields(node, 'gcp', GCP_KEYS, say)
  const [accounts, providers] = GCP_KEYS.optional.map((key) => fields?.get(key) ?? null)
  const patterns = (accounts && readList(accounts, 'service_accounts', say)?.items)?.map((item) =>
    readServiceAccount(item, say),
  )
  return {
    serviceAccounts: (patterns ?? []).filter((pattern) => pattern !== null),
    providers: (providers && readTexts(providers, 'providers', PROVIDER, say)) ?? [],
  }
}

const readServiceAccount = (node: Node, say: Say): Pattern | null => {
  const scalar = readString(node, 'a service account', say)
  if (scalar === null) return null
  return SERVICE_ACCOUNT.test(scalar.text)
    ? readGlob(scalar, 'a service account', true, say)
    : say(
        invalid(
          node.at,
          'a service account is refused',
          '<name>@<project>.iam.gserviceaccount.com, with wildcards in the name only',
        ),
      )
}

const readAudiences = (node: Node, say: Say): readonly (readonly [string, readonly string[]])[] => {
  const sections = (readList(node, 'token', say)?.items ?? []).map((item) =>
    readFields(item, 'an entry of token', TOKEN_KEYS, say),
  )
  const read = sections
    .filter((fields) => fields !== null)
    .map((fields) => readAudience(fields, say))
  const repeated = read.find(([audience], i) => read.findIndex(([one]) => one === audience) < i)
  if (repeated !== undefined)
    say(invalid(node.at, `the audience ${repeated[0]} is listed twice`, 'list it once'))
  return read
}

const readAudience = (fields: Fields, say: Say): readonly [string, readonly string[]] => {
  const [audience, scope] = [fields.get('audience'), fields.get('scope')]
  return [
    (audience && readText(audience, 'audience', ANY_TEXT, say)) ?? '',
    (scope && readTexts(scope, 'scope', SCOPE, say)) ?? [],
  ]
}

/** Two teams share no folder, no name and, through `share`, no cloud identity. */
const refuseOverlaps = (owners: readonly Owner[], say: Say): void => {
  owners.forEach((owner, i) => {
    for (const other of owners.slice(0, i)) {
      const message = overlapOf(owner, other)
      if (message !== null)
        say({
          code: 'owners_overlap',
          at: owner.at,
          message: `'${owner.name}' and '${other.name}' share ${message}`,
          hint: 'what belongs to two owners is guarded by neither',
        })
    }
  })
}

const overlapOf = (a: Owner, b: Owner): string | null => {
  if (isWithin(`${a.folder}/`, `${b.folder}/`)) return 'a folder'
  if (isWithin(a.prefix, b.prefix)) return 'a prefix'
  if (b.clients.some((client) => a.clients.includes(client))) return 'an Entra app'
  const sources = new Set(a.roles.map(({ source }) => source))
  if (b.roles.some(({ source }) => sources.has(source))) return 'a role'
  const accounts = new Set(a.serviceAccounts.map(({ source }) => source))
  return b.serviceAccounts.some(({ source }) => accounts.has(source)) ? 'a service account' : null
}

const isWithin = (a: string, b: string): boolean => a.startsWith(b) || b.startsWith(a)
