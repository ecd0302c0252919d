import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  verify,
} from 'node:crypto'
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { calculateJwkThumbprint } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { KeyFileError, openFileKey, openFileSigner } from '../../server/issuer/keys.ts'

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tvm-keys-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const random = (bytes: number) => randomBytes(bytes)
const file = (name = 'cloud.pem') => ({ dir, name, random })
const modeOf = async (path: string) => (await stat(path)).mode & 0o777
const put = async (content: string | Uint8Array, mode = 0o600, name = 'cloud.pem') => {
  await writeFile(join(dir, name), content)
  await chmod(join(dir, name), mode)
}

const pem = (type: 'rsa' | 'rsa-pss' | 'ec', bits = 2048): string => {
  const { privateKey } =
    type === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : type === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: bits })
        : generateKeyPairSync('rsa-pss', { modulusLength: bits })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

const RSA = pem('rsa')

describe('a key file is refused', () => {
  it.each([
    ['when its group may read it', RSA, 0o640, /0640/],
    ['when everyone may read it', RSA, 0o604, /0604/],
    ['when its group may write it', RSA, 0o620, /0620/],
    ['when it is an RSA key of 1,024 bits', pem('rsa', 1024), 0o600, /1024 bits/],
    ['when it is an EC key', pem('ec'), 0o600, /not an RSA key/],
    ['when it is an RSA-PSS key', pem('rsa-pss'), 0o600, /not an RSA key/],
    ['when it is empty', '', 0o600, /PEM/],
    ['when it is no key', 'hello', 0o600, /PEM/],
    ['when it is half a key', RSA.slice(0, 800), 0o600, /PEM/],
    ['when it is too large to be one', RSA + ' '.repeat(20_000), 0o600, /16384 bytes/],
  ])('%s', async (_, content, mode, why) => {
    await put(content, mode)
    const refused = await openFileSigner(file()).catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(KeyFileError)
    expect(refused).toMatchObject({
      message: expect.stringMatching(why) as string,
      hint: expect.stringMatching(/./) as string,
    })
    expect(await readFile(join(dir, 'cloud.pem'), 'utf8')).toBe(content)
  })

  it('when it is a link, even to a good key', async () => {
    await put(RSA, 0o600, 'elsewhere.pem')
    await symlink(join(dir, 'elsewhere.pem'), join(dir, 'cloud.pem'))
    await expect(openFileSigner(file())).rejects.toThrow(/symbolic link/)
  })

  it('when it is a link to nothing: a key is not made where a link points', async () => {
    await symlink(join(dir, 'nowhere.pem'), join(dir, 'cloud.pem'))
    await expect(openFileSigner(file())).rejects.toThrow(/symbolic link/)
    expect(await readdir(dir)).toEqual(['cloud.pem'])
  })

  it('when it is a folder', async () => {
    await mkdir(join(dir, 'cloud.pem'), { mode: 0o700 })
    await expect(openFileSigner(file())).rejects.toThrow(/not a plain file/)
  })

  it('when others may write in its folder', async () => {
    await chmod(dir, 0o770)
    await expect(openFileSigner(file())).rejects.toThrow(/others may write/)
    expect(await readdir(dir)).toEqual([])
  })

  it('without quoting it', async () => {
    const half = RSA.slice(0, 800)
    await put(half)
    const refused = await openFileSigner(file()).catch((error: unknown) => inspect(error))
    expect(refused).not.toContain(half.split('\n')[1]!)
  })
})

describe('a key that is not there', () => {
  it('is made, for its owner alone', async () => {
    const signer = await openFileSigner(file())
    expect(signer.fresh).toBe(true)
    expect(await modeOf(join(dir, 'cloud.pem'))).toBe(0o600)
    expect(await readFile(join(dir, 'cloud.pem'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
  })

  it('is made in a folder that is made too, for its owner alone', async () => {
    const inner = join(dir, 'data', 'keys')
    await openFileSigner({ ...file(), dir: inner })
    expect(await modeOf(inner)).toBe(0o700)
  })

  it('is the same at the next start', async () => {
    const first = await openFileSigner(file())
    const second = await openFileSigner(file())
    expect(second.fresh).toBe(false)
    expect(second.publicKeys()).toEqual(first.publicKeys())
  })

  it('is made once by many that start at once, and nothing else is left', async () => {
    const all = await Promise.all(Array.from({ length: 6 }, () => openFileSigner(file())))
    expect(all.filter(({ fresh }) => fresh)).toHaveLength(1)
    expect(new Set(all.map((signer) => signer.publicKeys()[0]!.kid)).size).toBe(1)
    expect(await readdir(dir)).toEqual(['cloud.pem'])
  })
})

describe('a signer from a file', () => {
  it('shows exactly what every cloud takes', async () => {
    await put(RSA)
    const signer = await openFileSigner(file())
    const [key] = signer.publicKeys()
    expect(signer.publicKeys()).toHaveLength(1)
    expect(Object.keys(key!)).toEqual(['kty', 'alg', 'use', 'kid', 'n', 'e'])
    expect(key).toMatchObject({ kty: 'RSA', alg: 'RS256', use: 'sig', e: 'AQAB' })
    const { n, e, kty } = createPublicKey(RSA).export({ format: 'jwk' })
    expect(key).toMatchObject({ kty, n, e })
  })

  it('names its key by the thumbprint of RFC 7638', async () => {
    const [key] = (await openFileSigner(file())).publicKeys()
    const { kty, n, e } = key!
    expect(key!.kid).toBe(await calculateJwkThumbprint({ kty, n, e }, 'sha256'))
  })

  it('makes signatures that its public key verifies', async () => {
    await put(RSA)
    const signer = await openFileSigner(file())
    const data = Buffer.from('to be signed')
    const signature = await signer.sign(data)
    expect(verify('sha256', data, createPublicKey(RSA), signature)).toBe(true)
    expect(verify('sha256', Buffer.from('other'), createPublicKey(RSA), signature)).toBe(false)
  })

  it('prints without its private key', async () => {
    await put(RSA)
    const printed = inspect(await openFileSigner(file()), { depth: Infinity, showHidden: true })
    const { d } = createPrivateKey(RSA).export({ format: 'jwk' })
    expect(printed).toContain('publicKeys')
    expect(printed).not.toContain(d!)
    expect(printed).not.toContain(RSA.split('\n')[1]!)
  })
})

describe('a symmetric key from a file', () => {
  it('is 32 bytes, made once, for its owner alone', async () => {
    const first = await openFileKey(file('session.key'))
    const second = await openFileKey(file('session.key'))
    expect(first.key).toHaveLength(32)
    expect([first.fresh, second.fresh]).toEqual([true, false])
    expect(second.key).toEqual(first.key)
    expect(await modeOf(join(dir, 'session.key'))).toBe(0o600)
  })

  it('comes from the random source that it is given', async () => {
    const { key } = await openFileKey({
      ...file('session.key'),
      random: (bytes) => new Uint8Array(bytes).fill(7),
    })
    expect(key).toEqual(new Uint8Array(32).fill(7))
  })

  it.each([
    ['it is too short', new Uint8Array(31), 0o600, /31 bytes/],
    ['it is too long', new Uint8Array(33), 0o600, /33 bytes/],
    ['others may read it', new Uint8Array(32), 0o644, /0644/],
  ])('is refused when %s', async (_, content, mode, why) => {
    await put(content, mode, 'session.key')
    await expect(openFileKey(file('session.key'))).rejects.toThrow(why)
  })
})
