import { JwtVerifier } from 'aws-jwt-verify'
import type { Provider } from './account.ts'
import { AwsError } from './answer.ts'
import type { Jwk } from './issuer.ts'

/** What STS reads out of a web identity token, and what it will not read. Messages as measured on AWS. */

/** Not verified: good for finding the provider and the key, and for nothing else. */
export interface UnverifiedToken {
  readonly alg: string
  readonly kid: string
  readonly claims: Claims
}

export interface WebIdentity {
  readonly subject: string
  readonly audience: string
  readonly amr: readonly string[] | undefined
  readonly tags: Readonly<Record<string, string>>
  readonly transitiveTagKeys: readonly string[]
  readonly sourceIdentity: string | null
  /** null: the token carries no roles claim. */
  readonly roles: readonly string[] | null
}

type Claims = Readonly<Record<string, unknown>>

const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512']
const TAGS = 'https://aws.amazon.com/tags'
const SOURCE_IDENTITY = 'https://aws.amazon.com/source_identity'
const ROLES = 'https://aws.amazon.com/roles'

/** Throws AwsError `InvalidIdentityToken`. */
export function readToken(token: string): UnverifiedToken {
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every(isBase64Url)) throw notAJwt('not three base64url parts')
  const [header, claims] = [decode(parts[0]), decode(parts[1])]
  const { alg, kid } = header
  if (typeof alg !== 'string' || !ALGORITHMS.includes(alg)) throw notAJwt('algorithm')
  if ('crit' in header) throw notAJwt('critical header')
  // AWS makes do without a kid when the issuer has a single key; ours always names it.
  if (typeof kid !== 'string' || kid === '') throw notAJwt('no kid')
  return { alg, kid, claims }
}

/** Refuses padding, and the second spellings that a lax decoder takes for the same bytes. */
function isBase64Url(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}

function decode(part = ''): Claims {
  try {
    const value = JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Claims
  } catch {
    // Falls through: not JSON is no better than not an object.
  }
  throw notAJwt('a part is not a JSON object')
}

/** Judges everything but the signature; `now` in milliseconds. Throws AwsError. */
export function judgeClaims(claims: Claims, provider: Provider, now: number): WebIdentity {
  for (const name of ['iss', 'sub', 'aud', 'iat', 'exp']) {
    if (!Object.hasOwn(claims, name)) throw invalid(`Missing a required claim: ${name}`)
  }
  const { sub, amr } = claims
  if (typeof sub !== 'string') throw notValidated('sub is not text')
  checkTimes(claims, Math.floor(now / 1000))
  const audience = readAudience(claims)
  if (!provider.clientIds.includes(audience)) throw notValidated('audience is no client ID')
  const tags = readTags(claims)
  return {
    subject: sub,
    audience,
    amr: amr === undefined ? undefined : stringList(amr, 'amr is not a list of text'),
    ...tags,
    sourceIdentity: readSourceIdentity(claims[SOURCE_IDENTITY]),
    roles: readRoles(claims[ROLES]),
  }
}

const TOLERANCE = 5 * 60
/** AWS does not document it; ours are used within a minute, and a day is what others' tokens live. */
const OLDEST = 24 * 60 * 60

function checkTimes(claims: Claims, now: number): void {
  const { iat, exp, nbf } = claims
  if (!isTimestamp(iat) || !isTimestamp(exp) || (nbf !== undefined && !isTimestamp(nbf))) {
    throw invalid('Invalid timestamp in token claims.')
  }
  if (exp <= now - TOLERANCE) {
    throw expired(
      `Token expired: current date/time ${now - TOLERANCE} must be before the expiration date/time ${exp}`,
    )
  }
  if (iat > now + TOLERANCE) throw invalid(`Token issued in the future: ${iat}`)
  if (iat < now - OLDEST) throw expired(`Token too old: ${now - iat}`)
  if (nbf !== undefined && nbf > now + TOLERANCE) {
    throw invalid(
      `Token not yet valid: current date/time ${now + TOLERANCE} must be after or equal to the not-before date/time ${nbf}`,
    )
  }
}

