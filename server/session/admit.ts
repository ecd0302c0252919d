import { createHash } from 'node:crypto'
import { isId } from '../id.ts'
import type { Principal } from '../identity/principal.ts'
import type { Refusal, Result } from '../refusal.ts'
import { accept, refuse } from '../refusal.ts'
import type { Bucket, Committed, Lock, Looked, OneTime } from './store.ts'

/** Step 3: an owner that no loaded grant names is a stranger. `owners`: `PolicySet.owners`. */
export const admitOwner = (owners: ReadonlySet<string>, principal: Principal): Result<null> =>
  owners.has(`${principal.issuer}/${principal.ownerId}`)
    ? accept(null)
    : refuse('owner_unknown', { about: principal.ownerId })

/**
 * Steps 4, 5 and 6, in this order, on one snapshot of the store. Locks come with every look from where operators write
 * them, so they are never older than the exchange; a look that fails is a broken store, and nothing is minted.
 */
export const admit = (looked: Looked): Result<null> => {
  const lock = looked.locks.find(({ subject }) => kindOf(subject) !== 'grant')
  if (lock !== undefined) return lockRefusal(lock)
  if (looked.full.length > 0) return limitRefusal(looked.full)
  if (looked.used.length > 0) return replayRefusal(looked.used)
  return accept(null)
}

/**
 * The locks on the grants themselves. They are judged once the policy has allowed: who may not have a grant must not learn from its
 * lock that there is one.
 */
export const admitGrants = ({ locks }: Looked): Result<null> => {
  const [lock] = locks
  return lock === undefined ? accept(null) : lockRefusal(lock)
}

const lockRefusal = ({ id, subject }: Lock): Refusal =>
  refuse('locked', { about: kindOf(subject), cause: `${id} ${subject}` })

type Undone = Extract<Committed, { readonly done: false }>

/** `unchanged` answers `end` alone; an exchange that met it would have nothing to hand out either. */
const UNDONE = {
  replayed: (keys) => replayRefusal(keys),
  limited: (keys) => limitRefusal(keys),
  raced: (keys) => refuse('session_bound', { cause: `raced ${keys.join(' ')}` }),
  withheld: (keys) => refuse('withheld', { cause: keys.join(' ') }),
  unchanged: (keys) => refuse('withheld', { cause: `unchanged ${keys.join(' ')}` }),
} as const satisfies Record<Undone['because'], (keys: readonly string[]) => Refusal>

/** What the caller hears when a commit of its exchange was not done. */
export const commitRefusal = (committed: Undone): Refusal =>
  UNDONE[committed.because](committed.keys ?? [])

const limitRefusal = (keys: readonly string[]): Refusal =>
  refuse('rate_limited', { about: kindOf(keys[0] ?? ''), cause: keys.join(' ') })

const replayRefusal = (keys: readonly string[]): Refusal =>
  refuse(keys.every((key) => kindOf(key) === 'proof') ? 'proof_replayed' : 'token_replayed', {
    cause: keys.join(' '),
  })

/** What stands before the first colon: our own word, so it may be shown. */
const kindOf = (key: string): string => key.split(':', 1)[0] ?? ''

/**
 * Everything about an exchange that an operator's lock may name. `sessions`: ids, where they are known; the store adds
 * those of the rows it reads and writes.
 */
export const lockSubjects = (
  principal: Principal,
  grants: readonly string[],
  sessions: readonly string[] = [],
): readonly string[] => {
  const { issuer, dialect, claims } = principal
  const actor = claims[dialect.actorId]
  const subjects = [
    'all',
    `issuer:${issuer}`,
    `key:${issuer}:${principal.kid}`,
    `owner:${issuer}:${principal.ownerId}`,
    `repository:${issuer}:${principal.repositoryId}`,
    ...dialect.workflows.map((name) => claims[name]).flatMap(workflowNames(issuer)),
    ...(actor === undefined ? [] : [`actor:${issuer}:${actor}`]),
    ...grants.map((grant) => `grant:${grant}`),
    `job:${principal.job}`,
    ...sessions.map((id) => `session:${id}`),
  ]
  return [...new Set(subjects)]
}

/** A workflow can be locked at one ref, or whatever its ref. */
const workflowNames =
  (issuer: string) =>
  (ref: string | undefined): string[] => {
    if (ref === undefined) return []
    const names = [...pathsOf(ref), ref]
    return names.map((name) => `workflow:${issuer}:${name}`)
  }

