import { createHash } from 'node:crypto'
import { crc32c } from './crc32c.ts'
import { GcpError, json, type Answer } from './answer.ts'
import { isWithin, type Ask } from './boundary.ts'
import { authenticate } from './iam-credentials.ts'
import type { Bucket, State, StoredObject, Token } from './project.ts'
import { nameOf, permits, type Permission } from './roles.ts'
import type { About } from './sts.ts'
import { readUpload } from './upload.ts'

/** Cloud Storage over its JSON API. What it does not do, it refuses: no parameter is ignored. */

export interface Arrived {
  readonly method: string
  /** Percent-encoded. */
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export type StorageOperation =
  'InsertObject' | 'GetObject' | 'DeleteObject' | 'ListObjects' | 'GetBucket'

/** Where a request goes; object null: the bucket. */
interface Place {
  readonly operation: StorageOperation
  readonly bucket: string
  readonly object: string | null
}

const PATH =
  /^(?<base>\/upload\/storage\/v1|\/download\/storage\/v1|\/storage\/v1)\/b\/(?<bucket>[^/]+)(?<objects>\/o(?:\/(?<object>[^/]+))?)?$/

/** What a request means by its method and path; null: it is none that is done here. */
export function placeOf({ method, path }: Arrived): Place | null {
  const groups = PATH.exec(path)?.groups
  if (groups === undefined) return null
  const { base = '', bucket = '', objects, object } = groups
  const operation = operationOf(method, base, objects !== undefined, object !== undefined)
  return operation === null
    ? null
    : { operation, bucket, object: object === undefined ? null : decodeURIComponent(object) }
}

function operationOf(
  method: string,
  base: string,
  objects: boolean,
  object: boolean,
): StorageOperation | null {
  if (base.startsWith('/upload')) {
    return method === 'POST' && objects && !object ? 'InsertObject' : null
  }
  if (object) return method === 'GET' ? 'GetObject' : method === 'DELETE' ? 'DeleteObject' : null
  if (method !== 'GET' || base.startsWith('/download')) return null
  return objects ? 'ListObjects' : 'GetBucket'
}

/** `fields` and `projection` only shorten an answer. */
const HARMLESS = ['alt', 'fields', 'projection', 'prettyPrint']
const QUERIES: Readonly<Record<StorageOperation, readonly string[]>> = {
  InsertObject: ['uploadType', 'name', 'ifGenerationMatch'],
  GetObject: ['generation'],
  DeleteObject: ['ifGenerationMatch', 'generation'],
  ListObjects: [
    'prefix',
    'delimiter',
    'maxResults',
    'includeTrailingDelimiter',
    'includeFoldersAsPrefixes',
    'versions',
  ],
  GetBucket: [],
}

const SCOPES = {
  read: ['devstorage.read_only', 'cloud-platform.read-only'],
  write: ['devstorage.read_write', 'devstorage.full_control', 'cloud-platform'],
} as const

export interface StorageCall {
  readonly state: State
  /** Milliseconds. */
  readonly now: number
  readonly about: About
}

/** Throws GcpError, with a google.rpc.Code. */
export function answerStorage(arrived: Arrived, call: StorageCall): Answer {
  const token = authenticate(arrived.headers['authorization'], call.state, call.now)
  call.about['principal'] = nameOf(call.state.number, token.identity)
  const place = placeOf(arrived)
  if (place === null) throw new GcpError('UNIMPLEMENTED', 'Not done in this cloud.')
  const odd = [...arrived.query.keys()].find(
    (name) => !HARMLESS.includes(name) && !QUERIES[place.operation].includes(name),
  )
  if (odd !== undefined) throw new GcpError('INVALID_ARGUMENT', `Unknown parameter ${odd}.`)
  call.about['bucket'] = place.bucket
  const origin = `http://${arrived.headers['host'] ?? ''}`
  return OPERATIONS[place.operation](arrived, new Visit(place, { token, origin, call }))
}

interface Caller {
  readonly token: Token
  readonly origin: string
  readonly call: StorageCall
}

/** One request of somebody known. */
class Visit {
  readonly place: Place
  readonly call: StorageCall
  /** Where links in answers lead. */
  readonly origin: string
  readonly #token: Token

  constructor(place: Place, { token, origin, call }: Caller) {
    this.place = place
    this.origin = origin
    this.#token = token
    this.call = call
  }

