/** What has been set up in this Entra. Each rule of set-up is Microsoft Graph's; a fault of set-up is thrown as a plain Error. */

export interface FederatedCredential {
  /** 3 to 120 characters that fit a URL. */
  readonly name: string
  /** Equal, byte for byte, to the `iss` of the tokens. */
  readonly issuer: string
  readonly subject: string
  /** Exactly one. */
  readonly audiences: readonly string[]
}

export interface ApplicationInput {
  readonly clientId: string
  readonly federatedCredentials?: readonly FederatedCredential[]
  readonly disabled?: boolean
}

/** An API that tokens can be for. */
export interface ResourceInput {
  readonly appId: string
  readonly identifierUris: readonly string[]
  /** `requestedAccessTokenVersion`: 1 when absent. */
  readonly tokenVersion?: 1 | 2
}

export interface SubscriptionInput {
  readonly id: string
  readonly displayName: string
  /** Client ids that have the role Reader on it. */
  readonly readers: readonly string[]
}

export interface TenantInput {
  /** A GUID. This Entra knows tenants by no other name. */
  readonly id: string
  readonly applications?: readonly ApplicationInput[]
  /** Beside Azure Resource Manager, which every tenant has. */
  readonly resources?: readonly ResourceInput[]
  readonly subscriptions?: readonly SubscriptionInput[]
  /** A tenant policy: no other issuers may be federated. null: any. */
  readonly allowedIssuers?: readonly string[] | null
}

export interface Application {
  readonly clientId: string
  readonly disabled: boolean
  readonly credentials: FederatedCredential[]
}

export interface Tenant {
  readonly id: string
  readonly applications: Map<string, Application>
  readonly resources: readonly ResourceInput[]
  readonly subscriptions: readonly SubscriptionInput[]
  readonly allowedIssuers: readonly string[] | null
}

const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function isGuid(text: string): boolean {
  return GUID.test(text)
}

export const ARM: ResourceInput = {
  appId: '797f4846-ba00-4fd7-ba43-dac1f8f63013',
  identifierUris: ['https://management.azure.com', 'https://management.core.windows.net'],
}

export function makeTenant(input: TenantInput, httpLoopback: boolean): Tenant {
  const ids = [
    input.id,
    ...(input.applications ?? []).map(({ clientId }) => clientId),
    ...(input.subscriptions ?? []).map(({ id }) => id),
    ...(input.resources ?? []).map(({ appId }) => appId),
  ]
  const bad = ids.find((id) => !isGuid(id))
  if (bad !== undefined) throw new Error(`${bad} is no GUID in lower case`)
  const tenant: Tenant = {
    id: input.id,
    applications: new Map(),
    resources: [ARM, ...(input.resources ?? [])],
    subscriptions: input.subscriptions ?? [],
    allowedIssuers: input.allowedIssuers ?? null,
  }
  for (const { clientId, disabled = false, federatedCredentials = [] } of input.applications ??
    []) {
    const application = { clientId, disabled, credentials: [] }
    tenant.applications.set(clientId, application)
    for (const each of federatedCredentials) addCredential(application, each, httpLoopback)
  }
  return tenant
}

const MAX_CREDENTIALS = 20
const MAX_TEXT = 600

export function addCredential(
  application: Application,
  credential: FederatedCredential,
  httpLoopback: boolean,
): void {
  const { name, issuer, subject, audiences } = credential
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{2,119}$/.test(name)) throw new Error('the name is refused')
  if (audiences.length !== 1) throw new Error('exactly one audience')
  const texts = [issuer, subject, ...audiences]
  if (texts.some((text) => text.length < 1 || text.length > MAX_TEXT))
    throw new Error(`issuer, subject and audience have 1 to ${MAX_TEXT} characters`)
  if (!isIssuer(issuer, httpLoopback)) throw new Error('the issuer is no https URL')
  const { credentials } = application
  if (credentials.length === MAX_CREDENTIALS)
    throw new Error(`at most ${MAX_CREDENTIALS} federated credentials`)
  if (credentials.some((one) => one.name === name)) throw new Error('the name is taken')
  if (credentials.some((one) => one.issuer === issuer && one.subject === subject))
    throw new Error('issuer and subject are taken')
  credentials.push(credential)
}

function isIssuer(issuer: string, httpLoopback: boolean): boolean {
  if (httpLoopback && isHttpLoopback(issuer)) return true
  return /^https:\/\/[A-Za-z0-9.-]+(?::\d+)?(?:\/[^?#\s]*)?$/.test(issuer)
}

/** What the zero-configuration broker is: `http://127.0.0.1:<port>`. */
export function isHttpLoopback(url: string): boolean {
  return /^http:\/\/127\.0\.0\.1:\d{1,5}(?:\/[A-Za-z0-9._~/-]*)?$/.test(url)
}
