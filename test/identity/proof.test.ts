import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { makeProof } from '../../action/proof.ts'
import { verifyProof } from '../../server/identity/proof.ts'
import type { Refusal } from '../../server/refusal.ts'
import { hash, HTU, makeHolder, NOW, SECONDS, type Holder, type ProofOptions } from './make.ts'

const TOKEN = 'header.payload.signature'
const holder = makeHolder()
const other = makeHolder()

const judge = (proof: string, changes: { jkt?: string; now?: number } = {}) =>
  verifyProof(proof, { htm: 'POST', htu: HTU, token: TOKEN, jkt: holder.jkt, now: NOW, ...changes })

type Expected = Refusal['code'] | readonly [Refusal['code'], about: string]

const expectRefusal = async (proof: string, expected: Expected): Promise<void> => {
  const [code, about] = typeof expected === 'string' ? [expected] : expected
  expect(await judge(proof)).toEqual({ ok: false, code, ...(about === undefined ? {} : { about }) })
}

const jwkOf = (changes: object): ProofOptions => ({
  header: { jwk: { ...holder.jwk, ...changes } },
})
const claims = (claims: object): ProofOptions => ({ claims: { ...claims } })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const { d } = holder.privateKey.export({ format: 'jwk' })

describe('a proof is refused when its header', () => {
  const rows: readonly (readonly [string, Expected, ProofOptions])[] = [
    ['has no type', 'proof_malformed', { header: { typ: undefined } }],
    ['has the type of an identity token', 'proof_malformed', { header: { typ: 'JWT' } }],
    ['has its type in capitals', 'proof_malformed', { header: { typ: 'DPOP+JWT' } }],
    ['has its type in full', 'proof_malformed', { header: { typ: 'application/dpop+jwt' } }],
    ['has no key', 'proof_malformed', { header: { jwk: undefined } }],
    ['has a private key', 'proof_malformed', jwkOf({ d })],
    ['has a key for other things', 'proof_malformed', jwkOf({ use: 'enc' })],
    ['has a list of keys', 'proof_malformed', { header: { jwk: [holder.jwk] } }],
    ['has a key of null', 'proof_malformed', { header: { jwk: null } }],
    ['has a key without a coordinate', 'proof_malformed', jwkOf({ y: undefined })],
    ['has a key with a number for a coordinate', 'proof_malformed', jwkOf({ y: 7 })],
    ['has a key with a short coordinate', 'proof_malformed', jwkOf({ x: 'AAAA' })],
    ['has a key on another curve', 'proof_malformed', jwkOf({ crv: 'secp256k1' })],
    [
      'has a symmetric key',
      'proof_malformed',
      {
        header: { jwk: { kty: 'oct', k: Buffer.from('secret').toString('base64url') } },
        algorithm: 'HS256',
        key: 'secret',
      },
    ],
    ['has a symmetric key inside the public one', 'proof_malformed', jwkOf({ k: 'c2VjcmV0' })],
    [
      'has an RSA key, and a signature by it',
      'proof_malformed',
      {
        header: { jwk: rsa.publicKey.export({ format: 'jwk' }) },
        algorithm: 'RS256',
        key: rsa.privateKey,
      },
    ],
    [
      'has a P-384 key',
      'proof_malformed',
      { header: { jwk: p384.publicKey.export({ format: 'jwk' }) } },
    ],
    ['says RS256', 'proof_malformed', { algorithm: 'RS256', key: rsa.privateKey }],
    ['says none', 'proof_malformed', { algorithm: 'none' }],
    ['says HS256, signed with the public key', 'proof_malformed', hmac()],
    ['says es256', 'proof_malformed', { header: { alg: 'es256' } }],
    ['has critical parameters', 'proof_malformed', { header: { crit: ['exp'] } }],
    ['points to keys', 'proof_malformed', { header: { jku: 'https://evil.example/jwks' } }],
    ['names a key', 'proof_malformed', { header: { kid: 'k' } }],
    ["has somebody else's key, and his signature", 'proof_key_mismatch', otherKey()],
    [
      "has the token's key, and somebody else's signature",
      ['proof_invalid', 'its signature'],
      { key: other.privateKey },
    ],
  ]
  it.each(rows)('%s', (_, expected, options) =>
    expectRefusal(holder.proof(TOKEN, options), expected),
  )

  it('has a key that is no point of the curve', async () => {
    const jwk = { crv: 'P-256', kty: 'EC', x: 'A'.repeat(43), y: 'A'.repeat(43) }
    const proof = holder.proof(TOKEN, { header: { jwk } })
    expect(await judge(proof, { jkt: hash(JSON.stringify(jwk)) })).toEqual({
      ok: false,
      code: 'proof_invalid',
      about: 'its signature',
    })
  })

  it('spells its key in another way, with a thumbprint of its own', async () => {
    const { x } = holder.jwk as { x: string }
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const spelled = x.slice(0, -1) + letters.charAt(letters.indexOf(x.slice(-1)) + 1)
    const jwk = { ...holder.jwk, x: spelled }
    const proof = holder.proof(TOKEN, { header: { jwk } })
    expect(await judge(proof, { jkt: hash(JSON.stringify(jwk)) })).toMatchObject({
      code: 'proof_malformed',
    })
  })
})

