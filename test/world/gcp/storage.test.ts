import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  accountToken,
  ACCOUNT,
  cutDown,
  federate,
  MEMBER,
  openScene,
  PLATFORM,
  type Said,
  type Scene,
} from './fixture.ts'

const START = Date.parse('2026-11-22T01:27:00.500Z')
const WRITE = 'https://www.googleapis.com/auth/devstorage.read_write'
const READ = 'https://www.googleapis.com/auth/devstorage.read_only'

let now = START
let scene: Scene

beforeEach(async () => {
  now = START
  scene = await openScene({ now: () => now })
})

afterEach(() => scene.close())

type Verb = (token: string, name: string) => Promise<Said>

type Init = Omit<RequestInit, 'headers'> & { readonly headers?: Readonly<Record<string, string>> }

const ask = async (token: string, path: string, init: Init = {}): Promise<Said> => {
  const headers = { authorization: `Bearer ${token}`, ...(init.headers ?? {}) }
  const response = await fetch(scene.gcp.url + path, { ...init, headers })
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
  const body = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text }
  return { status: response.status, body }
}

const object = (name: string, bucket = 'artifacts') =>
  `/storage/v1/b/${bucket}/o/${encodeURIComponent(name)}`
const put: Verb = (token, name) =>
  ask(token, `/upload/storage/v1/b/artifacts/o?uploadType=media&name=${encodeURIComponent(name)}`, {
    method: 'POST',
    body: 'hello',
    headers: { 'content-type': 'text/plain' },
  })
const get: Verb = (token, name) => ask(token, `${object(name)}?alt=media`)
const remove: Verb = (token, name) => ask(token, object(name), { method: 'DELETE' })
const list: Verb = (token, prefix) =>
  ask(token, `/storage/v1/b/artifacts/o?prefix=${encodeURIComponent(prefix)}`)
const look: Verb = (token) => ask(token, '/storage/v1/b/artifacts')

const full = () => accountToken(scene, now)
const bounded = async (roles: readonly string[], expression?: string, bucket = 'artifacts') => {
  const rule = {
    availableResource: `//storage.googleapis.com/projects/_/buckets/${bucket}`,
    availablePermissions: roles.map((role) => `inRole:roles/storage.${role}`),
    ...(expression !== undefined && { availabilityCondition: { expression } }),
  }
  const options = { accessBoundary: { accessBoundaryRules: [rule] } }
  return (await cutDown(scene.gcp, await full(), options)).body['access_token'] as string
}

describe('Cloud Storage', () => {
  test('keeps what is uploaded, and gives it back', async () => {
    const token = await full()
    expect(await put(token, '99120/a b')).toMatchObject({
      status: 200,
      body: {
        name: '99120/a b',
        size: '5',
        crc32c: 'mnG7TA==',
        md5Hash: 'XUFAKrxLKna5cZ2REBfFkg==',
      },
    })
    expect(await get(token, '99120/a b')).toEqual({ status: 200, body: { text: 'hello' } })
    expect(await list(token, '99120/')).toMatchObject({ body: { items: [{ name: '99120/a b' }] } })
    expect(await look(token, '')).toMatchObject({ body: { name: 'artifacts' } })
    expect(Buffer.from(scene.gcp.object('artifacts', '99120/a b')!.bytes).toString()).toBe('hello')
    expect((await remove(token, '99120/a b')).status).toBe(204)
    expect((await get(token, '99120/a b')).status).toBe(404)
    expect(scene.gcp.names('artifacts')).toEqual([])
  })

  test('takes metadata and content in one', async () => {
    const body = [
      '--x',
      'Content-Type: application/json\r\n\r\n{"name":"m","md5Hash":"XUFAKrxLKna5cZ2REBfFkg=="}',
      '--x',
      'Content-Type: text/x-log\r\n\r\nhello',
      '--x--',
    ].join('\r\n')
    const headers = { 'content-type': 'multipart/related; boundary=x' }
    const path = '/upload/storage/v1/b/artifacts/o?uploadType=multipart'
    const token = await full()
    expect((await ask(token, path, { method: 'POST', body, headers })).status).toBe(200)
    expect(scene.gcp.object('artifacts', 'm')).toMatchObject({ contentType: 'text/x-log' })
    const broken = body.replace('hello', 'hallo')
    expect((await ask(token, path, { method: 'POST', body: broken, headers })).status).toBe(400)
  })

  test.each<[string, string, Init]>([
    [
      'a resumable upload',
      '/upload/storage/v1/b/artifacts/o?uploadType=resumable&name=x',
      {
        method: 'POST',
      },
    ],
    [
      'an upload without name',
      '/upload/storage/v1/b/artifacts/o?uploadType=media',
      {
        method: 'POST',
      },
    ],
    ['a parameter that it does not do', `${object('x')}?userProject=acme`, {}],
    ['a change of metadata', object('x'), { method: 'PATCH', body: '{}' }],
  ])('refuses %s', async (_, path, init) => {
    expect((await ask(await full(), path, init)).status).toBeGreaterThanOrEqual(400)
  })

  test('does not overwrite where an upload may only create', async () => {
    const token = await full()
    await put(token, 'x')
    const guarded = '/upload/storage/v1/b/artifacts/o?uploadType=media&name=x&ifGenerationMatch=0'
    expect((await ask(token, guarded, { method: 'POST' })).status).toBe(412)
  })
})

