import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  AssumeRoleWithWebIdentityCommand,
  STSClient,
  type AssumeRoleWithWebIdentityCommandInput,
} from '@aws-sdk/client-sts'
import {
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from 'jose'

/** What the tests of the local AWS have in common: an issuer that says what it is told, and its tokens. */

export const ISSUER = 'https://tvm.example.com'
export const ACCOUNT = '111122223333'
export const PROVIDER_ARN = `arn:aws:iam::${ACCOUNT}:oidc-provider/tvm.example.com`
export const ROLE = `arn:aws:iam::${ACCOUNT}:role/tvm/payments-deploy`
export const SOURCE_IDENTITY = 'ses_01j0000000000000000000000a'
export const SESSION_NAME = 'tvm-99120-51725241954'

export interface ScriptedIssuer {
  readonly url: string
  /** Path → JSON value; a number is a status, over a body that would do; `hang` never answers. Anything else is 404. */
  readonly pages: Map<string, unknown>
  close(): void
}

export async function startIssuer(): Promise<ScriptedIssuer> {
  const pages = new Map<string, unknown>()
  const server = createServer((request, response) => {
    const page = pages.has(request.url ?? '') ? pages.get(request.url ?? '') : 404
    if (page === 'hang') return
    if (page instanceof URL) {
      response.writeHead(302, { location: page.href }).end()
    } else if (typeof page === 'number') {
      response.writeHead(page).end(JSON.stringify(DISCOVERY))
    } else {
      response.end(page instanceof Uint8Array ? page : JSON.stringify(page))
    }
  })
  const { promise, resolve } = Promise.withResolvers<undefined>()
  server.listen(0, '127.0.0.1', () => resolve(undefined))
  await promise
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pages,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

export const DISCOVERY = {
  issuer: ISSUER,
  jwks_uri: `${ISSUER}/.well-known/jwks.json`,
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
} as const

export interface TestKey {
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}

export async function makeKey(alg: string, kid: string): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { privateKey, jwk: { ...jwk, alg, use: 'sig', kid } }
}

/** The claims of a token as the broker makes them; `now` in milliseconds. */
export function goodClaims(now: number): JWTPayload {
  const iat = Math.floor(now / 1000)
  return {
    iss: ISSUER,
    sub: 'grant:payments-deploy',
    aud: 'sts.amazonaws.com',
    iat,
    exp: iat + 60,
    jti: '01j0000000000000000000000b',
    'https://aws.amazon.com/tags': {
      principal_tags: {
        'tvm:grant': ['payments-deploy'],
        'tvm:repository_id': ['99120'],
        'tvm:job': ['51725241954'],
      },
      transitive_tag_keys: ['tvm:grant'],
    },
    'https://aws.amazon.com/source_identity': SOURCE_IDENTITY,
    'https://aws.amazon.com/roles': [ROLE],
  }
}

export async function signToken(
  claims: JWTPayload,
  key: { readonly privateKey: CryptoKey | Uint8Array; readonly alg: string; readonly kid?: string },
): Promise<string> {
  const header = key.kid === undefined ? { alg: key.alg } : { alg: key.alg, kid: key.kid }
  return new SignJWT(claims).setProtectedHeader(header).sign(key.privateKey)
}

/** A client of STS that asks once and has no credentials. */
export function stsClient(url: string): STSClient {
  return new STSClient({ endpoint: url, region: 'eu-west-1', maxAttempts: 1 })
}

/** A token of the broker's, as good as it gets but for `change`. */
export async function brokerToken(
  key: TestKey,
  now: number,
  change: JWTPayload = {},
): Promise<string> {
  return signToken({ ...goodClaims(now), ...change }, { ...key, alg: 'RS256', kid: 'key-1' })
}

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
}

/** What STS gives for a token; throws what it throws. */
export async function assumeRole(
  url: string,
  input: Partial<AssumeRoleWithWebIdentityCommandInput>,
): Promise<Credentials> {
  const client = stsClient(url)
  const command = new AssumeRoleWithWebIdentityCommand({
    RoleArn: ROLE,
    RoleSessionName: SESSION_NAME,
    DurationSeconds: 900,
    WebIdentityToken: undefined,
    ...input,
  })
  const { Credentials } = await client.send(command).finally(() => client.destroy())
  return {
    accessKeyId: Credentials?.AccessKeyId ?? '',
    secretAccessKey: Credentials?.SecretAccessKey ?? '',
    sessionToken: Credentials?.SessionToken ?? '',
  }
}