function isTimestamp(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

/** `azp`, where there is one, is the audience; without it there may be one audience only. */
function readAudience({ aud, azp }: Claims): string {
  const audiences = stringList(typeof aud === 'string' ? [aud] : aud, 'aud is not text')
  if (azp !== undefined) {
    if (typeof azp !== 'string') throw notValidated('azp is not text')
    return azp
  }
  if (audiences.length > 1) {
    throw invalid(
      'Token audience contains more than one audience while authorized party is not present',
    )
  }
  const [audience] = audiences
  if (audience === undefined) throw invalid('Claim is not allowed to be empty: aud')
  return audience
}

type Tags = Pick<WebIdentity, 'tags' | 'transitiveTagKeys'>

function readTags(claims: Claims): Tags {
  // The flattened spelling works on AWS too; here it would only hide that somebody changed ours.
  if (Object.keys(claims).some((name) => name.startsWith(`${TAGS}/`))) {
    throw invalid('The flattened session tag claims are not supported here.')
  }
  if (claims[TAGS] === undefined) return { tags: {}, transitiveTagKeys: [] }
  const claim = object(claims[TAGS], 'Session tags passed in claim are not in correct format.')
  const tags = Object.fromEntries(
    Object.entries(object(claim['principal_tags'] ?? {}, WRONG_TAGS)).map(readTag),
  )
  const keys = Object.keys(tags)
  if (keys.length > 50) throw invalid('Session tags exceed the limit of 50.')
  if (new Set(keys.map((key) => key.toLowerCase())).size < keys.length) {
    throw invalid('Duplicate tag keys found. Please note that Tag keys are case insensitive.')
  }
  return { tags, transitiveTagKeys: readTransitive(claim['transitive_tag_keys'] ?? [], keys) }
}

const WRONG_TAGS = 'principal_tags passed in claim is not in correct format.'
const TAG_TEXT = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u

function readTag([key, values]: [string, unknown]): [string, string] {
  const list = Array.isArray(values) ? (values as unknown[]) : []
  const [value] = list
  if (list.length !== 1 || typeof value !== 'string') throw invalid(WRONG_TAGS)
  if (key.length < 1 || key.length > 128 || !TAG_TEXT.test(key)) {
    throw invalid('A session tag key is not 1 to 128 characters of the allowed set.')
  }
  if (value.length > 256 || !TAG_TEXT.test(value)) {
    throw invalid('A session tag value is not at most 256 characters of the allowed set.')
  }
  if (/^aws:/i.test(key)) throw invalid('Session tag keys may not start with aws:')
  return [key, value]
}

function readTransitive(value: unknown, keys: readonly string[]): readonly string[] {
  const transitive = stringList(value, 'transitive_tag_keys is not a list of text')
  const known = new Set(keys.map((key) => key.toLowerCase()))
  if (!transitive.every((key) => known.delete(key.toLowerCase()))) {
    throw invalid('Transitive tag keys must each name a tag of the session, once.')
  }
  return transitive
}

function readSourceIdentity(value: unknown): string | null {
  if (value === undefined) return null
  if (typeof value !== 'string' || !/^[\w+=,.@-]{2,64}$/.test(value)) {
    throw invalid('The source identity is not 2 to 64 characters of the allowed set.')
  }
  return value
}

/** Text (several split by `;`) or a list; what is no role ARN does not count; null is as good as absent. */
function readRoles(value: unknown): readonly string[] | null {
  if (value === undefined || value === null) return null
  const written: unknown[] = typeof value === 'string' ? value.split(';') : [value].flat()
  const roles = written
    .filter((item) => typeof item === 'string')
    .map((item) => item.trim())
    .filter((item) => /^arn:aws[a-z-]*:iam::\d{12}:role\/\S+$/.test(item))
  if (roles.length === 0) throw invalid('The roles claim of the identity token names no role')
  return roles
}

/** STS's own check, before any trust policy: is this role one that the issuer signed for? */
export function checkRole(roles: readonly string[] | null, role: string): void {
  if (roles !== null && !roles.includes(role)) {
    throw invalid('The target role ARN is not present in the roles claim of the identity token')
  }
}

/** By a library that is not ours. Throws AwsError `InvalidIdentityToken`. */
export function verifySignature(token: string, key: Jwk, issuer: string): void {
  // An endless grace takes the library's clock out of it: `judgeClaims` has judged the times by the world's.
  const verifier = JwtVerifier.create({ issuer, audience: null, graceSeconds: Infinity })
  verifier.cacheJwks({ keys: [key] })
  try {
    verifier.verifySync(token)
  } catch (problem) {
    throw notValidated(problem instanceof Error ? problem.message : 'signature')
  }
}

function object(value: unknown, message: string): Claims {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Claims
  throw invalid(message)
}

function stringList(value: unknown, why: string): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value
  throw notValidated(why)
}

function invalid(message: string): AwsError {
  return new AwsError('InvalidIdentityToken', message)
}

function expired(message: string): AwsError {
  return new AwsError('ExpiredTokenException', message)
}

function notValidated(why: string): AwsError {
  return new AwsError(
    'InvalidIdentityToken',
    'The web identity token provided could not be validated. See the AssumeRoleWithWebIdentity documentation for requirements.',
    400,
    why,
  )
}

function notAJwt(why: string): AwsError {
  return new AwsError(
    'InvalidIdentityToken',
    'The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)',
    400,
    why,
  )
}
