import { asObject, parseStrictJson } from './json.ts'

/** A compact JWS as its parts say, before any signature is looked at: good for finding a key, and for nothing else. */
export interface UnverifiedJwt {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Readonly<Record<string, unknown>>
}

/**
 * Three base64url parts, the first two JSON objects in UTF-8 without repeated names; else null. The signature may be empty:
 * it is the algorithm that is wrong then. The caller bounds the length.
 */
export const readJwt = (token: string): UnverifiedJwt | null => {
  const [head = '', body = '', signature, ...more] = token.split('.')
  if (signature === undefined || more.length > 0 || !isBase64url(signature)) return null
  const header = readPart(head)
  const payload = readPart(body)
  return header === null || payload === null ? null : { header, payload }
}

/**
 * The one spelling that an encoder makes: no padding, no foreign characters, no stray bits in the last one. A token that can be
 * spelled in two ways has two hashes (RFC 4648 section 3.5).
 */
export const isBase64url = (text: string): boolean =>
  Buffer.from(text, 'base64url').toString('base64url') === text

const readPart = (part: string): Readonly<Record<string, unknown>> | null => {
  if (!isBase64url(part)) return null
  const text = decodeUtf8(Buffer.from(part, 'base64url'))
  const json = text === null ? null : parseStrictJson(text)
  return json?.ok === true ? asObject(json.value) : null
}

/** null when the bytes are not UTF-8. A byte order mark stays, so that JSON.parse refuses it. */
export const decodeUtf8 = (bytes: Uint8Array): string | null => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}