describe('Cloud Storage refuses', () => {
  test.each([
    ['nobody', ''],
    ['a token of somewhere else', 'ya29.c.unknown'],
  ])('%s', async (_, token) => {
    expect(await get(token, 'x')).toMatchObject({ status: 401, body: { error: { code: 401 } } })
  })

  test('a token that has ended, on the clock of this world', async () => {
    const token = await full()
    now = Date.parse('2026-11-22T01:41:59.999Z')
    expect((await put(token, 'x')).status).toBe(200)
    now += 1
    expect((await put(token, 'y')).status).toBe(401)
    expect(scene.gcp.names('artifacts')).toEqual(['x'])
  })

  test('a boundary that has ended with the token it was made from', async () => {
    const token = await bounded(['objectAdmin'])
    expect((await put(token, 'x')).status).toBe(200)
    now = Date.parse('2026-11-22T01:42:00Z')
    expect((await get(token, 'x')).status).toBe(401)
  })

  test('the token of an account that is disabled', async () => {
    const token = await full()
    scene.gcp.disable(ACCOUNT)
    expect((await get(token, 'x')).status).toBe(401)
  })

  test.each([
    [[READ], 200, 403],
    [[WRITE], 200, 200],
    [['https://www.googleapis.com/auth/compute'], 403, 403],
  ])('what the scopes %s do not hold', async (scopes, reading, writing) => {
    const token = await accountToken(scene, now, scopes)
    expect((await list(token, '')).status).toBe(reading)
    expect((await put(token, 'x')).status).toBe(writing)
  })

  test('whoever is bound to nothing, and does not say whether the bucket exists', async () => {
    scene.gcp.unbind('artifacts', {
      role: 'roles/storage.admin',
      member: `serviceAccount:${ACCOUNT}`,
    })
    const token = await full()
    const here = await ask(token, object('x'))
    const nowhere = await ask(token, object('x', 'nowhere'))
    expect(here.status).toBe(403)
    expect(nowhere).toEqual(here)
  })
})

describe('a federated identity', () => {
  test('is let in by a binding of its own, and by none of the account’s', async () => {
    const token = (await federate(scene, now, {}, { scope: PLATFORM })).body[
      'access_token'
    ] as string
    expect((await put(token, 'x')).status).toBe(403)
    scene.gcp.bind('artifacts', { role: 'roles/storage.objectCreator', member: MEMBER })
    expect((await put(token, 'x')).status).toBe(200)
    expect((await get(token, 'x')).status).toBe(403)
    expect((await put(token, 'x')).status).toBe(403)
  })
})

describe('an access boundary', () => {
  const UNDER = "resource.name.startsWith('projects/_/buckets/artifacts/objects/99120/')"
  const LISTED =
    "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('99120/')"

  test.each<[string, readonly string[], string | undefined, Verb, string, number]>([
    ['lets in what its role holds', ['objectViewer'], undefined, get, '99120/x', 200],
    ['keeps out what its role lacks', ['objectViewer'], undefined, put, '99120/new', 403],
    ['keeps out what may only be created', ['objectCreator'], undefined, get, '99120/x', 403],
    ['lets create', ['objectCreator'], undefined, put, '99120/new', 200],
    ['keeps out overwriting', ['objectCreator'], undefined, put, '99120/x', 403],
    ['joins its roles', ['objectCreator', 'objectViewer'], undefined, get, '99120/x', 200],
    ['lets in what its condition holds', ['objectUser'], UNDER, put, '99120/new', 200],
    ['keeps out what its condition lacks', ['objectUser'], UNDER, put, '99121/new', 403],
    ['keeps out the list by names alone', ['objectUser'], UNDER, list, '99120/', 403],
    ['lets list by prefix', ['objectUser'], `${UNDER} || ${LISTED}`, list, '99120/', 200],
    ['keeps out another prefix', ['objectUser'], `${UNDER} || ${LISTED}`, list, '', 403],
    ['keeps out the bucket', ['objectUser'], UNDER, look, '', 403],
    ['keeps out all when it fails', ['admin'], 'resource.nothing == 1', get, '99120/x', 403],
  ])('%s', async (_, roles, expression, verb, name, status) => {
    await put(await full(), '99120/x')
    expect((await verb(await bounded(roles, expression), name)).status).toBe(status)
  })

  test('of another bucket keeps out this one', async () => {
    expect((await list(await bounded(['admin'], undefined, 'other'), '')).status).toBe(403)
  })

  test('gives nothing that the account lacks', async () => {
    scene.gcp.unbind('artifacts', {
      role: 'roles/storage.admin',
      member: `serviceAccount:${ACCOUNT}`,
    })
    expect((await list(await bounded(['admin']), '')).status).toBe(403)
  })
})
