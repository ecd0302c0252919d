import { ACCESS_TOKEN_CLAIMS, CLOUD_TOKEN_CLAIMS } from './sign.ts'
import type { PublicJwk, Signer } from './signer.ts'

/** OpenID Connect Discovery 1.0 section 3, as far as it means something for an issuer without a login page. */
export interface Discovery {
  readonly issuer: string
  readonly jwks_uri: string
  readonly id_token_signing_alg_values_supported: readonly string[]
  readonly response_types_supported: readonly string[]
  readonly subject_types_supported: readonly string[]
  readonly claims_supported: readonly string[]
}

/** With the members of RFC 8414 and RFC 9449 that a service behind the token issuer reads. */
export interface TokenDiscovery extends Discovery {
  readonly grant_types_supported: readonly string[]
  readonly token_endpoint_auth_methods_supported: readonly string[]
  readonly dpop_signing_alg_values_supported: readonly string[]
}

export interface Jwks {
  readonly keys: readonly PublicJwk[]
}

export const JWKS_PATH = '/.well-known/jwks.json'
export const DISCOVERY_PATH = '/.well-known/openid-configuration'

/** What AWS, GCP and Entra read at `<issuerUrl>/.well-known/openid-configuration`. */
export const cloudDiscovery = (issuerUrl: string): Discovery => ({
  issuer: issuerUrl,
  jwks_uri: issuerUrl + JWKS_PATH,
  id_token_signing_alg_values_supported: ['RS256'],
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  claims_supported: CLOUD_TOKEN_CLAIMS,
})

/**
 * What internal services read of the token issuer. No token_endpoint: this version has none.
 * grant_types_supported must be said, its default would promise a login page.
 */
export const tokenDiscovery = (tokenIssuerUrl: string): TokenDiscovery => ({
  issuer: tokenIssuerUrl,
  jwks_uri: tokenIssuerUrl + JWKS_PATH,
  id_token_signing_alg_values_supported: ['RS256'],
  response_types_supported: ['token'],
  subject_types_supported: ['public'],
  claims_supported: ACCESS_TOKEN_CLAIMS,
  grant_types_supported: ['urn:ietf:params:oauth:grant-type:token-exchange'],
  token_endpoint_auth_methods_supported: ['none'],
  dpop_signing_alg_values_supported: ['ES256'],
})

/** The members are copied by name: a Signer that shows more of its key does not get it published. */
export const jwks = (signer: Signer): Jwks => ({
  keys: signer
    .publicKeys()
    .map(({ kty, alg, use, kid, n, e }): PublicJwk => ({ kty, alg, use, kid, n, e })),
})
