import { GcpError } from './answer.ts'
import type { Arrived } from './storage.ts'

/** An object as it was sent. */
export interface Upload {
  readonly name: string
  readonly contentType: string
  readonly bytes: Buffer
  /** Base64; null: the sender gave none. */
  readonly md5: string | null
}

/** `uploadType=media` and `multipart`; resumable uploads are not done here. Throws GcpError `INVALID_ARGUMENT`. */
export function readUpload({ query, headers, body }: Arrived): Upload {
  if (Object.hasOwn(headers, 'content-encoding')) throw invalid('no encoded uploads here')
  const kind = query.get('uploadType')
  const type = headers['content-type'] ?? 'application/octet-stream'
  const name = query.get('name')
  if (kind === 'media') return { name: checkName(name), contentType: type, bytes: body, md5: null }
  if (kind !== 'multipart') throw invalid('only media and multipart uploads here')
  const { resource, contentType, bytes } = readParts(type, body)
  const { name: own = name, contentType: told = contentType, md5Hash = null } = resource
  if (typeof told !== 'string' || (md5Hash !== null && typeof md5Hash !== 'string')) {
    throw invalid('metadata')
  }
  return { name: checkName(own), contentType: told, bytes, md5: md5Hash }
}

function checkName(name: unknown): string {
  const bad =
    typeof name !== 'string' ||
    name === '' ||
    Buffer.byteLength(name) > 1024 ||
    /[\r\n]/.test(name) ||
    name === '.' ||
    name === '..'
  if (bad) throw invalid('Required parameter: name')
  return name
}

interface Parts {
  readonly resource: Readonly<Record<string, unknown>>
  readonly contentType: string
  readonly bytes: Buffer
}

/** RFC 2387: two parts, JSON first. */
function readParts(type: string, body: Buffer): Parts {
  const found = /^multipart\/related;\s*boundary=(?:"([^"]+)"|'([^']+)'|([^\s;]+))$/.exec(type)
  const boundary = found?.[1] ?? found?.[2] ?? found?.[3]
  if (boundary === undefined) throw invalid('no multipart/related')
  // latin1 keeps every byte, so that positions in the text are positions in the body.
  const pieces = `\r\n${body.toString('latin1').replaceAll(/(?<!\r)\n(?=--)/g, '\r\n')}`.split(
    `\r\n--${boundary}`,
  )
  const [, first, second, last] = pieces
  if (pieces.length !== 4 || !/^--\s*$/.test(last ?? '')) throw invalid('not two parts')
  const [json, media] = [readPart(first ?? ''), readPart(second ?? '')]
  try {
    const resource = JSON.parse(Buffer.from(json.content, 'latin1').toString('utf8')) as unknown
    if (typeof resource !== 'object' || resource === null) throw invalid('metadata')
    return {
      resource: resource as Record<string, unknown>,
      contentType: media.type,
      bytes: Buffer.from(media.content, 'latin1'),
    }
  } catch (problem) {
    throw problem instanceof GcpError ? problem : invalid('metadata is not JSON')
  }
}

function readPart(piece: string): { readonly type: string; readonly content: string } {
  const end = /\r?\n\r?\n/.exec(piece)
  if (end === null) throw invalid('a part without head')
  const head = piece.slice(0, end.index)
  const type = /^content-type:\s*(.+?)\s*$/im.exec(head)?.[1] ?? 'application/octet-stream'
  return { type, content: piece.slice(end.index + end[0].length) }
}

function invalid(why: string): GcpError {
  return new GcpError('INVALID_ARGUMENT', 'Bad Request', why)
}
