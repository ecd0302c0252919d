import { accept, refuse, type Result } from '../refusal.ts'
import { defines, type Dialect } from './dialects.ts'
import type { Claims, Principal } from './principal.ts'

/** Longest value of a claim, in bytes of UTF-8. */
const MAX_VALUE = 1024

/** C0, C1, DEL, line and paragraph separators: in no honest claim, and trouble in every log and terminal. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u

const ID = /^[1-9][0-9]{0,19}$/

/**
 * The claims that the dialect defines, out of a verified payload. Others are left out, whatever they hold: no policy can name
 * them, and a claim that an issuer adds tomorrow must not lock anybody out. A defined claim that is no string, is longer than
 * 1 KiB or holds control characters is refused; an empty one counts as absent, as `head_ref` outside pull requests.
 */
export const readClaims = (
  payload: Readonly<Record<string, unknown>>,
  dialect: Dialect,
): Result<Claims> => {
  const claims = Object.create(null) as Record<string, string>
  for (const [name, value] of Object.entries(payload)) {
    if (!defines(dialect, name)) continue
    if (typeof value !== 'string' || !isPlain(value))
      return refuse('token_claim_invalid', { about: name })
    if (value !== '') claims[name] = value
  }
  const missing = mandatory(dialect).find((name) => claims[name] === undefined)
  if (missing !== undefined) return refuse('token_claim_missing', { about: missing })
  const odd = [...dialect.ids, ...dialect.run].find((name) => !ID.test(claims[name] ?? '1'))
  if (odd !== undefined) return refuse('token_claim_invalid', { about: odd })
  return accept(Object.freeze(claims))
}

const isPlain = (value: string): boolean =>
  Buffer.byteLength(value) <= MAX_VALUE && value.isWellFormed() && !CONTROL.test(value)

/** A registered claim that is a claim like any other (`sub`) may not be empty either. */
const mandatory = ({ registered, claims, mandatory }: Dialect): readonly string[] => [
  ...registered.filter((name) => claims.includes(name)),
  ...mandatory,
]

/** What is known of a caller besides the claims: all of it verified. */
export interface Shown {
  /** Alias of the issuer. */
  readonly issuer: string
  readonly dialect: Dialect
  readonly jti: string
  readonly kid: string
  readonly tokenHash: string
  readonly replayableUntil: number
  readonly jkt: string | null
  readonly proofJti: string | null
}

/** `payload`: of a token whose signature, issuer, audience and times hold. */
export const principalOf = (
  payload: Readonly<Record<string, unknown>>,
  shown: Shown,
): Result<Principal> => {
  const { dialect } = shown
  const claims = readClaims(payload, dialect)
  if (!claims.ok) return claims
  const job = jobKey(claims.value, shown)
  if (!job.ok) return job
  const repositoryId = claims.value[dialect.repositoryId]
  const ownerId = claims.value[dialect.ownerId]
  if (repositoryId === undefined || ownerId === undefined)
    throw new Error('a dialect must make the ids of repository and owner mandatory')
  return accept({ ...shown, claims: claims.value, repositoryId, ownerId, job: job.value })
}

/**
 * `<alias>/<repository id>/<run …>/<job>`. Every part is digits or a thumbprint, so no value can imitate another key. Without the
 * dialect's job claim the proved key stands for the job, where the dialect allows that.
 */
const jobKey = (claims: Claims, { issuer, dialect, jkt }: Shown): Result<string> => {
  const key = dialect.jobMandatory || jkt === null ? undefined : `jkt:${jkt}`
  const parts = [dialect.repositoryId, ...dialect.run].map((name) => claims[name])
  const job = [issuer, ...parts, claims[dialect.job] ?? key]
  return job.includes(undefined) ? refuse('no_job_identity') : accept(job.join('/'))
}
