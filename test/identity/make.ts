import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto'
import { DIALECTS, type Dialect } from '../../server/identity/dialects.ts'
import { remoteKeys, staticKeys } from '../../server/identity/keys.ts'
import type { Presented, Trust } from '../../server/identity/verify.ts'
import { startGitHub, type LocalGitHub, type TokenOptions } from '../world/github.ts'
import type { Job } from '../world/job.ts'
import {
  makeSigningKey,
  signCompact,
  type Algorithm,
  type SigningKey,
} from '../world/signing-key.ts'

export const NOW = Date.UTC(2026, 10, 22, 12)
export const SECONDS = NOW / 1000
export const AUDIENCE = 'https://tvm.example.com'
export const HTU = `${AUDIENCE}/v1/sessions`
/** A second configured issuer, whose key the tests hold. */
export const GHES = 'https://ghes.example.com/_services/token'

type Json = Readonly<Record<string, unknown>>

export interface ProofOptions {
  /** Laid over the header, and over the claims; undefined takes a member away. */
  readonly header?: Json
  readonly claims?: Json
  readonly algorithm?: Algorithm
  readonly key?: KeyObject | string
}

/** Somebody with a key. */
export interface Holder {
  readonly jkt: string
  readonly jwk: Json
  readonly privateKey: KeyObject
  /** A DPoP proof for `token`, true but for the options. */
  proof(token: string, options?: ProofOptions): string
}

export const makeHolder = (): Holder => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
  const jwk = { crv, kty, x, y }
  return {
    jwk,
    jkt: hash(JSON.stringify(jwk)),
    privateKey,
    proof: (token, { header, claims, algorithm = 'ES256', key = privateKey } = {}) =>
      signCompact(
        { typ: 'dpop+jwt', alg: algorithm, jwk, ...header },
        { jti: randomUUID(), htm: 'POST', htu: HTU, iat: SECONDS, ath: hash(token), ...claims },
        algorithm,
        key,
      ),
  }
}

export const hash = (text: string): string => createHash('sha256').update(text).digest('base64url')

/** Any bytes as header and payload, under an RS256 signature that holds. */
export const signBytes = (
  header: Buffer | string,
  payload: Buffer | string,
  key: KeyObject,
): string => {
  const text = [header, payload].map((part) => Buffer.from(part).toString('base64url')).join('.')
  return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`
}

export interface Scene {
  readonly github: LocalGitHub
  readonly job: Job
  readonly holder: Holder
  /** Signs for the issuer `GHES`. */
  readonly own: SigningKey
  readonly trust: Trust
  /** A token of the job for the holder's key, with a true proof; the options lie about the token. */
  show(options?: TokenOptions): Presented
  /** Any token, with a true proof of the holder. */
  prove(token: string): Presented
  /** A payload of the issuer `GHES`, for the holder's key. */
  payload(claims?: Json): Json
  /** The header that fits `own`. */
  header(parameters?: Json): Json
}

export const openScene = async (dialect: Dialect = DIALECTS.github): Promise<Scene> => {
  const github = await startGitHub({ now: () => NOW })
  const own = await makeSigningKey('uuid')
  const keys = remoteKeys({ jwksUri: github.jwksUri, world: { now: () => NOW, fetch } })
  const ownKeys = await staticKeys({ keys: [own.jwk] })
  const issuers = [
    { alias: 'github', dialect, issuer: github.issuer, keys },
    { alias: 'ghes', dialect, issuer: GHES, keys: ownKeys },
  ]
  const holder = makeHolder()
  const job = github.job({ environment: 'production' })
  const audience = `${AUDIENCE}/jkt/${holder.jkt}`
  const prove = (token: string): Presented => ({
    scheme: 'DPoP',
    token,
    proof: holder.proof(token),
  })
  return {
    github,
    job,
    holder,
    own,
    trust: {
      issuers: new Map(issuers.map((issuer) => [issuer.issuer, issuer])),
      audience: AUDIENCE,
      htm: 'POST',
      htu: HTU,
    },
    prove,
    show: (options = {}) => prove(github.token(job, { audience, ...options })),
    header: (parameters = {}) => ({ typ: 'JWT', alg: 'RS256', kid: own.kid, ...parameters }),
    payload: (claims = {}) => ({
      ...job.claims,
      iss: GHES,
      aud: audience,
      jti: randomUUID(),
      nbf: SECONDS - 600,
      iat: SECONDS,
      exp: SECONDS + 300,
      ...claims,
    }),
  }
}
