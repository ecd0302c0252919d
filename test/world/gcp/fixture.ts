import type { JWTPayload } from 'jose'
import { DISCOVERY, ISSUER, makeKey, signToken, startIssuer, type TestKey } from '../aws/fixture.ts'
import { startGcp, tvmMember, tvmProvider, type GcpSettings, type LocalGcp } from './index.ts'

/** What the tests of the local Google Cloud have in common: a project that trusts an issuer, and its tokens. */

export const NUMBER = '123456789012'
export const POOL = `projects/${NUMBER}/locations/global/workloadIdentityPools/tvm-pool`
export const PROVIDER = `${POOL}/providers/tvm-broker`
export const AUDIENCE = `//iam.googleapis.com/${PROVIDER}`
export const ACCOUNT = 'deploy@acme-prod.iam.gserviceaccount.com'
export const GRANT = 'payments-deploy'
export const MEMBER = tvmMember(PROVIDER, GRANT)
export const JOB = 'github/99120/19582107001/1/55881234001'
export const PLATFORM = 'https://www.googleapis.com/auth/cloud-platform'
export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const TYPE = 'urn:ietf:params:oauth:token-type'

export interface Scene {
  readonly gcp: LocalGcp
  readonly issuer: Awaited<ReturnType<typeof startIssuer>>
  readonly key: TestKey
  close(): Promise<void>
}

/** A pool, a provider, an account that the grant may act as, and a bucket of that account's. */
export async function openScene(
  settings: Partial<GcpSettings> & { now: () => number },
): Promise<Scene> {
  const issuer = await startIssuer()
  const key = await makeKey('RS256', 'key-1')
  issuer.pages.set('/.well-known/openid-configuration', DISCOVERY)
  issuer.pages.set('/.well-known/jwks.json', { keys: [key.jwk] })
  const gcp = await startGcp({ resolve: { [ISSUER]: issuer.url }, issuerTimeout: 500, ...settings })
  gcp.createPool('tvm-pool')
  gcp.createProvider(tvmProvider({ pool: 'tvm-pool', id: 'tvm-broker', issuerUri: ISSUER }))
  gcp.createServiceAccount(ACCOUNT)
  gcp.bind(ACCOUNT, { role: 'roles/iam.workloadIdentityUser', member: MEMBER })
  gcp.createBucket('artifacts')
  gcp.bind('artifacts', { role: 'roles/storage.admin', member: `serviceAccount:${ACCOUNT}` })
  const close = async () => {
    issuer.close()
    await gcp.close()
  }
  return { gcp, issuer, key, close }
}

/** The claims of a token as the broker makes them; `now` in milliseconds. */
export function goodClaims(now: number): JWTPayload {
  const seconds = Math.floor(now / 1000)
  return {
    iss: ISSUER,
    sub: `grant:${GRANT}`,
    aud: AUDIENCE,
    iat: seconds - 5,
    nbf: seconds - 5,
    exp: seconds + 60,
    jti: '01j0000000000000000000000b',
    grant: GRANT,
    job: JOB,
    repository_id: '99120',
  }
}

export interface Said {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

export async function say(url: string, init: RequestInit): Promise<Said> {
  const response = await fetch(url, { redirect: 'manual', ...init })
  const text = await response.text()
  const body = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  return { status: response.status, body }
}

/** One exchange at STS; a parameter that is null is left out. */
export function exchange(
  gcp: LocalGcp,
  parameters: Readonly<Record<string, string | null>>,
): Promise<Said> {
  const given = Object.entries(parameters).flatMap(([name, value]) =>
    value === null ? [] : [[name, value] as [string, string]],
  )
  return say(`${gcp.url}/v1/token`, { method: 'POST', body: new URLSearchParams(given) })
}

/** A federated exchange that is right in everything but the changes. */
export async function federate(
  { gcp, key }: Scene,
  now: number,
  claims: Readonly<Record<string, unknown>> = {},
  parameters: Readonly<Record<string, string | null>> = {},
): Promise<Said> {
  return exchange(gcp, {
    grant_type: EXCHANGE,
    audience: AUDIENCE,
    scope: PLATFORM,
    requested_token_type: `${TYPE}:access_token`,
    subject_token_type: `${TYPE}:jwt`,
    subject_token: await signToken(
      { ...goodClaims(now), ...claims },
      { ...key, alg: 'RS256', kid: 'key-1' },
    ),
    ...parameters,
  })
}

export function generate(
  gcp: LocalGcp,
  token: string,
  body: unknown = { scope: [PLATFORM], lifetime: '900s' },
  name = `projects/-/serviceAccounts/${ACCOUNT}`,
): Promise<Said> {
  return say(`${gcp.url}/v1/${name}:generateAccessToken`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

export function cutDown(
  gcp: LocalGcp,
  token: string,
  options: unknown,
  parameters: Readonly<Record<string, string | null>> = {},
): Promise<Said> {
  return exchange(gcp, {
    grant_type: EXCHANGE,
    requested_token_type: `${TYPE}:access_token`,
    subject_token_type: `${TYPE}:access_token`,
    subject_token: token,
    options: typeof options === 'string' ? options : JSON.stringify(options),
    ...parameters,
  })
}

/** The account's token, for 900 s. */
export async function accountToken(scene: Scene, now: number, scope = [PLATFORM]): Promise<string> {
  const federated = await federate(scene, now)
  const { body } = await generate(scene.gcp, federated.body['access_token'] as string, {
    scope,
    lifetime: '900s',
  })
  return body['accessToken'] as string
}
