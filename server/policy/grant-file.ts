import type { Dialect } from '../identity/dialects.ts'
import { readAllow, readDeny } from './block.ts'
import type { Grant, Place, PolicyProblem } from './grant.ts'
import { collectFindings, suggest, type Say } from './problem.ts'
import {
  invalid,
  readBoolean,
  readDuration,
  readFields,
  readList,
  readMap,
  readString,
  readText,
  readVersion,
  type Fields,
} from './read.ts'
import { FOREIGN_TARGETS, readTargets, TARGET_NAMES } from './target.ts'
import { readYaml, type Entry } from './yaml.ts'

/** What a policy may lean on that no policy says. */
export interface PolicyContext {
  /** By alias. One may be the default, for files that name none. */
  readonly issuers: ReadonlyMap<string, { readonly dialect: Dialect; readonly default: boolean }>
  /** Audiences that the operator lets the `token` target make tokens for. */
  readonly tokenAudiences: readonly string[]
}

/** One file as read: its grants count only when nothing in it was complained of. */
export interface GrantFile {
  readonly path: string
  readonly owner: { readonly name: string; readonly at: Place } | null
  /** The names it lays claim to, even when it is bad: another file's grant of that name is then in doubt. */
  readonly names: readonly { readonly name: string; readonly at: Place }[]
  readonly grants: readonly Grant[]
  readonly problems: readonly PolicyProblem[]
}

export const GRANT_NAME = {
  pattern: /^[a-z][a-z0-9-]{1,62}$/,
  hint: '2 to 63 lower-case letters, digits and hyphens, a letter first',
}
export const OWNER_NAME = {
  pattern: /^[a-z][a-z0-9-]{1,62}$/,
  hint: '2 to 63 lower-case letters, digits and hyphens, a letter first',
}

const FILE_KEYS = { required: ['version', 'grants'], optional: ['owner', 'issuer'] }
const GRANT_KEYS = {
  required: ['allow'],
  optional: [
    'description',
    'deny',
    'bearer',
    'require',
    'ttl',
    'session',
    'accept_lifetime',
    ...TARGET_NAMES,
    ...FOREIGN_TARGETS,
  ],
}

const MINUTE = 60
const DEFAULT_TTL = 15 * MINUTE
const MAX_TTL = 60 * MINUTE
const MAX_SESSION = 24 * 60 * MINUTE
const MAX_DESCRIPTION = 500

export const readGrantFile = (path: string, text: string, context: PolicyContext): GrantFile => {
  const { say, problems } = collectFindings()
  const tree = readYaml(path, text, say)
  const fields = tree === null ? null : readFields(tree, 'the file', FILE_KEYS, say)
  if (fields === null) return { path, owner: null, names: [], grants: [], problems }
  readVersion(fields, say)
  const owner = readOwner(fields, say)
  const issuer = readIssuer(fields, context, say)
  const listed = fields.get('grants')
  const entries = [...((listed && readMap(listed, 'grants', say))?.entries.values() ?? [])]
  const names = entries.map(({ key }) => ({ name: key.text, at: key.at }))
  if (issuer === null) return { path, owner, names, grants: [], problems }
  const reading = { ...issuer, owner: owner?.name ?? null, context, say }
  const grants = entries.map((entry) => readGrant(entry, reading)).filter((grant) => grant !== null)
  return { path, owner, names, grants: problems.length === 0 ? grants : [], problems }
}

const readOwner = (fields: Fields, say: Say): GrantFile['owner'] => {
  const node = fields.get('owner')
  const name = node === null ? null : readText(node, 'owner', OWNER_NAME, say)
  return node === null || name === null ? null : { name, at: node.at }
}

interface Issuer {
  readonly alias: string
  readonly dialect: Dialect
}

