import { createPublicKey, verify } from 'node:crypto'
import { EntraError } from './error.ts'
import { issuerKeys, type Issuers } from './issuer.ts'
import type { Application, Tenant } from './tenant.ts'

/** How Entra judges a client assertion of another issuer. */

type Claims = Readonly<Record<string, unknown>>

interface Assertion {
  readonly kid: string
  readonly issuer: string
  readonly subject: string
  readonly audience: string
  readonly claims: Claims
  readonly signed: Buffer
  readonly signature: Buffer
}

/** The subject of the one federated credential that fits. Throws EntraError. */
export async function judgeAssertion(
  token: string,
  at: { readonly tenant: Tenant; readonly application: Application; readonly now: number },
  issuers: Issuers,
): Promise<string> {
  const assertion = readAssertion(token)
  refuseIssuer(assertion.issuer, at.tenant)
  matchCredential(assertion, at.application)
  checkTimes(assertion.claims, Math.floor(at.now / 1000))
  await checkSignature(assertion, issuers)
  return assertion.subject
}

function readAssertion(token: string): Assertion {
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every(isBase64Url)) throw malformed('not three base64url parts')
  const [header = '', payload = '', signature = ''] = parts
  const { alg, kid, ...more } = decode(header)
  // Others "may work, but haven't been tested", so they do not work here.
  if (alg !== 'RS256') throw malformed('the algorithm is not RS256')
  if ('crit' in more) throw malformed('a critical header')
  if (typeof kid !== 'string' || kid === '') throw malformed('no kid')
  const claims = decode(payload)
  const { iss, sub, aud, jti } = claims
  if (typeof iss !== 'string' || typeof sub !== 'string') throw malformed('no iss or no sub')
  // A list of one may work as well; ours is one text.
  if (typeof aud !== 'string') throw malformed('not exactly one aud')
  if (typeof jti !== 'string' || jti === '') throw malformed('no jti')
  const signed = Buffer.from(`${header}.${payload}`, 'ascii')
  const of = { kid, issuer: iss, subject: sub, audience: aud }
  return { ...of, claims, signed, signature: Buffer.from(signature, 'base64url') }
}

/** Refuses padding, and the second spellings that a lax decoder takes for the same bytes. */
function isBase64Url(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}

function decode(part: string): Claims {
  try {
    const value = JSON.parse(Buffer.from(part, 'base64url').toString()) as unknown
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Claims
  } catch {
    // Falls through: not JSON is no better than not an object.
  }
  throw malformed('a part is not a JSON object')
}

function refuseIssuer(issuer: string, { allowedIssuers }: Tenant): void {
  if (/^https:\/\/(?:login\.microsoftonline\.com|sts\.windows\.net)\//.test(issuer))
    throw new EntraError(700222, 'AAD-issued tokens may not be used for federated identity flows.')
  if (allowedIssuers !== null && !allowedIssuers.includes(issuer))
    throw new EntraError(
      700238,
      `The assertion issuer '${issuer}' is not allowed by the policy of the tenant.`,
    )
}

const ADVICE =
  'Check your federated identity credential Subject, Audience and Issuer against the presented assertion.'
const NO_RECORD = 'No matching federated identity record found for presented assertion'

/** Letter for letter, in this order; nothing in a credential is a wildcard. */
function matchCredential({ issuer, subject, audience }: Assertion, application: Application): void {
  const { credentials, clientId } = application
  if (credentials.length === 0)
    throw new EntraError(
      70025,
      `The client '${clientId}' has no configured federated identity credentials.`,
    )
  const ofIssuer = credentials.filter((one) => one.issuer === issuer)
  if (ofIssuer.length === 0)
    throw new EntraError(700211, `${NO_RECORD} issuer '${issuer}'. ${ADVICE}`)
  const ofSubject = ofIssuer.filter((one) => one.subject === subject)
  if (ofSubject.length === 0) throw noSubject(subject, ofIssuer)
  if (!ofSubject.some((one) => one.audiences[0] === audience))
    throw new EntraError(700212, `${NO_RECORD} audience '${audience}'. ${ADVICE}`)
}

function noSubject(subject: string, ofIssuer: Application['credentials']): EntraError {
  const folded = subject.toLowerCase()
  return ofIssuer.some((one) => one.subject.toLowerCase() === folded)
    ? new EntraError(
        7002138,
        `${NO_RECORD} subject '${subject}'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison. ${ADVICE}`,
      )
    : new EntraError(700213, `${NO_RECORD} subject '${subject}'. ${ADVICE}`)
}

/** How much Entra's clock forgives is not documented; this one forgives nothing. */
function checkTimes({ exp, nbf, iat }: Claims, now: number): void {
  if (![exp, nbf, iat].every((time) => Number.isSafeInteger(time)))
    throw malformed('exp, nbf and iat are not whole seconds')
  if (Number(exp) <= now || Number(nbf) > now || Number(iat) > now)
    throw new EntraError(
      700024,
      `Client assertion is not within its valid time range. Current time: ${time(now)}, assertion valid from ${time(Number(nbf))}, expiry time of assertion ${time(Number(exp))}.`,
    )
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString()
}

async function checkSignature(assertion: Assertion, issuers: Issuers): Promise<void> {
  const { issuer, kid, signed, signature } = assertion
  const keys = await issuerKeys(issuer, issuers)
  const key = keys.find((one) => one['kid'] === kid)
  if (key?.['kty'] !== 'RSA' || ('use' in key && key['use'] !== 'sig'))
    throw new EntraError(
      7000272,
      `The certificate with identifier ${kid} used to sign the federated credential could not be found in the metadata of identity provider ${issuer}. Please validate that your Identity Provider's metadata exposes the key used to sign the incoming token.`,
    )
  if (!isSignedBy(key, signed, signature))
    throw new EntraError(50013, 'Assertion failed signature validation.')
}

function isSignedBy(key: Claims, data: Buffer, signature: Buffer): boolean {
  try {
    return verify('sha256', data, createPublicKey({ key, format: 'jwk' }), signature)
  } catch {
    return false
  }
}

function malformed(why: string): EntraError {
  return new EntraError(50027, 'JWT token is invalid or malformed.', why)
}
