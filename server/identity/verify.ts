import { errors, jwtVerify, type JWTPayload } from 'jose'
import type { Code } from '../api.ts'
import { accept, refuse, type Refusal, type Result } from '../refusal.ts'
import { principalOf } from './claims.ts'
import type { Dialect } from './dialects.ts'
import { readJwt, type UnverifiedJwt } from './jwt.ts'
import type { KeySource } from './keys.ts'
import type { Principal } from './principal.ts'
import { sha256, verifyProof } from './proof.ts'

/** What a request shows: its Authorization header, taken apart, and its DPoP header. */
export interface Presented {
  readonly scheme: 'DPoP' | 'Bearer'
  readonly token: string
  readonly proof: string | null
}

export interface ConfiguredIssuer {
  readonly alias: string
  readonly dialect: Dialect
  /** `iss`, byte for byte. */
  readonly issuer: string
  readonly keys: KeySource
}

export interface Trust {
  /** By `iss`. Nothing that a token says leads to any other issuer or key. */
  readonly issuers: ReadonlyMap<string, ConfiguredIssuer>
  /** `aud` of a bearer token; a proved one has `<audience>/jkt/<thumbprint>`. */
  readonly audience: string
  readonly htm: 'GET' | 'POST' | 'DELETE'
  /** The configured URL of the endpoint, without query. */
  readonly htu: string
}

const MAX_TOKEN = 16 * 1024
/** Seconds that the issuer's clock may differ from ours. */
const TOLERANCE = 30

/**
 * Step 2 of the exchange: the token, then the proof. `now` in milliseconds. Whether a principal without a proof (`jkt` null) is
 * enough is the policy's to say. Never rejects for anything a caller can send.
 */
export const verifyPresented = async (
  presented: Presented,
  trust: Trust,
  now: number,
): Promise<Result<Principal>> => {
  const candidate = readToken(presented.token, trust)
  if (!candidate.ok) return candidate
  const payload = await verifyToken(presented.token, candidate.value, trust, now)
  if (!payload.ok) return payload
  const possession = await verifyPossession(presented, candidate.value.audience, trust, now)
  if (!possession.ok) return possession
  const { issuer, kid } = candidate.value
  const { alias, dialect } = issuer
  return principalOf(payload.value, {
    issuer: alias,
    dialect,
    jti: payload.value.jti,
    kid,
    tokenHash: sha256(presented.token),
    replayableUntil: replayableUntil(payload.value, dialect),
    ...possession.value,
  })
}

/** What a token says of itself, as far as that is of a form that we take: where to look, not what to believe. */
interface Candidate {
  readonly issuer: ConfiguredIssuer
  readonly kid: string
  /** null: made for somebody else. */
  readonly audience: Audience | null
}

/** Before any cryptography: size, form, algorithm, and an issuer that we know. */
const readToken = (token: string, { issuers, audience }: Trust): Result<Candidate> => {
  if (token.length > MAX_TOKEN) return refuse('token_too_large')
  const jwt = readJwt(token)
  if (jwt === null) return refuse('token_malformed')
  const { iss, aud } = jwt.payload
  const issuer = typeof iss === 'string' ? issuers.get(iss) : undefined
  if (issuer === undefined) return refuse('token_issuer_unknown')
  const kid = readHeader(jwt, issuer.dialect)
  return kid.ok ? accept({ issuer, kid: kid.value, audience: readAudience(aud, audience) }) : kid
}

