import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  sign,
  type KeyObject,
} from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { KeyFileError, openKeyFile, type KeyFile } from './key-file.ts'
import type { PublicJwk, Signer } from './signer.ts'

export { KeyFileError, type KeyFile } from './key-file.ts'

/** A Signer whose key is a file; `fresh` when this start made it, which replicas must not each do. */
export interface FileSigner extends Signer {
  readonly fresh: boolean
}

export interface FileKey {
  /** 32 bytes. */
  readonly key: Uint8Array
  readonly fresh: boolean
}

const MIN_BITS = 2048
const KEY_BYTES = 32

/**
 * RSA key in a PKCS#8 PEM file of mode 0600, made when absent. Throws KeyFileError when the file is a
 * link, open to others, or no RSA key of 2,048 bits or more.
 */
export const openFileSigner = async (file: KeyFile): Promise<FileSigner> => {
  const { bytes, fresh } = await openKeyFile(file, makeRsaPem)
  const key = rsaKey(bytes, join(file.dir, file.name))
  return { ...signerOf(key), fresh }
}

/** 32 random bytes in a file under the same rules, e.g. for the MAC of session rows. */
export const openFileKey = async (file: KeyFile): Promise<FileKey> => {
  const { bytes, fresh } = await openKeyFile(file, () => Promise.resolve(file.random(KEY_BYTES)))
  if (bytes.length !== KEY_BYTES)
    throw new KeyFileError(
      join(file.dir, file.name),
      `holds ${bytes.length} bytes, not ${KEY_BYTES}`,
      'Put 32 random bytes there, or remove the file to have them made.',
    )
  return { key: new Uint8Array(bytes), fresh }
}

/** The public half as our JWKS shows it. kid: RFC 7638 SHA-256 thumbprint. */
export const publicJwk = (key: KeyObject): PublicJwk => {
  const { n, e } = createPublicKey(key).export({ format: 'jwk' })
  if (n === undefined || e === undefined) throw new Error('not an RSA key')
  // RFC 7638 section 3.2: the required members of an RSA key, in lexicographic order.
  const kid = createHash('sha256')
    .update(JSON.stringify({ e, kty: 'RSA', n }))
    .digest('base64url')
  return { kty: 'RSA', alg: 'RS256', use: 'sig', kid, n, e }
}

const generate = promisify(generateKeyPair)

/** 2,048 bits: what every cloud documents, and half the signing time of 3,072. */
const makeRsaPem = async (): Promise<Uint8Array> => {
  const { privateKey } = await generate('rsa', { modulusLength: MIN_BITS })
  return Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' }))
}

const rsaKey = (pem: Buffer, path: string): KeyObject => {
  const key = parsedKey(pem, path)
  // An rsa-pss key could not make the RS256 signatures that the clouds ask for.
  if (key.asymmetricKeyType !== 'rsa')
    throw new KeyFileError(path, 'is not an RSA key', 'Clouds take RS256 only: put an RSA key.')
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  if (bits < MIN_BITS)
    throw new KeyFileError(path, `has ${bits} bits`, `Use an RSA key of ${MIN_BITS} bits or more.`)
  return key
}

const parsedKey = (pem: Buffer, path: string): KeyObject => {
  try {
    return createPrivateKey(pem)
  } catch {
    // The parser's own message may quote the file.
    throw new KeyFileError(
      path,
      'is not a private key in PEM form',
      'Put an unencrypted PKCS#8 PEM there, or remove the file to have a key made.',
    )
  }
}

const signerOf = (key: KeyObject): Signer => {
  const published = Object.freeze([Object.freeze(publicJwk(key))])
  return {
    publicKeys: () => published,
    // With a callback node signs on its thread pool, off the thread that serves.
    sign: (data) =>
      new Promise((resolve, reject) => {
        sign('sha256', data, key, (error, signature) => {
          if (error === null) resolve(signature)
          else reject(error)
        })
      }),
  }
}
