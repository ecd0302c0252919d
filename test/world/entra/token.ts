import { randomBytes, randomUUID } from 'node:crypto'
import { signCompact, type SigningKey } from '../signing-key.ts'
import { judgeAssertion } from './assertion.ts'
import { EntraError } from './error.ts'
import type { Issuers } from './issuer.ts'
import { isGuid, type Application, type ResourceInput, type Tenant } from './tenant.ts'

/** The token endpoint: the client-credentials grant with a client assertion, and nothing else. */
export interface TokenWorld {
  readonly tenants: ReadonlyMap<string, Tenant>
  readonly issuers: Issuers
  readonly key: SigningKey
  /** Seconds that the next token lives. */
  readonly lifetime: () => number
  readonly now: number
}

/** What a call was about, for the log: verified facts, no secrets. Filled in as they become known. */
export type About = Record<string, string>

export interface Granted {
  readonly token_type: 'Bearer'
  readonly expires_in: number
  readonly ext_expires_in: number
  readonly access_token: string
}

/** Throws EntraError. */
export async function answerToken(
  tenantName: string,
  form: URLSearchParams,
  { world, about }: { readonly world: TokenWorld; readonly about: About },
): Promise<Granted> {
  const tenant = findTenant(tenantName, world.tenants)
  const parameters = readForm(form)
  const application = findApplication(parameters.client_id, tenant)
  about['tenant'] = tenant.id
  about['client'] = application.clientId
  about['scope'] = parameters.scope
  const resource = findResource(parameters.scope, tenant)
  const at = { tenant, application, now: world.now }
  about['subject'] = await judgeAssertion(parameters.client_assertion, at, world.issuers)
  return grant({ tenant, application, ...resource }, world, about)
}

function findTenant(name: string, tenants: TokenWorld['tenants']): Tenant {
  if (['common', 'organizations', 'consumers'].includes(name))
    throw new EntraError(
      50059,
      'No tenant-identifying information found in either the request or implied by any provided credentials.',
    )
  const tenant = tenants.get(name)
  if (tenant === undefined)
    throw new EntraError(
      90002,
      `Tenant '${name}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.`,
    )
  return tenant
}

const PARAMETERS = [
  ...['grant_type', 'client_id', 'scope', 'client_assertion_type', 'client_assertion'],
] as const

type Parameters = Readonly<Record<(typeof PARAMETERS)[number], string>>

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

function readForm(form: URLSearchParams): Parameters {
  const [grantType] = form.getAll('grant_type')
  if (grantType === undefined) throw missing('grant_type')
  if (grantType !== 'client_credentials')
    throw new EntraError(70003, `The app requested an unsupported grant type '${grantType}'.`)
  if (!form.has('client_id')) throw missing('client_id')
  if (!form.has('client_assertion') || form.get('client_assertion_type') !== JWT_BEARER)
    throw new EntraError(
      7000216,
      "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    )
  if (!form.has('scope')) throw missing('scope')
  const read = PARAMETERS.map((name) => [name, form.getAll(name)] as const)
  // The real one may be laxer about both; ours sends neither.
  const twice = read.find(([, values]) => values.length !== 1)
  if (twice !== undefined) throw invalidParameter(twice[0])
  if (form.has('client_secret')) throw invalidParameter('client_secret')
  return Object.fromEntries(read.map(([name, [value]]) => [name, value])) as Parameters
}

function findApplication(clientId: string, { id, applications }: Tenant): Application {
  const application = applications.get(clientId)
  if (application === undefined)
    throw new EntraError(
      700016,
      `Application with identifier '${clientId}' was not found in the directory '${id}'.`,
    )
  if (application.disabled) throw new EntraError(7000112, `Application '${clientId}' is disabled.`)
  return application
}

interface Resource {
  readonly resource: ResourceInput
  /** As the token's `aud` tells it. */
  readonly audience: string
}

const DEFAULT = '/.default'

function findResource(scope: string, { id, resources }: Tenant): Resource {
  const [only = '', ...more] = scope.split(' ').filter((part) => part !== '')
  if (only === '' || more.length > 0)
    throw new EntraError(70011, `The provided value for the input parameter 'scope' is not valid.`)
  if (!only.endsWith(DEFAULT))
    throw new EntraError(
      1002012,
      `The provided value for scope ${only} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).`,
    )
  const name = only.slice(0, -DEFAULT.length)
  const bare = name.replace(/\/$/, '')
  const resource = resources.find(
    ({ appId, identifierUris }) => appId === name || identifierUris.includes(bare),
  )
  if (resource === undefined)
    throw new EntraError(
      500011,
      `The resource principal named ${name} was not found in the tenant named ${id}.`,
    )
  const audience = resource.tokenVersion === 2 || isGuid(name) ? resource.appId : name
  return { resource, audience }
}

type Grant = Resource & { readonly tenant: Tenant; readonly application: Application }

/** Seconds that a token is backdated, as the real one's are. */
const BACKDATE = 300

function grant(
  { tenant, application, resource, audience }: Grant,
  { key, lifetime, now }: TokenWorld,
  about: About,
): Granted {
  const seconds = lifetime()
  const issued = Math.floor(now / 1000)
  const uti = randomBytes(16).toString('base64url')
  const oid = randomUUID()
  const isV2 = resource.tokenVersion === 2
  const claims = {
    aud: audience,
    iss: isV2
      ? `https://login.microsoftonline.com/${tenant.id}/v2.0`
      : `https://sts.windows.net/${tenant.id}/`,
    iat: issued - BACKDATE,
    nbf: issued - BACKDATE,
    exp: issued + seconds,
    ...(isV2
      ? { azp: application.clientId, azpacr: '2' }
      : {
          appid: application.clientId,
          appidacr: '2',
          idp: `https://sts.windows.net/${tenant.id}/`,
        }),
    idtyp: 'app',
    oid,
    sub: oid,
    tid: tenant.id,
    uti,
    ver: isV2 ? '2.0' : '1.0',
  }
  about['uti'] = uti
  about['expires_in'] = String(seconds)
  const header = { typ: 'JWT', alg: 'RS256', kid: key.kid, x5t: key.x5t }
  const access_token = signCompact(header, claims, 'RS256', key.privateKey)
  return { token_type: 'Bearer', expires_in: seconds, ext_expires_in: seconds, access_token }
}

function missing(name: string): EntraError {
  return new EntraError(900144, `The request body must contain the following parameter: '${name}'.`)
}

function invalidParameter(name: string): EntraError {
  return new EntraError(90100, `The parameter '${name}' is empty or not valid.`)
}
