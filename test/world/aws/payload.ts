import { createHash } from 'node:crypto'
import { AwsError } from './answer.ts'
import { sha256, type Arrived } from './sigv4.ts'

/** The body of an upload, out of whatever wrapping, held against every digest that came with it. */
export interface Payload {
  readonly bytes: Uint8Array
  /** `x-amz-checksum-…` as given, verified. */
  readonly checksums: Readonly<Record<string, string>>
}

/** Throws AwsError `XAmzContentSHA256Mismatch`, `BadDigest`, `IncompleteBody`, `NotImplemented`, … */
export function readPayload({ headers, body }: Arrived): Payload {
  const stated = headers['x-amz-content-sha256']
  if (stated === undefined) {
    throw new AwsError(
      'InvalidRequest',
      'Missing required header for this request: x-amz-content-sha256',
    )
  }
  if (stated === 'STREAMING-UNSIGNED-PAYLOAD-TRAILER') return readChunked(headers, body)
  if (stated.startsWith('STREAMING-')) throw notImplemented(stated)
  if (stated !== 'UNSIGNED-PAYLOAD' && stated !== sha256(body)) {
    throw new AwsError(
      'XAmzContentSHA256Mismatch',
      "The provided 'x-amz-content-sha256' header does not match what was computed.",
    )
  }
  return checked(body, headers, checksumsIn(headers))
}

type Headers = Arrived['headers']

function readChunked(headers: Headers, body: Uint8Array): Payload {
  if (!(headers['content-encoding'] ?? '').split(',').some((one) => one.trim() === 'aws-chunked')) {
    throw new AwsError('InvalidRequest', 'Content-Encoding is not aws-chunked')
  }
  const { bytes, trailer } = unchunk(Buffer.from(body))
  if (headers['x-amz-decoded-content-length'] !== String(bytes.length)) {
    throw incompleteBody('x-amz-decoded-content-length')
  }
  const announced = (headers['x-amz-trailer'] ?? '').toLowerCase()
  if (Object.keys(trailer).join() !== announced) throw malformedTrailer()
  return checked(bytes, headers, { ...checksumsIn(headers), ...checksumsIn(trailer) })
}

/** `<hex size>\r\n<bytes>\r\n … 0\r\n<name>:<value>\r\n\r\n` */
function unchunk(body: Buffer): { bytes: Buffer; trailer: Record<string, string> } {
  const chunks: Buffer[] = []
  let at = 0
  for (;;) {
    const end = body.indexOf('\r\n', at)
    const size = end < 0 ? '' : body.toString('latin1', at, end)
    if (!/^[0-9a-fA-F]{1,8}$/.test(size)) throw incompleteBody('chunk size')
    const start = end + 2
    const length = Number.parseInt(size, 16)
    if (length === 0) return { bytes: Buffer.concat(chunks), trailer: readTrailer(body, start) }
    if (body.toString('latin1', start + length, start + length + 2) !== '\r\n') {
      throw incompleteBody('chunk end')
    }
    chunks.push(body.subarray(start, start + length))
    at = start + length + 2
  }
}

function readTrailer(body: Buffer, start: number): Record<string, string> {
  const text = body.toString('latin1', start)
  if (!/^(?:[^\r\n]+\r\n)*\r\n$/.test(text)) throw malformedTrailer()
  const lines = text.split('\r\n').filter((line) => line !== '')
  return Object.fromEntries(
    lines.map((line) => {
      const [name = '', ...value] = line.split(':')
      return [name.trim().toLowerCase(), value.join(':').trim()]
    }),
  )
}

const CHECKSUM = /^x-amz-checksum-(?!mode$|algorithm$|type$)/

function checksumsIn(headers: Headers): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => CHECKSUM.test(name)))
}

function checked(bytes: Uint8Array, headers: Headers, checksums: Record<string, string>): Payload {
  for (const [name, value] of Object.entries(checksums)) {
    const algorithm = name.replace(CHECKSUM, '')
    const digest = DIGESTS[algorithm]
    if (digest === undefined) throw notImplemented(name)
    if (digest(bytes) !== value) {
      const message = `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.`
      throw new AwsError('BadDigest', message)
    }
  }
  const md5 = headers['content-md5']
  if (md5 !== undefined && md5 !== createHash('md5').update(bytes).digest('base64')) {
    throw new AwsError('BadDigest', 'The Content-MD5 you specified did not match what we received.')
  }
  return { bytes, checksums }
}

/** Base64 of the big-endian digest. */
const DIGESTS: Readonly<Record<string, (bytes: Uint8Array) => string>> = {
  crc32: crc(32, 0xedb88320n),
  crc32c: crc(32, 0x82f63b78n),
  crc64nvme: crc(64, 0x9a6c9329ac4bc9b5n),
  sha1: (bytes) => createHash('sha1').update(bytes).digest('base64'),
  sha256: (bytes) => createHash('sha256').update(bytes).digest('base64'),
}

/** A reflected CRC with all bits set before and turned over after; `polynomial` is reflected too. */
function crc(width: 32 | 64, polynomial: bigint): (bytes: Uint8Array) => string {
  const ones = (1n << BigInt(width)) - 1n
  const table = Array.from({ length: 256 }, (_, byte) => {
    let value = BigInt(byte)
    for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ polynomial : value >> 1n
    return value
  })
  return (bytes) => {
    let value = ones
    for (const byte of bytes) {
      value = (value >> 8n) ^ (table[Number(value & 0xffn) ^ byte] ?? 0n)
    }
    const hex = (value ^ ones).toString(16).padStart(width / 4, '0')
    return Buffer.from(hex, 'hex').toString('base64')
  }
}

function notImplemented(what: string): AwsError {
  return new AwsError(
    'NotImplemented',
    'A header you provided implies functionality that is not implemented',
    501,
    what,
  )
}

function incompleteBody(why: string): AwsError {
  return new AwsError('IncompleteBody', 'The request body terminated unexpectedly', 400, why)
}

function malformedTrailer(): AwsError {
  return new AwsError(
    'MalformedTrailerError',
    'The request contained trailing data that was not well-formed or did not conform to our published schema.',
  )
}
