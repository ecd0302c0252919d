import { verify } from 'node:crypto'
import type { Answer } from '../fault.ts'
import type { SigningKey } from '../signing-key.ts'
import { ARM, type SubscriptionInput, type Tenant } from './tenant.ts'

/** Azure Resource Manager, as far as `GET /subscriptions/<id>`. */
export interface ArmWorld {
  readonly tenants: ReadonlyMap<string, Tenant>
  readonly key: SigningKey
  readonly now: number
}

export class ArmError extends Error {
  readonly code: string
  readonly status: number

  constructor(status: number, code: string, message: string) {
    super(message)
    this.name = 'ArmError'
    this.status = status
    this.code = code
  }
}

type Claims = Readonly<Record<string, unknown>>

/** Throws ArmError. */
export function answerArm(
  url: URL,
  authorization: string | undefined,
  { world, about }: { readonly world: ArmWorld; readonly about: Record<string, string> },
): Answer {
  const claims = authenticate(authorization, world)
  about['client'] = String(claims['appid'])
  about['uti'] = String(claims['uti'])
  if (!/^\d{4}-\d\d-\d\d$/.test(url.searchParams.get('api-version') ?? ''))
    throw new ArmError(
      400,
      'MissingApiVersionParameter',
      'The api-version query parameter (?api-version=) is required for all requests.',
    )
  const { tenant, subscription } = findSubscription(url.pathname, world.tenants)
  about['subscription'] = subscription.id
  authorize(claims, tenant, subscription)
  const { id: subscriptionId, displayName } = subscription
  const id = `/subscriptions/${subscriptionId}`
  const body = { id, subscriptionId, tenantId: tenant.id, displayName, state: 'Enabled' }
  return json(200, body)
}

export function armErrorAnswer({ status, code, message }: ArmError): Answer {
  const answer = json(status, { error: { code, message } })
  if (status !== 401) return answer
  const challenge = `Bearer authorization_uri="https://login.microsoftonline.com/", error="invalid_token", error_description="${message}"`
  return { ...answer, headers: { ...answer.headers, 'www-authenticate': challenge } }
}

function json(status: number, body: unknown): Answer {
  const headers = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-cache' }
  return { status, headers, body: JSON.stringify(body) }
}

function authenticate(authorization: string | undefined, { key, now }: ArmWorld): Claims {
  if (authorization === undefined)
    throw new ArmError(
      401,
      'AuthenticationFailed',
      "Authentication failed. The 'Authorization' header is missing.",
    )
  const [, token] = /^Bearer ([\w-]+\.[\w-]+\.[\w-]+)$/.exec(authorization) ?? []
  const claims = token === undefined ? null : verified(token, key)
  if (claims === null)
    throw invalidToken('InvalidAuthenticationToken', 'The access token is invalid.')
  if (Number(claims['exp']) * 1000 <= now || Number(claims['nbf']) * 1000 > now)
    throw invalidToken(
      'ExpiredAuthenticationToken',
      'The access token expiry UTC time is earlier than current UTC time.',
    )
  const audience = String(claims['aud']).replace(/\/$/, '')
  if (![ARM.appId, ...ARM.identifierUris].includes(audience))
    throw invalidToken(
      'InvalidAuthenticationTokenAudience',
      'The access token has been obtained for wrong audience or resource.',
    )
  return claims
}

function verified(token: string, { publicKey }: SigningKey): Claims | null {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const data = Buffer.from(`${header}.${payload}`, 'ascii')
  try {
    if (decode(header)['alg'] !== 'RS256') return null
    const isOurs = verify('sha256', data, publicKey, Buffer.from(signature, 'base64url'))
    return isOurs ? decode(payload) : null
  } catch {
    return null
  }
}

function decode(part: string): Claims {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Claims
}

function findSubscription(
  path: string,
  tenants: ArmWorld['tenants'],
): { readonly tenant: Tenant; readonly subscription: SubscriptionInput } {
  const [, id] = /^\/subscriptions\/([0-9A-Za-z-]+)$/.exec(path) ?? []
  for (const tenant of tenants.values()) {
    const subscription = tenant.subscriptions.find((one) => one.id === id)
    if (subscription !== undefined) return { tenant, subscription }
  }
  throw new ArmError(
    404,
    'SubscriptionNotFound',
    `The subscription '${id ?? ''}' could not be found.`,
  )
}

function authorize(claims: Claims, tenant: Tenant, { id, readers }: SubscriptionInput): void {
  if (claims['tid'] !== tenant.id)
    throw invalidToken(
      'InvalidAuthenticationTokenTenant',
      `The access token is from the wrong issuer. It must match the tenant '${tenant.id}' associated with this subscription.`,
    )
  const client = String(claims['appid'])
  if (!readers.includes(client))
    throw new ArmError(
      403,
      'AuthorizationFailed',
      `The client '${client}' with object id '${String(claims['oid'])}' does not have authorization to perform action 'Microsoft.Resources/subscriptions/read' over scope '/subscriptions/${id}' or the scope is invalid.`,
    )
}

function invalidToken(code: string, message: string): ArmError {
  return new ArmError(401, code, message)
}