function hmac(): ProofOptions {
  return { algorithm: 'HS256', key: JSON.stringify(holder.jwk) }
}

function otherKey(): ProofOptions {
  return { header: { jwk: other.jwk }, key: other.privateKey }
}

describe('a proof is refused when it was made', () => {
  const method: Expected = ['proof_invalid', 'its method']
  const address: Expected = ['proof_invalid', 'its address']
  const token: Expected = ['proof_invalid', 'its token hash']
  const rows: readonly (readonly [string, Expected, ProofOptions])[] = [
    ['61 s ago', 'proof_stale', claims({ iat: SECONDS - 61 })],
    ['61 s ahead', 'proof_stale', claims({ iat: SECONDS + 61 })],
    ['in 1970', 'proof_stale', claims({ iat: 0 })],
    ['at no time', 'proof_malformed', claims({ iat: undefined })],
    ['at a time in words', 'proof_malformed', claims({ iat: String(SECONDS) })],
    ['within a second', 'proof_malformed', claims({ iat: SECONDS + 0.5 })],
    ['in milliseconds', 'proof_stale', claims({ iat: NOW })],
    ['for another method', method, claims({ htm: 'GET' })],
    ['for the method in small letters', method, claims({ htm: 'post' })],
    ['for no method', method, claims({ htm: undefined })],
    ['for methods', method, claims({ htm: ['POST'] })],
    ['for the address with a query', address, claims({ htu: `${HTU}?x=1` })],
    ['for the address with a fragment', address, claims({ htu: `${HTU}#x` })],
    ['for the address with a slash more', address, claims({ htu: `${HTU}/` })],
    ['for another path', address, claims({ htu: HTU.replace('sessions', 'grants') })],
    ['for another host', address, claims({ htu: HTU.replace('tvm.', 'other.') })],
    ['for another port', address, claims({ htu: HTU.replace('.com', '.com:8443') })],
    ['for http', address, claims({ htu: HTU.replace('https', 'http') })],
    ['for the host in capitals', address, claims({ htu: HTU.toUpperCase() })],
    ['for no address', address, claims({ htu: undefined })],
    ['for another token', token, claims({ ath: hash('other') })],
    ['for the hash of the token in hex', token, claims({ ath: hexOf(hash(TOKEN)) })],
    ['for no token', token, claims({ ath: undefined })],
    ['without an id', 'proof_malformed', claims({ jti: undefined })],
    ['with an empty id', 'proof_malformed', claims({ jti: '' })],
    ['with a number for an id', 'proof_malformed', claims({ jti: 7 })],
    ['with a line break in its id', 'proof_malformed', claims({ jti: 'a\nb' })],
    ['with an id of 129 characters', 'proof_malformed', claims({ jti: 'j'.repeat(129) })],
  ]
  it.each(rows)('%s', (_, expected, options) =>
    expectRefusal(holder.proof(TOKEN, options), expected),
  )
})

