import { calculateJwkThumbprint, compactVerify, importJWK } from 'jose'
import { createHash } from 'node:crypto'
import { accept, refuse, type Result } from '../refusal.ts'
import { asObject } from './json.ts'
import { isBase64url, readJwt, type UnverifiedJwt } from './jwt.ts'

/** What a DPoP proof must fit (RFC 9449 section 4.3). */
export interface ProofContext {
  readonly htm: string
  /** The configured URL of the endpoint; never what the request says of itself. */
  readonly htu: string
  /** The token that the proof comes with. */
  readonly token: string
  /** Thumbprint that the token's audience names. */
  readonly jkt: string
  /** Milliseconds. */
  readonly now: number
}

export interface Proof {
  /**
   * Good once. It need not be remembered longer than the token's: `ath` ties the proof to one token, so it dies with
   * that, at the latest.
   */
  readonly jti: string
}

const MAX_PROOF = 4 * 1024
/** Seconds either way. */
const WINDOW = 60
const JTI = /^[\x21-\x7e]{1,128}$/

/** Judges the proof: its form, its key, its signature, what it was made for, and when. */
export const verifyProof = async (proof: string, context: ProofContext): Promise<Result<Proof>> => {
  const jwt = proof.length > MAX_PROOF ? null : readJwt(proof)
  const jwk = jwt === null ? null : embeddedKey(jwt)
  if (jwt === null || jwk === null) return refuse('proof_malformed')
  if ((await calculateJwkThumbprint({ ...jwk }, 'sha256')) !== context.jkt)
    return refuse('proof_key_mismatch')
  if (!(await isSignedBy(proof, jwk))) return refuse('proof_invalid', { about: 'its signature' })
  return judge(jwt.payload, context)
}

interface PublicKey {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
}

/**
 * The public key in the header. Header and key hold exactly the members that RFC 9449 section 4.2 names: with anything more
 * (`d`, `k`, `crit`, `jku`, `key_ops` …) somebody means something that we would not heed.
 */
const embeddedKey = ({ header }: UnverifiedJwt): PublicKey | null => {
  const jwk = asObject(header['jwk'])
  if (!hasExactly(header, ['alg', 'jwk', 'typ']) || jwk === null) return null
  if (header['typ'] !== 'dpop+jwt' || header['alg'] !== 'ES256') return null
  const { kty, crv, x, y } = jwk
  if (!hasExactly(jwk, ['crv', 'kty', 'x', 'y']) || kty !== 'EC' || crv !== 'P-256') return null
  return isCoordinate(x) && isCoordinate(y) ? { kty, crv, x, y } : null
}

const hasExactly = (object: Readonly<Record<string, unknown>>, names: readonly string[]): boolean =>
  Object.keys(object).sort().join() === names.join()

/** 32 bytes (RFC 7518 section 6.2.1.2). */
const isCoordinate = (value: unknown): value is string =>
  typeof value === 'string' && value.length === 43 && isBase64url(value)

/** False also when the key is no point of the curve. */
const isSignedBy = async (proof: string, jwk: PublicKey): Promise<boolean> => {
  try {
    const key = await importJWK({ ...jwk }, 'ES256')
    await compactVerify(proof, key, { algorithms: ['ES256'] })
    return true
  } catch {
    return false
  }
}

/** The payload's own times, should it have more of them than `iat`, are no part of RFC 9449. */
const judge = (
  { htm, htu, ath, iat, jti }: UnverifiedJwt['payload'],
  context: ProofContext,
): Result<Proof> => {
  if (typeof jti !== 'string' || !JTI.test(jti)) return refuse('proof_malformed')
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat)) return refuse('proof_malformed')
  if (htm !== context.htm) return refuse('proof_invalid', { about: 'its method' })
  if (htu !== context.htu) return refuse('proof_invalid', { about: 'its address' })
  if (ath !== sha256(context.token)) return refuse('proof_invalid', { about: 'its token hash' })
  if (Math.abs(context.now / 1000 - iat) > WINDOW) return refuse('proof_stale')
  return accept({ jti })
}

/** Base64url SHA-256 of the token's ASCII (RFC 9449 section 4.2, `ath`). */
export const sha256 = (token: string): string =>
  createHash('sha256').update(token, 'ascii').digest('base64url')
