import { importJWK, type CryptoKey } from 'jose'
import { asObject } from './json.ts'

/** Verification keys by `kid`. */
export type KeyMap = ReadonlyMap<string, CryptoKey>

/** Why a key set was not taken; the message is our own. */
export class JwksError extends Error {
  override readonly name = 'JwksError'
}

const MAX_KEYS = 100
/** Characters of base64url; 8,192 bits. Larger ones only cost time. */
const MAX_MODULUS = 1366
const KID = /^[\x21-\x7e]{1,128}$/
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/**
 * The keys of a JWKS that can verify RS256. A key that cannot, or that is not plainly meant to, is passed over without harm
 * to the others; so are all keys under a `kid` that stands twice, since nobody can say which one it names. The map may be empty.
 */
export const readKeySet = async (jwks: unknown): Promise<KeyMap> => {
  const listed = asObject(jwks)?.['keys']
  if (!Array.isArray(listed)) throw new JwksError('it is not a key set')
  if (listed.length > MAX_KEYS) throw new JwksError(`it has more than ${MAX_KEYS} keys`)
  const keys = listed.map((each) => asObject(each) ?? {})
  const imported = await Promise.all(keys.filter(isAlone).map(importKey))
  return new Map(imported.filter((entry) => entry !== null))
}

type Jwk = Readonly<Record<string, unknown>>

const isAlone = ({ kid }: Jwk, _: number, keys: readonly Jwk[]): boolean =>
  keys.filter((other) => other['kid'] === kid).length === 1

const importKey = async (jwk: Jwk): Promise<readonly [string, CryptoKey] | null> => {
  const { kty, kid, use, alg, n, e } = jwk
  if (kty !== 'RSA' || use !== 'sig' || alg !== 'RS256' || e !== 'AQAB') return null
  if (typeof kid !== 'string' || !KID.test(kid)) return null
  if (typeof n !== 'string' || n.length > MAX_MODULUS) return null
  if (PRIVATE.some((member) => Object.hasOwn(jwk, member))) return null
  const key = await importJWK({ kty, n, e }, alg).catch(() => null)
  return key === null || key instanceof Uint8Array || bitsOf(key) < 2048 ? null : [kid, key]
}

const bitsOf = ({ algorithm }: CryptoKey): number =>
  'modulusLength' in algorithm ? Number(algorithm.modulusLength) : 0