  /** The bucket, once the permission on `object` is there. Whoever may not look is not told whether it exists. */
  authorize(permission: Permission, object: string | null, prefix = ''): Bucket {
    const { state } = this.call
    const { identity, scopes, boundary } = this.#token
    if (object !== null) this.call.about['object'] = object
    const wanted = /\.(?:create|delete)$/.test(permission)
      ? SCOPES.write
      : [...SCOPES.read, ...SCOPES.write]
    if (!wanted.some((name) => scopes.includes(`https://www.googleapis.com/auth/${name}`))) {
      throw new GcpError('PERMISSION_DENIED', 'Insufficient Permission', 'scope')
    }
    const bucket = state.buckets.get(this.place.bucket)
    const asking = { number: state.number, identity }
    const ask: Ask = { bucket: this.place.bucket, object, permission, prefix }
    const why =
      bucket === undefined
        ? 'there is no such bucket'
        : !permits(bucket.policy, asking, permission)
          ? 'no binding'
          : boundary !== null && !isWithin(boundary, ask)
            ? 'access boundary'
            : null
    if (bucket !== undefined && why === null) return bucket
    throw new GcpError(
      'PERMISSION_DENIED',
      `${nameOf(state.number, identity)} does not have ${permission} access to the Google Cloud Storage resource. Permission '${permission}' denied on resource (or it may not exist).`,
      why,
    )
  }
}

const OPERATIONS: Readonly<Record<StorageOperation, (arrived: Arrived, visit: Visit) => Answer>> = {
  InsertObject: insertObject,
  GetObject: getObject,
  DeleteObject: deleteObject,
  ListObjects: listObjects,
  GetBucket: getBucket,
}

function insertObject(arrived: Arrived, visit: Visit): Answer {
  const { name, contentType, bytes, md5 } = readUpload(arrived)
  const bucket = visit.authorize('storage.objects.create', name)
  const old = bucket.objects.get(name)
  checkGeneration(arrived, old)
  // What replaces an object deletes it.
  if (old !== undefined) visit.authorize('storage.objects.delete', name)
  if (md5 !== null && md5 !== digest(bytes)) {
    throw new GcpError('INVALID_ARGUMENT', 'Provided MD5 hash does not match.')
  }
  const { now } = visit.call
  const stored = { bytes, contentType, modifiedAt: now, generation: (old?.generation ?? 0) + 1 }
  bucket.objects.set(name, stored)
  return json(200, metadata(visit, name, stored))
}

function checkGeneration({ query }: Arrived, old: StoredObject | undefined): void {
  const wanted = query.get('ifGenerationMatch')
  if (wanted !== null && wanted !== String(old?.generation ?? 0)) {
    throw new GcpError(
      'FAILED_PRECONDITION',
      'At least one of the pre-conditions you specified did not hold.',
      null,
      412,
    )
  }
}

function getObject({ query, path }: Arrived, visit: Visit): Answer {
  const name = visit.place.object ?? ''
  const stored = visit.authorize('storage.objects.get', name).objects.get(name)
  if (stored === undefined) throw notFound(`${visit.place.bucket}/${name}`)
  if (query.get('alt') !== 'media' && !path.startsWith('/download')) {
    return json(200, metadata(visit, name, stored))
  }
  const headers = {
    'content-type': stored.contentType,
    'x-goog-hash': `crc32c=${crc32c(stored.bytes)},md5=${digest(stored.bytes)}`,
    'x-goog-generation': String(stored.generation),
  }
  return { status: 200, headers, body: stored.bytes }
}

function deleteObject(arrived: Arrived, visit: Visit): Answer {
  const name = visit.place.object ?? ''
  const { objects } = visit.authorize('storage.objects.delete', name)
  const stored = objects.get(name)
  if (stored === undefined) throw notFound(`${visit.place.bucket}/${name}`)
  checkGeneration(arrived, stored)
  objects.delete(name)
  return { status: 204, headers: {}, body: '' }
}

function listObjects({ query }: Arrived, visit: Visit): Answer {
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const { objects } = visit.authorize('storage.objects.list', null, prefix)
  const found = [...objects].filter(([name]) => name.startsWith(prefix)).sort()
  const cut = (name: string) => {
    const at = delimiter === '' ? -1 : name.indexOf(delimiter, prefix.length)
    return at < 0 ? null : name.slice(0, at + delimiter.length)
  }
  const items = found.filter(([name]) => cut(name) === null)
  const prefixes = found.map(([name]) => cut(name)).filter((one) => one !== null)
  return json(200, {
    kind: 'storage#objects',
    items: items.map(([name, stored]) => metadata(visit, name, stored)),
    prefixes: [...new Set(prefixes)],
  })
}

function getBucket(_: Arrived, visit: Visit): Answer {
  visit.authorize('storage.buckets.get', null)
  const { bucket: name } = visit.place
  return json(200, { kind: 'storage#bucket', id: name, name, location: 'EU' })
}

function metadata({ place: { bucket }, origin }: Visit, name: string, stored: StoredObject) {
  const path = `b/${bucket}/o/${encodeURIComponent(name)}`
  const at = new Date(stored.modifiedAt).toISOString()
  return {
    kind: 'storage#object',
    id: `${bucket}/${name}/${stored.generation}`,
    bucket,
    name,
    selfLink: `${origin}/storage/v1/${path}`,
    mediaLink: `${origin}/download/storage/v1/${path}?generation=${stored.generation}&alt=media`,
    contentType: stored.contentType,
    size: String(stored.bytes.length),
    md5Hash: digest(stored.bytes),
    crc32c: crc32c(stored.bytes),
    generation: String(stored.generation),
    metageneration: '1',
    storageClass: 'STANDARD',
    timeCreated: at,
    updated: at,
  }
}

function digest(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64')
}

function notFound(what: string): GcpError {
  return new GcpError('NOT_FOUND', `No such object: ${what}`)
}
