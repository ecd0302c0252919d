/** A public RSA key as our JWKS shows it: these members and no others (AWS refuses `key_ops`, GCP refuses `x5c`). */
export interface PublicJwk {
  readonly kty: 'RSA'
  readonly alg: 'RS256'
  readonly use: 'sig'
  readonly kid: string
  readonly n: string
  readonly e: string
}

/** Holds a private key and signs with it, RS256. A file today; KMS and HSM speak the same port. */
export interface Signer {
  /** The keys to publish; the first one signs. */
  publicKeys(): readonly PublicJwk[]
  /** RSASSA-PKCS1-v1_5 with SHA-256 over `data`, by the first key. */
  sign(data: Uint8Array): Promise<Uint8Array>
}