/** What stands before an `@`. File names and refs may hold one too, so every end of a YAML file name counts as one. */
const pathsOf = (ref: string): string[] =>
  [...ref.matchAll(/@/g)]
    .map(({ index }) => ref.slice(0, index))
    .filter((path, place) => place === 0 || /\.ya?ml$/.test(path))

export type LockKind =
  | 'all'
  | 'issuer'
  | 'key'
  | 'owner'
  | 'repository'
  | 'workflow'
  | 'actor'
  | 'grant'
  | 'job'
  | 'session'

const ALIAS = '[a-z][a-z0-9-]{0,62}'
const WORD = String.raw`[^\s\p{Cc}]{1,1024}`

/** What may stand after `<kind>:`. Only forms that `lockSubjects` makes: a lock that can never hold is an error. */
const SUBJECTS = {
  all: /^$/,
  issuer: new RegExp(`^${ALIAS}$`),
  key: new RegExp(`^${ALIAS}:${WORD}$`, 'u'),
  owner: new RegExp(`^${ALIAS}:[1-9][0-9]*$`),
  repository: new RegExp(`^${ALIAS}:[1-9][0-9]*$`),
  workflow: new RegExp(`^${ALIAS}:[^\\s/@]+/[^\\s/@]+/${WORD}$`, 'u'),
  actor: new RegExp(`^${ALIAS}:[1-9][0-9]*$`),
  grant: /^[a-z][a-z0-9-]{1,62}$/,
  job: new RegExp(`^${ALIAS}/[1-9][0-9]*/${WORD}$`, 'u'),
  session: { test: (text: string) => isId('ses', text) },
} as const satisfies Record<LockKind, { test(text: string): boolean }>

const isLockKind = (text: string): text is LockKind => Object.hasOwn(SUBJECTS, text)

/** Validates what an operator wrote: `all`, or `<kind>:<what>`. `request_invalid` with the reason as its cause. */
export const parseLockSubject = (text: string): Result<string> => {
  const kind = kindOf(text)
  const rest = text.slice(kind.length + 1)
  if (!isLockKind(kind)) {
    const kinds = Object.keys(SUBJECTS).join(', ')
    return refuse('request_invalid', { about: 'subject', cause: `a lock is on one of ${kinds}` })
  }
  if (!SUBJECTS[kind].test(rest) || (kind === 'all' && text !== 'all'))
    return refuse('request_invalid', {
      about: 'subject',
      cause: `not a ${kind} that can be locked`,
    })
  return accept(text)
}

/** How far apart the clocks may be of those who let a token live and of us who remember it: generous, for it costs a row. */
const REMEMBER_LONGER = 60_000

/**
 * The values that may be shown once. They are remembered as digests: a row has one size whoever wrote the `jti`. A token's is
 * unique to its issuer; a proof's to the key that signed it (RFC 9449 section 11.1).
 */
export const onceValues = (principal: Principal): readonly OneTime[] => {
  const until = principal.replayableUntil + REMEMBER_LONGER
  const token = { key: `token:${principal.issuer}:${digest(principal.jti)}`, until }
  if (principal.proofJti === null) return [token]
  const signer = principal.jkt ?? principal.tokenHash
  return [token, { key: `proof:${signer}:${digest(principal.proofJti)}`, until }]
}

const digest = (text: string): string => createHash('sha256').update(text).digest('base64url')

/** At most `count` exchanges in each window of `length` milliseconds. */
export interface Limit {
  readonly count: number
  readonly length: number
}

export interface Limits {
  readonly issuer: Limit
  readonly owner: Limit
  readonly repository: Limit
  readonly job: Limit
}

const MINUTE = 60_000

/** A matrix of 256 jobs that starts at once, with two steps each, passes; one job in a loop does not. */
export const DEFAULT_LIMITS: Limits = {
  issuer: { count: 12_000, length: MINUTE },
  owner: { count: 3_000, length: MINUTE },
  repository: { count: 600, length: MINUTE },
  job: { count: 20, length: MINUTE },
}

/** The fixed windows that an exchange counts in. */
export const buckets = (principal: Principal, limits: Limits, now: number): readonly Bucket[] => {
  const { issuer, ownerId, repositoryId, job } = principal
  return [
    bucket(`issuer:${issuer}`, limits.issuer, now),
    bucket(`owner:${issuer}:${ownerId}`, limits.owner, now),
    bucket(`repository:${issuer}:${repositoryId}`, limits.repository, now),
    bucket(`job:${job}`, limits.job, now),
  ]
}

const bucket = (key: string, { count, length }: Limit, now: number): Bucket => ({
  key,
  limit: count,
  start: now - (now % length),
  length,
})
