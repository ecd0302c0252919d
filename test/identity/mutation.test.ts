import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { readClaims } from '../../server/identity/claims.ts'
import { verifyPresented, type Presented } from '../../server/identity/verify.ts'
import { NOW, openScene, signBytes, type Scene } from './make.ts'

const RUNS = { numRuns: 1500 }

let scene: Scene
let honest: Presented & { readonly proof: string }
let others: readonly Presented[]
beforeAll(async () => {
  scene = await openScene()
  const { token } = scene.show()
  honest = { scheme: 'DPoP', token, proof: scene.holder.proof(token) }
  others = [scene.show(), scene.show({ header: { x5t: 'x' } }), scene.show({ key: 'wrong' })]
})
afterAll(() => scene.github.close())

const verify = (presented: Presented) => verifyPresented(presented, scene.trust, NOW)

/** One change of a text: a character, a bit, a cut, something more, two characters swapped. */
type Change = (text: string) => string

const letters = Array.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=')
const place = fc.nat({ max: 20_000 })
const at = (text: string, n: number): number => n % text.length
const changes: fc.Arbitrary<Change> = fc.oneof(
  fc.tuple(place, fc.string({ unit: 'binary', minLength: 1, maxLength: 1 })).map(
    ([n, c]): Change =>
      (t) =>
        t.slice(0, at(t, n)) + c + t.slice(at(t, n) + 1),
  ),
  fc.tuple(place, fc.constantFrom(...letters)).map(
    ([n, c]): Change =>
      (t) =>
        t.slice(0, at(t, n)) + c + t.slice(at(t, n) + 1),
  ),
  place.map(
    (n): Change =>
      (t) =>
        t.slice(0, at(t, n)),
  ),
  place.map(
    (n): Change =>
      (t) =>
        t.slice(at(t, n)),
  ),
  fc.tuple(place, place).map(
    ([a, b]): Change =>
      (t) =>
        t.slice(0, at(t, a)) + t.slice(at(t, b)),
  ),
  fc.string().map(
    (more): Change =>
      (t) =>
        t + more,
  ),
  fc.tuple(place, fc.nat({ max: 2 }), fc.nat({ max: 7 })).map(([n, part, bit]): Change => (t) => {
    const parts = t.split('.')
    const bytes = Buffer.from(parts[part] ?? '', 'base64url')
    if (bytes.length > 0) bytes[n % bytes.length] = bytes[n % bytes.length]! ^ (1 << bit)
    return parts.map((each, i) => (i === part ? bytes.toString('base64url') : each)).join('.')
  }),
)

const exchanged = (from: string, to: string, part: number): string =>
  from
    .split('.')
    .map((each, i) => (i === part ? (to.split('.')[i] ?? '') : each))
    .join('.')

describe('whatever is done to an honest request', () => {
  it('it holds as it is', async () => {
    expect(await verify(honest)).toMatchObject({ ok: true })
  })

  it('a changed token never verifies, even with a proof made for it, and never throws', async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (change) => {
        const token = change(honest.token)
        fc.pre(token !== honest.token)
        expect((await verify(scene.prove(token))).ok).toBe(false)
      }),
      RUNS,
    )
  })

  it('a changed proof never verifies, and never throws', async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (change) => {
        const proof = change(honest.proof)
        fc.pre(proof !== honest.proof)
        expect((await verify({ ...honest, proof })).ok).toBe(false)
      }),
      RUNS,
    )
  })

  it('parts of several honest tokens and proofs never make another', async () => {
    const pick = fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 2 }))
    await fc.assert(
      fc.asyncProperty(pick, fc.boolean(), async ([index, part], isToken) => {
        const other = others[index]!
        const token = isToken ? exchanged(honest.token, other.token, part) : honest.token
        const proof = isToken ? null : exchanged(honest.proof, other.proof ?? '', part)
        fc.pre(isToken ? token !== honest.token : proof !== honest.proof)
        const presented = proof === null ? scene.prove(token) : { ...honest, proof }
        expect((await verify(presented)).ok).toBe(false)
      }),
      { numRuns: 100 },
    )
  })

  it('random text for a token, a proof or both never throws, and is not repeated', async () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...letters) }),
    )
    await fc.assert(
      fc.asyncProperty(text, text, async (token, proof) => {
        const results = await Promise.all([
          verify({ scheme: 'DPoP', token: `marker${token}`, proof: `marker${proof}` }),
          verify({ ...honest, proof: `marker${proof}` }),
        ])
        expect(results.map(({ ok }) => ok)).toEqual([false, false])
        expect(JSON.stringify(results)).not.toContain('marker')
      }),
    )
  })

  it('random members in a token that is signed never throw, and are not repeated', async () => {
    const { registered, claims } = DIALECTS.github
    const name = fc.constantFrom(...registered, ...claims)
    const value = fc.oneof(
      fc.constant('marker'),
      fc.jsonValue().map((value) => ({ marker: value })),
      fc.double().map((number) => (Number.isFinite(number) ? number : 0)),
      fc.constantFrom(null, true, [], ['marker'], -1, 2 ** 53, 'marker\n'),
    )
    await fc.assert(
      fc.asyncProperty(name, value, fc.boolean(), async (name, value, inHeader) => {
        const [header, payload] = inHeader
          ? [scene.header({ [name]: value, typ: value }), scene.payload()]
          : [scene.header(), scene.payload({ [name]: value })]
        const { privateKey } = scene.own
        const token = signBytes(JSON.stringify(header), JSON.stringify(payload), privateKey)
        const result = await verify(scene.prove(token))
        if (!result.ok) expect(JSON.stringify(result)).not.toContain('marker')
        else
          expect(Object.values(result.value.claims).every((v) => typeof v === 'string')).toBe(true)
      }),
      { numRuns: 500 },
    )
  })
})

describe('claims, whatever the payload', () => {
  it('have no prototype, are frozen, and hold text alone under names of the dialect', () => {
    const github = DIALECTS.github
    const names = fc.constantFrom(
      ...github.claims,
      ...['__proto__', 'constructor', 'toString', 'repo_property_x', 'repo_property_', 'x'],
    )
    const values = fc.oneof(fc.string(), fc.constantFrom('7', ''), fc.constant('99120'))
    const whole = Object.fromEntries(github.mandatory.map((name) => [name, '7']))
    fc.assert(
      fc.property(fc.dictionary(names, values), (more) => {
        const read = readClaims({ ...whole, sub: 'x', ...more }, github)
        fc.pre(read.ok)
        expect(Object.getPrototypeOf(read.value)).toBeNull()
        expect(Object.isFrozen(read.value)).toBe(true)
        for (const [name, value] of Object.entries(read.value)) {
          expect(value).toMatch(/^.+$/)
          expect(github.claims.includes(name) || name === 'repo_property_x').toBe(true)
        }
        expect('constructor' in read.value).toBe(false)
      }),
    )
  })
})