/** Headers that point to other keys (RFC 8725 section 3.10), or that would change what the rest means. */
const FOREIGN_HEADERS = ['jku', 'jwk', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc', 'cty']
const KID = /^[\x21-\x7e]{1,128}$/

const readHeader = ({ header }: UnverifiedJwt, dialect: Dialect): Result<string> => {
  const { alg, typ, kid } = header
  if (alg !== dialect.algorithm) return refuse('token_algorithm_refused')
  if (typ !== dialect.typ || FOREIGN_HEADERS.some((name) => Object.hasOwn(header, name)))
    return refuse('token_malformed')
  return typeof kid === 'string' && KID.test(kid) ? accept(kid) : refuse('token_malformed')
}

interface Audience {
  readonly aud: string
  /** The thumbprint in it; null for a bearer token. */
  readonly jkt: string | null
}

/** RFC 7638 SHA-256 thumbprint in base64url. */
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/

/** `aud` is one string: ours, or ours and the thumbprint of a key. A list is neither, however short. */
const readAudience = (aud: unknown, ours: string): Audience | null => {
  if (typeof aud !== 'string') return null
  if (aud === ours) return { aud, jkt: null }
  const prefix = `${ours}/jkt/`
  const jkt = aud.startsWith(prefix) ? aud.slice(prefix.length) : ''
  return THUMBPRINT.test(jkt) ? { aud, jkt } : null
}

type VerifiedPayload = JWTPayload & {
  readonly jti: string
  readonly exp: number
  readonly iat: number
}

const verifyToken = async (
  token: string,
  { issuer: { dialect, issuer, keys }, kid, audience }: Candidate,
  trust: Trust,
  now: number,
): Promise<Result<VerifiedPayload>> => {
  const key = await keys.key(kid)
  if (!key.ok) return key
  try {
    const { payload } = await jwtVerify(token, key.value, {
      issuer,
      audience: audience?.aud ?? trust.audience,
      algorithms: [dialect.algorithm],
      typ: dialect.typ,
      requiredClaims: [...dialect.registered],
      clockTolerance: TOLERANCE,
      maxTokenAge: dialect.maxAge,
      currentDate: new Date(now),
    })
    // jose takes a list of audiences that holds ours.
    return audience === null ? refuse('token_audience_refused') : wellFormed(payload)
  } catch (error) {
    return refusalOf(error, dialect)
  }
}

const JTI = /^[\x21-\x7e]{1,256}$/

/** jose takes fractions of seconds, and anything as a jti. */
const wellFormed = (payload: JWTPayload): Result<VerifiedPayload> => {
  for (const name of ['exp', 'iat', 'nbf'] as const)
    if (!Number.isSafeInteger(payload[name])) return refuse('token_claim_invalid', { about: name })
  const { jti, exp = 0, iat = 0 } = payload
  return typeof jti === 'string' && JTI.test(jti)
    ? accept({ ...payload, jti, exp, iat })
    : refuse('token_claim_invalid', { about: 'jti' })
}

const refusalOf = (error: unknown, dialect: Dialect): Refusal => {
  if (error instanceof errors.JWTExpired)
    return refuse(error.claim === 'iat' ? 'token_too_old' : 'token_expired')
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error, dialect)
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return refuse('token_signature_invalid')
  if (error instanceof errors.JOSEError) return refuse('token_malformed', { cause: error.code })
  throw error
}

/** jose's checks that a claim's value can fail. */
const FAILED: ReadonlyMap<string, Code> = new Map([
  ['iss', 'token_issuer_unknown'],
  ['aud', 'token_audience_refused'],
  ['nbf', 'token_not_yet_valid'],
  ['iat', 'token_not_yet_valid'],
])

const claimRefusal = (
  { claim, reason }: errors.JWTClaimValidationFailed,
  { registered }: Dialect,
): Refusal => {
  const failed = reason === 'check_failed' ? FAILED.get(claim) : undefined
  if (failed !== undefined) return refuse(failed)
  const about = registered.find((name) => name === claim) ?? 'a registered claim'
  return refuse(reason === 'missing' ? 'token_claim_missing' : 'token_claim_invalid', { about })
}

interface Possession {
  readonly jkt: string | null
  readonly proofJti: string | null
}

/**
 * The issuer signed the thumbprint in the audience, so whoever finds such a token cannot exchange the key, nor leave the proof
 * out. A proof that no audience asks for proves nothing, and is refused before anybody takes it for one.
 */
const verifyPossession = async (
  { scheme, token, proof }: Presented,
  audience: Audience | null,
  { htm, htu }: Trust,
  now: number,
): Promise<Result<Possession>> => {
  const jkt = audience?.jkt ?? null
  const isProved = scheme === 'DPoP' && proof !== null
  if (jkt === null && scheme === 'Bearer' && proof === null) return accept({ jkt, proofJti: null })
  if (jkt === null) return refuse(proof === null ? 'proof_missing' : 'proof_key_mismatch')
  if (!isProved) return refuse('proof_missing')
  const verified = await verifyProof(proof, { htm, htu, token, jkt, now })
  return verified.ok ? accept({ jkt, proofJti: verified.value.jti }) : verified
}

/** jose compares whole seconds, which lets a token live up to one second longer than its numbers say. */
const replayableUntil = ({ exp, iat }: VerifiedPayload, { maxAge }: Dialect): number =>
  (Math.min(exp, iat + maxAge + 1) + TOLERANCE) * 1000
