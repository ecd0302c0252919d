import { createHash, randomUUID } from 'node:crypto'
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
} from 'jose'
import type { GrantsReply, Problem, SessionsReply } from '../../server/api.ts'
import type { TokenOptions } from './github.ts'
import type { Job } from './job.ts'
import type { LocalWorld } from './world.ts'

/** A key as the action holds one for its job: ES256, with its RFC 7638 thumbprint. */
export interface CallerKey {
  readonly privateKey: CryptoKey
  readonly jwk: JWK
  readonly thumbprint: string
}

export const makeKey = async (): Promise<CallerKey> => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk, 'sha256') }
}

/** What may differ from the honest proof of RFC 9449. undefined takes a claim away. */
export interface ProofLie {
  readonly header?: Readonly<Record<string, unknown>>
  readonly claims?: Readonly<Record<string, unknown>>
}

export const makeProof = (
  key: CallerKey,
  of: { readonly url: string; readonly token: string; readonly now: number },
  lie: ProofLie = {},
): Promise<string> => {
  const claims = {
    htm: 'POST',
    htu: of.url,
    iat: Math.floor(of.now / 1000),
    jti: randomUUID(),
    ath: createHash('sha256').update(of.token).digest('base64url'),
    ...lie.claims,
  }
  return new SignJWT(claims)
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.jwk, ...lie.header })
    .sign(key.privateKey)
}

/** Everything of one request for sessions that a test may want otherwise. */
export interface AskOptions {
  readonly job?: Job
  readonly key?: CallerKey
  /** Instead of a fresh token of the job. */
  readonly token?: string
  readonly tokenOptions?: TokenOptions
  /** Instead of a fresh proof; null: none. */
  readonly proof?: string | null
  readonly proofLie?: ProofLie
  readonly grants?: readonly string[]
  /** Instead of the JSON of `{grants}`. */
  readonly body?: string | Uint8Array<ArrayBuffer>
  readonly scheme?: string
  /** Laid over the headers; undefined takes one away. */
  readonly headers?: Readonly<Record<string, string | undefined>>
}

export interface Asked {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Of a 201. */
  readonly reply: SessionsReply
  /** Of anything else. */
  readonly problem: Problem
  readonly token: string
  readonly proof: string | null
}

/** One POST /v1/sessions, honest where nothing else is said. */
export const ask = async (world: LocalWorld, options: AskOptions = {}): Promise<Asked> => {
  const key = options.key ?? (await makeKey())
  const job = options.job ?? world.github.job({ environment: 'production' })
  const url = `${world.url}/v1/sessions`
  const audience = `${world.url}/jkt/${key.thumbprint}`
  const token = options.token ?? world.github.token(job, { audience, ...options.tokenOptions })
  const proof =
    options.proof === undefined
      ? await makeProof(key, { url, token, now: world.clock.now() }, options.proofLie)
      : options.proof
  const headers: Record<string, string | undefined> = {
    Authorization: `${options.scheme ?? 'DPoP'} ${token}`,
    'Content-Type': 'application/json',
    ...(proof === null ? {} : { DPoP: proof }),
    ...options.headers,
  }
  const sent = Object.entries(headers).filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  )
  const body = options.body ?? JSON.stringify({ grants: options.grants ?? ['payments-deploy'] })
  const response = await fetch(url, { method: 'POST', headers: sent, body })
  const text = await response.text()
  const json = JSON.parse(text) as unknown
  return {
    status: response.status,
    headers: response.headers,
    text,
    reply: json as SessionsReply,
    problem: json as Problem,
    token,
    proof,
  }
}

/** DELETE /v1/sessions/:id; the status. */
export const endSession = async (world: LocalWorld, id: string, token: string): Promise<number> => {
  const headers = { Authorization: `Bearer ${token}` }
  return (await fetch(`${world.url}/v1/sessions/${id}`, { method: 'DELETE', headers })).status
}

/** One GET /v1/grants, honest where nothing else is said. */
export const listGrants = async (
  world: LocalWorld,
  options: Pick<AskOptions, 'job' | 'key' | 'token' | 'proofLie' | 'proof' | 'scheme'> = {},
): Promise<{
  readonly status: number
  readonly reply: GrantsReply
  readonly problem: Problem
  readonly token: string
}> => {
  const key = options.key ?? (await makeKey())
  const job = options.job ?? world.github.job({ environment: 'production' })
  const url = `${world.url}/v1/grants`
  const token =
    options.token ?? world.github.token(job, { audience: `${world.url}/jkt/${key.thumbprint}` })
  const proof =
    options.proof ??
    (await makeProof(
      key,
      { url, token, now: world.clock.now() },
      { ...options.proofLie, claims: { htm: 'GET', ...options.proofLie?.claims } },
    ))
  const response = await fetch(url, { headers: { Authorization: `DPoP ${token}`, DPoP: proof } })
  const json = await response.json()
  return { status: response.status, reply: json as GrantsReply, problem: json as Problem, token }
}
