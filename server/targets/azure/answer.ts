import { createHash } from 'node:crypto'
import type { AuditValue } from '../../audit/record.ts'
import { parseStrictJson } from '../../identity/json.ts'
import type { AzureGrant } from '../../policy/grant.ts'
import { accept, type Accepted } from '../../refusal.ts'
import type { Secret } from '../../secret.ts'
import { rfc3339 } from '../../world.ts'
import type { Minted, MintOrder, SealedAzure } from '../target.ts'
import { refused } from './error.ts'
import type { EntraToken } from './exchange.ts'
import type { AzureRefusal } from './reply.ts'

/** An access token cannot be called back: what hears of a disabled app at once (Graph) is the exception, ARM is not. */
export const AZURE_REVOCABLE = 'expiry_only'

/** What a token is held against. */
export interface Asked {
  readonly spec: AzureGrant
  readonly order: MintOrder
  readonly scope: string
  readonly correlationId: string
}

/** A token that is what was asked for. */
export interface CheckedToken {
  readonly scope: string
  readonly token: Secret
  /** Milliseconds, a whole second. */
  readonly expiresAt: number
  readonly facts: Readonly<Record<string, AuditValue>>
}

type Claims = Readonly<Record<string, unknown>>

/**
 * The token exactly as asked for, or a refusal. Tokens for some resources are opaque or encrypted; what is a JWT is read, unverified: it
 * came over TLS from Entra, and its signature is for the resource to judge.
 */
export const checkedToken = (
  { token, expiresOn }: EntraToken,
  asked: Asked,
): Accepted<CheckedToken> | AzureRefusal => {
  const claims = claimsOf(token.reveal())
  if (claims === 'unreadable') return notAsAsked('TokenUnreadable')
  const wrong = claims === null ? null : wrongIn(claims, asked)
  if (wrong !== null) return notAsAsked(wrong)
  const end = claims === null ? expiresOn : Number(claims['exp']) * 1000
  const expiresAt = Math.floor(end / 1000) * 1000
  if (!isAccepted(expiresAt, asked.order)) return notAsAsked('LifetimeNotAccepted')
  const facts = factsOf(token, claims, expiresAt, asked)
  return accept({ scope: asked.scope, token, expiresAt, facts })
}

const notAsAsked = (about: string): AzureRefusal =>
  refused(about, 'what Entra answered is not what was asked')

/** null: not a JWS in compact form. */
const claimsOf = (token: string): Claims | null | 'unreadable' => {
  const parts = token.split('.')
  if (parts.length !== 3) return null
  const json = parseStrictJson(Buffer.from(parts[1] ?? '', 'base64url').toString('utf8'))
  const isObject = json.ok && typeof json.value === 'object' && json.value !== null
  return isObject && !Array.isArray(json.value) ? (json.value as Claims) : 'unreadable'
}

/** `appid` in tokens of version 1.0, `azp` in those of 2.0. */
const wrongIn = (claims: Claims, { spec, scope }: Asked): string | null => {
  if (claims['tid'] !== spec.tenant) return 'TokenOfAnotherTenant'
  if ((claims['appid'] ?? claims['azp']) !== spec.client) return 'TokenOfAnotherClient'
  if (!isFor(claims['aud'], scope)) return 'TokenForAnotherResource'
  return Number.isSafeInteger(claims['exp']) ? null : 'TokenWithoutEnd'
}

const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The resource as asked for, with or without a trailing slash. Some resources are told by their application id instead, which a scope by
 * URI does not say (Key Vault, every API with tokens of version 2.0); a scope by id takes no other id.
 */
const isFor = (audience: unknown, scope: string): boolean => {
  const resource = scope.slice(0, -'/.default'.length)
  if (typeof audience !== 'string') return false
  if (audience === resource || audience === `${resource}/`) return true
  return !GUID.test(resource) && GUID.test(audience)
}

/** Milliseconds that Entra's clock and the way to it may add. */
const CLOCK_SLACK = 60_000

/** The policy is parsed so that `acceptLifetime` is there; where it is not, nothing but the ttl has been accepted. */
const isAccepted = (expiresAt: number, { grant, now, ttl }: MintOrder): boolean => {
  const longest = Math.max(grant.acceptLifetime ?? 0, ttl) * 1000
  return expiresAt > now && expiresAt <= now + longest + CLOCK_SLACK
}

/** `uti` and the correlation id find the sign-in, and every use that the resource logs, again. */
const factsOf = (
  token: Secret,
  claims: Claims | null,
  expiresAt: number,
  { scope, correlationId }: Asked,
): CheckedToken['facts'] => ({
  scope,
  audience: matched(claims?.['aud'], /^[\x21-\x7e]{1,256}$/),
  uti: matched(claims?.['uti'], /^[\w-]{1,64}$/),
  correlation_id: correlationId,
  token_sha256: createHash('sha256').update(token.reveal()).digest('hex'),
  expiration: rfc3339(expiresAt),
})

const matched = (value: unknown, pattern: RegExp): string | null =>
  typeof value === 'string' && pattern.test(value) ? value : null

/** All tokens of a grant; they end when the last of them does. */
export const mintedAzure = (
  { tenant, client, subscription }: AzureGrant,
  tokens: readonly CheckedToken[],
): Minted<SealedAzure> => {
  const expiresAt = Math.max(...tokens.map((each) => each.expiresAt))
  return {
    ok: true,
    reply: {
      tenant_id: tenant,
      client_id: client,
      subscription_id: subscription,
      tokens: tokens.map((each) => ({
        scope: each.scope,
        access_token: each.token,
        expires_at: rfc3339(each.expiresAt),
      })),
      expires_at: rfc3339(expiresAt),
      revocable: AZURE_REVOCABLE,
    },
    facts: { tenant, client, subscription, tokens: tokens.map(({ facts }) => facts) },
    expiresAt,
    revocable: AZURE_REVOCABLE,
  }
}