function hexOf(text: string): string {
  return Buffer.from(text, 'base64url').toString('hex')
}

describe('a proof is refused when its form', () => {
  const honest = holder.proof(TOKEN)
  const [head = '', payload = '', signature = ''] = honest.split('.')
  const raw = (text: string) => Buffer.from(text).toString('base64url')
  const twice = raw(Buffer.from(payload, 'base64url').toString().replace('{', '{"htm":"GET",'))
  const rows: readonly (readonly [string, Expected, string])[] = [
    ['is nothing', 'proof_malformed', ''],
    [
      'is larger than 4 KiB',
      'proof_malformed',
      holder.proof(TOKEN, claims({ x: 'x'.repeat(3e3) })),
    ],
    ['is a word', 'proof_malformed', 'proof'],
    ['has two parts', 'proof_malformed', `${head}.${payload}`],
    ['has four parts', 'proof_malformed', `${honest}.${signature}`],
    ['has padding', 'proof_malformed', `${honest}=`],
    ['ends with a line break', 'proof_malformed', `${honest}\n`],
    ['names a claim twice', 'proof_malformed', `${head}.${twice}.${signature}`],
    ['has a list for a payload', 'proof_malformed', `${head}.${raw('[]')}.${signature}`],
    ['has no signature', ['proof_invalid', 'its signature'], `${head}.${payload}.`],
    [
      'has a short signature',
      ['proof_invalid', 'its signature'],
      `${head}.${payload}.${signature.slice(0, 40)}`,
    ],
    [
      'has a payload that was changed',
      ['proof_invalid', 'its signature'],
      `${head}.${raw(Buffer.from(payload, 'base64url').toString().replace('POST', 'PUT'))}.${signature}`,
    ],
    [
      'has the signature of another proof',
      ['proof_invalid', 'its signature'],
      `${head}.${payload}.${holder.proof(TOKEN).split('.')[2] ?? ''}`,
    ],
  ]
  it.each(rows)('%s', (_, expected, proof) => expectRefusal(proof, expected))
})

describe('an honest proof', () => {
  it('is accepted, and gives its id', async () => {
    const proof = holder.proof(TOKEN, claims({ jti: 'one' }))
    expect(await judge(proof)).toEqual({ ok: true, value: { jti: 'one' } })
  })

  it('is accepted as the action makes it', async () => {
    const { privateKey, jkt: thumbprint } = holder
    const key = { privateKey, thumbprint, secret: '', path: '', made: null }
    const proof = makeProof(key, { method: 'POST', url: HTU, token: TOKEN, now: NOW })
    expect(await judge(proof)).toMatchObject({ ok: true })
  })

  it.each([-60, -1, 0, 1, 60])('is accepted %i s from now', async (seconds) => {
    const proof = holder.proof(TOKEN, claims({ iat: SECONDS + seconds }))
    expect(await judge(proof)).toMatchObject({ ok: true })
  })

  it('is refused a millisecond after its minute', async () => {
    const proof = holder.proof(TOKEN)
    expect(await judge(proof, { now: NOW + 60_000 })).toMatchObject({ ok: true })
    expect(await judge(proof, { now: NOW + 60_001 })).toMatchObject({ code: 'proof_stale' })
  })

  it('of one key is no proof of another', async () => {
    const each = async (from: Holder, jkt: string) => (await judge(from.proof(TOKEN), { jkt })).ok
    expect(await each(holder, holder.jkt)).toBe(true)
    expect(await each(holder, other.jkt)).toBe(false)
    expect(await each(other, holder.jkt)).toBe(false)
  })
})