const readIssuer = (fields: Fields, { issuers }: PolicyContext, say: Say): Issuer | null => {
  const node = fields.get('issuer')
  const named = node === null ? null : readString(node, 'issuer', say)
  if (node !== null && named === null) return null
  const alias = named?.text ?? usualIssuer(issuers)
  const issuer = alias === undefined ? undefined : issuers.get(alias)
  if (alias !== undefined && issuer !== undefined) return { alias, dialect: issuer.dialect }
  return say({
    code: 'issuer_unknown',
    at: node?.at ?? fields.at,
    message: alias === undefined ? 'the file names no issuer' : `no issuer is called '${alias}'`,
    hint: `write issuer: <alias>; ${suggest(alias ?? '', [...issuers.keys()])}`,
  })
}

/** Alias of the issuer that is meant where none is named: the only one, or the one marked as default. */
export const usualIssuer = (issuers: PolicyContext['issuers']): string | undefined => {
  const usual = issuers.size === 1 ? [...issuers] : [...issuers].filter(([, one]) => one.default)
  return usual.length === 1 ? usual[0]?.[0] : undefined
}

interface Reading extends Issuer {
  readonly owner: string | null
  readonly context: PolicyContext
  readonly say: Say
}

const readGrant = ({ key, value }: Entry, reading: Reading): Grant | null => {
  const { alias, dialect, owner, context, say } = reading
  refuseName(key.text, key.at, say)
  const fields = readFields(value, `the grant '${key.text}'`, GRANT_KEYS, say)
  if (fields === null) return null
  refuseRequirements(fields, say)
  const allow = fields.get('allow')
  const deny = fields.get('deny')
  const blocks = allow === null ? null : readAllow(allow, dialect, say)
  const times = readTimes(fields, say)
  const { tokenAudiences } = context
  const targets = readTargets(fields, {
    dialect,
    tokenAudiences,
    ttl: times.ttl,
    acceptLifetime: times.acceptLifetime,
    say,
  })
  if (blocks === null) return null
  return {
    name: key.text,
    description: readDescription(fields, say),
    owner,
    issuer: alias,
    at: key.at,
    allow: blocks,
    deny: deny === null ? [] : readDeny(deny, dialect, say),
    bearer: readBearer(fields, say),
    require: [],
    ...times,
    targets,
  }
}

const refuseName = (name: string, at: Place, say: Say): void => {
  if (GRANT_NAME.pattern.test(name)) return
  say({
    code: 'grant_name_refused',
    at,
    message: 'the name of the grant is refused',
    hint: GRANT_NAME.hint,
  })
}

/** A requirement that nobody checks would be an allow: this version knows none. */
const refuseRequirements = (fields: Fields, say: Say): void => {
  const node = fields.get('require')
  const list = node === null ? null : readList(node, 'require', say)
  for (const item of list?.items ?? [])
    say({
      code: 'requirement_unknown',
      at: item.at,
      message: `this version lacks the requirement '${item.kind === 'scalar' ? item.text : '…'}'`,
      hint: 'it has none: a requirement that nobody checks must not be relied on',
    })
}

const readTimes = (fields: Fields, say: Say) => {
  const duration = (key: string, cap: number): number | null => {
    const node = fields.get(key)
    return node === null ? null : readDuration(node, key, cap, say)
  }
  const ttl = duration('ttl', MAX_TTL) ?? DEFAULT_TTL
  const session = duration('session', MAX_SESSION) ?? ttl
  if (session < ttl)
    say(
      invalid(
        fields.get('session')?.at ?? fields.at,
        'the session is shorter than the ttl',
        'session is how long the job may renew: at least ttl (15m where none is written)',
      ),
    )
  return { ttl, session, acceptLifetime: duration('accept_lifetime', MAX_SESSION) }
}

const readDescription = (fields: Fields, say: Say): string => {
  const node = fields.get('description')
  const text = node === null ? '' : (readString(node, 'description', say)?.text ?? '')
  if (node !== null && text.length > MAX_DESCRIPTION)
    say(invalid(node.at, 'description is too long', `at most ${MAX_DESCRIPTION} characters`))
  return text
}

const readBearer = (fields: Fields, say: Say): boolean => {
  const node = fields.get('bearer')
  return (node && readBoolean(node, 'bearer', say)) ?? false
}
