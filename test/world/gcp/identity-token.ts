import { JwtVerifier } from 'aws-jwt-verify'
import { GcpError } from './answer.ts'
import { CelError, evaluateBoolean, evaluateText } from './cel.ts'
import type { Jwk } from './issuer.ts'
import type { Provider } from './project.ts'

/** What STS reads out of an identity token, and what it will not read. */

type Claims = Readonly<Record<string, unknown>>

/** Not verified: good for finding the key, and for nothing else. */
export interface UnverifiedToken {
  readonly alg: 'RS256' | 'ES256'
  readonly kid: string
  readonly claims: Claims
}

/** Throws GcpError `invalid_grant`. */
export function readToken(token: string): UnverifiedToken {
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every(isBase64Url)) throw notAJwt('not three base64url parts')
  const [header, claims] = [decode(parts[0]), decode(parts[1])]
  const { alg, kid } = header
  if (alg !== 'RS256' && alg !== 'ES256') throw notAJwt('algorithm')
  if ('crit' in header) throw notAJwt('critical header')
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

/** By a library that is not ours. Throws GcpError `invalid_grant`. */
export function verifySignature(token: string, key: Jwk, issuer: string): void {
  // An endless grace takes the library's clock out of it: `judgeClaims` judges the times by the world's.
  const verifier = JwtVerifier.create({ issuer, audience: null, graceSeconds: Infinity })
  verifier.cacheJwks({ keys: [key] })
  try {
    verifier.verifySync(token)
  } catch (problem) {
    throw refused(
      'The ID Token signature could not be verified.',
      problem instanceof Error ? problem.message : 'signature',
    )
  }
}

const DAY = 24 * 60 * 60

/** Issuer, audience and times; `now` in milliseconds. Returns `exp`, in seconds. Throws GcpError `invalid_grant`. */
export function judgeClaims(claims: Claims, provider: Provider, now: number): number {
  const { iss, aud, sub, iat, exp, nbf } = claims
  if (iss !== provider.issuerUri) {
    throw refused(`The issuer in ID Token ${plain(iss)} does not match the expected one.`)
  }
  // Google takes a list that holds an allowed audience; ours has always been one text.
  if (typeof aud !== 'string' || !provider.audiences.includes(aud)) {
    throw refused(
      `The audience in ID Token [${plain(aud)}] does not match the expected audience.`,
      'audience',
    )
  }
  if (typeof sub !== 'string' || sub === '') throw refused('The ID Token has no sub.')
  if (!isTime(iat) || !isTime(exp) || (nbf !== undefined && !isTime(nbf))) {
    throw refused('The ID Token lacks iat or exp.')
  }
  const seconds = now / 1000
  if (iat > seconds || (nbf ?? 0) > seconds) throw stale(iat, 'issued in the future')
  if (exp <= seconds) throw stale(iat, 'expired')
  // The API reference lets a token live two days; a day is what this cloud takes.
  if (exp - iat >= DAY) throw refused('The ID Token lives too long.', 'exp a day or more after iat')
  return exp
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 200) : ''
}

export interface Mapped {
  readonly subject: string
  /** Without `attribute.`. */
  readonly attributes: Readonly<Record<string, string>>
}

const MAX_SUBJECT = 127
const MAX_MAPPED = 8 * 1024

/** Google's names for the claims. Throws GcpError `invalid_grant`, `unauthorized_client`. */
export function mapAttributes(assertion: Claims, { mapping, condition }: Provider): Mapped {
  const values = [...mapping].map(([key, program]) => {
    try {
      return [key, evaluateText(program, { assertion })] as const
    } catch (problem) {
      if (!(problem instanceof CelError)) throw problem
      throw refused(`The mapped attribute ${key} must be of type STRING.`, problem.message)
    }
  })
  const size = values.reduce((sum, [key, value]) => sum + bytes(key) + bytes(value), 0)
  if (size > MAX_MAPPED) throw refused('The mapped attributes exceed 8 KB.')
  const subject = values.find(([key]) => key === 'google.subject')?.[1] ?? ''
  if (subject === '') throw refused('google.subject is empty.')
  if (bytes(subject) > MAX_SUBJECT) {
    throw refused('The size of mapped attribute google.subject exceeds the 127 bytes limit.')
  }
  const attributes = Object.fromEntries(
    values.flatMap(([key, value]) =>
      key === 'google.subject' ? [] : [[key.slice('attribute.'.length), value]],
    ),
  )
  checkCondition(condition, { assertion, google: { subject }, attribute: attributes })
  return { subject, attributes }
}

function checkCondition(condition: Provider['condition'], roots: Claims): void {
  let why = 'false'
  try {
    if (condition === null || evaluateBoolean(condition, roots)) return
  } catch (problem) {
    if (!(problem instanceof CelError)) throw problem
    why = problem.message
  }
  throw new GcpError(
    'unauthorized_client',
    'The given credential is rejected by the attribute condition.',
    why,
  )
}

function bytes(text: string): number {
  return Buffer.byteLength(text)
}

function refused(message: string, why: string | null = null): GcpError {
  return new GcpError('invalid_grant', message, why)
}

function stale(iat: number, why: string): GcpError {
  return refused(`ID Token issued at ${iat} is stale to sign-in.`, why)
}

function notAJwt(why: string): GcpError {
  return refused('The subject token is not a valid JWT.', why)
}
