import { generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { readKeySet } from '../../server/identity/jwks.ts'
import { makeSigningKey, type SigningKey } from '../world/signing-key.ts'

let good: SigningKey
let other: SigningKey
beforeAll(async () => {
  ;[good, other] = await Promise.all([makeSigningKey('uuid'), makeSigningKey('certificate')])
})

const kids = async (keys: readonly unknown[]): Promise<string[]> =>
  [...(await readKeySet({ keys })).keys()].sort()

const sized = (modulusLength: number, publicExponent = 65_537): JsonWebKey =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' })

const elliptic = (): JsonWebKey =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })

describe('a key is passed over, and the one beside it is taken, when it', () => {
  const changed =
    (changes: Readonly<Record<string, unknown>>): (() => unknown) =>
    () => ({ ...other.jwk, ...changes })
  const rows: readonly (readonly [string, () => unknown])[] = [
    ['is null', () => null],
    ['is text', () => 'key'],
    ['is a list', () => [other.jwk]],
    ['is empty', () => ({})],
    ['is elliptic', changed({ ...elliptic(), n: undefined, e: undefined })],
    ['is elliptic and says RSA', changed({ ...elliptic(), kty: 'RSA', n: undefined })],
    ['is a shared secret', changed({ kty: 'oct', k: 'c2VjcmV0' })],
    ['is a private key', () => ({ ...good.privateKey.export({ format: 'jwk' }), ...named('x') })],
    ['has a shared secret besides', changed({ k: 'c2VjcmV0' })],
    ['has 1,024 bits', changed(sized(1024))],
    ['has 2,040 bits', changed(sized(2040))],
    ['has 8,200 bits', changed({ n: Buffer.alloc(1025, 0xff).toString('base64url') })],
    ['has the exponent 3', changed(sized(2048, 3))],
    ['has the exponent 1', changed({ e: 'AQ' })],
    ['has no exponent', changed({ e: undefined })],
    ['has no modulus', changed({ n: undefined })],
    ['has a modulus that is a number', changed({ n: 7 })],
    ['has a modulus that is not base64url', changed({ n: '!'.repeat(342) })],
    ['is for encryption', changed({ use: 'enc' })],
    ['does not say what it is for', changed({ use: undefined })],
    ['is for RS512', changed({ alg: 'RS512' })],
    ['is for PS256', changed({ alg: 'PS256' })],
    ['is for HS256', changed({ alg: 'HS256' })],
    ['does not say its algorithm', changed({ alg: undefined })],
    ['has no kid', changed({ kid: undefined })],
    ['has a number for a kid', changed({ kid: 7 })],
    ['has an empty kid', changed({ kid: '' })],
    ['has a kid with a line break', changed({ kid: 'a\nb' })],
    ['has a kid of 129 characters', changed({ kid: 'k'.repeat(129) })],
  ]
  it.each(rows)('%s', async (_, bad) => {
    expect(await kids([bad(), good.jwk])).toEqual([good.kid])
    expect(await kids([good.jwk, bad()])).toEqual([good.kid])
  })
})

const named = (kid: string): object => ({ kid, use: 'sig', alg: 'RS256' })

describe('a kid that stands twice', () => {
  it('names neither key, and the others are taken', async () => {
    expect(await kids([good.jwk, { ...other.jwk, kid: good.kid }])).toEqual([])
    const third = { ...sized(2048), ...named('third') }
    expect(await kids([good.jwk, { ...other.jwk, kid: good.kid }, third])).toEqual(['third'])
  })

  it('names neither key when one of them could not verify anyway', async () => {
    expect(await kids([good.jwk, { ...elliptic(), kid: good.kid }, other.jwk])).toEqual([other.kid])
  })

  it('names neither key when both are the same', async () => {
    expect(await kids([good.jwk, good.jwk])).toEqual([])
  })
})

describe('a key set is refused when it', () => {
  const rows: readonly (readonly [string, unknown])[] = [
    ['is null', null],
    ['is a list', []],
    ['is text', 'keys'],
    ['has no keys', {}],
    ['has keys that are no list', { keys: { '0': {} } }],
    ['has 101 keys', { keys: Array.from({ length: 101 }, () => ({})) }],
  ]
  it.each(rows)('%s', async (_, jwks) => {
    await expect(readKeySet(jwks)).rejects.toThrow(/^it (is not a key set|has more than 100 keys)$/)
  })
})

describe('a key set is taken', () => {
  it('with both kinds of keys that GitHub publishes', async () => {
    expect(await kids([good.jwk, other.jwk])).toEqual([good.kid, other.kid].sort())
  })

  it('with a hundred keys, however useless', async () => {
    expect(await kids([...Array.from({ length: 99 }, () => ({})), good.jwk])).toEqual([good.kid])
  })

  it('and its keys can verify, and do nothing else', async () => {
    const key = (await readKeySet({ keys: [good.jwk] })).get(good.kid)
    expect(key).toMatchObject({
      type: 'public',
      usages: ['verify'],
      algorithm: { name: 'RSASSA-PKCS1-v1_5', hash: { name: 'SHA-256' }, modulusLength: 2048 },
    })
  })
})
