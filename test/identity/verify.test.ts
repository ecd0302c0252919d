import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { verifyPresented, type Presented } from '../../server/identity/verify.ts'
import { refuse, type Refusal } from '../../server/refusal.ts'
import type { LocalGitHub, TokenOptions } from '../world/github.ts'
import { AUDIENCE, GHES, NOW, openScene, SECONDS, signBytes, type Scene } from './make.ts'

const { registered, mandatory, ids, run } = DIALECTS.github

let scene: Scene
let github: LocalGitHub
beforeAll(async () => {
  scene = await openScene()
  github = scene.github
})
afterAll(() => github.close())

const verify = (presented: Presented, now = NOW) => verifyPresented(presented, scene.trust, now)

const verified = async (presented: Presented, now = NOW) => {
  const result = await verify(presented, now)
  if (!result.ok) throw new Error(`${result.code} ${result.about ?? ''}`)
  return result.value
}

type Expected = Refusal['code'] | readonly [Refusal['code'], about: string]

/** The whole refusal: a word more in `about` or `cause` would be a word that nobody verified. */
const expectRefusal = async (presented: Presented, expected: Expected): Promise<void> => {
  const [code, about] = typeof expected === 'string' ? [expected] : expected
  expect(await verify(presented)).toEqual({
    ok: false,
    code,
    ...(about === undefined ? {} : { about }),
  })
}

type TokenRow = readonly [string, Expected, TokenOptions]
const claims = (claims: TokenOptions['claims']): TokenOptions => ({ claims: claims ?? {} })
const header = (header: TokenOptions['header']): TokenOptions => ({ header: header ?? {} })

describe('an identity token is refused when its header', () => {
  const rows: readonly TokenRow[] = [
    ['names a key that the issuer does not publish', 'token_key_unknown', header({ kid: 'other' })],
    ['names no key', 'token_malformed', header({ kid: undefined })],
    ['names a key by a number', 'token_malformed', header({ kid: 7 })],
    ['names a key by nothing', 'token_malformed', header({ kid: '' })],
    ['names a key with a line break', 'token_malformed', header({ kid: 'a\nb' })],
    ['names a key with 129 characters', 'token_malformed', header({ kid: 'k'.repeat(129) })],
    ['names no algorithm', 'token_algorithm_refused', header({ alg: undefined })],
    ['writes the algorithm in small letters', 'token_algorithm_refused', header({ alg: 'rs256' })],
    ['lists the algorithm', 'token_algorithm_refused', header({ alg: ['RS256'] })],
    ['has no type', 'token_malformed', header({ typ: undefined })],
    ['has the type of an access token', 'token_malformed', header({ typ: 'at+jwt' })],
    ['has the type of a proof', 'token_malformed', header({ typ: 'dpop+jwt' })],
    ['writes the type in small letters', 'token_malformed', header({ typ: 'jwt' })],
    ['points to keys (jku)', 'token_malformed', header({ jku: 'https://evil.example/jwks' })],
    ['brings a key (jwk)', 'token_malformed', header({ jwk: { kty: 'RSA' } })],
    ['points to certificates (x5u)', 'token_malformed', header({ x5u: 'https://evil.example' })],
    ['brings certificates (x5c)', 'token_malformed', header({ x5c: ['MIIB'] })],
    ['has critical parameters (crit)', 'token_malformed', header({ crit: ['exp'] })],
    ['has no critical parameters (crit)', 'token_malformed', header({ crit: [] })],
    ['says that the payload is bare (b64)', 'token_malformed', header({ b64: false })],
    ['says that the payload is packed (zip)', 'token_malformed', header({ zip: 'DEF' })],
  ]
  it.each(rows)('%s', (_, expected, options) => expectRefusal(scene.show(options), expected))
})

describe('an identity token is refused when its signature', () => {
  const payload = (): object => scene.payload({ iss: github.issuer })
  const rows: readonly (readonly [string, Expected, () => string])[] = [
    [
      'is none',
      'token_algorithm_refused',
      () => github.sign(payload(), {}, { algorithm: 'none', key: 'current' }),
    ],
    [
      'is none, under the name RS256',
      'token_signature_invalid',
      () => `${github.sign(payload()).split('.').slice(0, 2).join('.')}.`,
    ],
    [
      "is an HMAC with the issuer's public key",
      'token_algorithm_refused',
      () => github.sign(payload(), {}, { algorithm: 'HS256' }),
    ],
    [
      "is an HMAC with the issuer's public key, under the name RS256",
      'token_signature_invalid',
      () => github.sign(payload(), { alg: 'RS256' }, { algorithm: 'HS256' }),
    ],
    [
      'is RS512 by the right key',
      'token_algorithm_refused',
      () => github.sign(payload(), {}, { algorithm: 'RS512' }),
    ],
    [
      'is RS512 by the right key, under the name RS256',
      'token_signature_invalid',
      () => github.sign(payload(), { alg: 'RS256' }, { algorithm: 'RS512' }),
    ],
    [
      'is PS256 by the right key',
      'token_algorithm_refused',
      () => github.sign(payload(), {}, { algorithm: 'PS256' }),
    ],
    [
      'is PS256 by the right key, under the name RS256',
      'token_signature_invalid',
      () => github.sign(payload(), { alg: 'RS256' }, { algorithm: 'PS256' }),
    ],
    [
      'is by another key under the same kid',
      'token_signature_invalid',
      () => github.sign(payload(), {}, { key: 'foreign' }),
    ],
    [
      'is by a key of another configured issuer, under its kid',
      'token_key_unknown',
      () => github.sign(payload(), { kid: scene.own.kid }, { key: scene.own.privateKey }),
    ],
    [
      'is by a key of another configured issuer, under a kid of this one',
      'token_signature_invalid',
      () => github.sign(payload(), {}, { key: scene.own.privateKey }),
    ],
    [
      'belongs to another token',
      'token_signature_invalid',
      () => {
        const [first, second] = [scene.show().token, scene.show().token].map((t) => t.split('.'))
        return [first?.[0], first?.[1], second?.[2]].join('.')
      },
    ],
  ]
  it.each(rows)('%s', (_, expected, token) => expectRefusal(scene.prove(token()), expected))
})

describe('an identity token is refused when its form', () => {
  const honest = () => scene.show().token
  const parts = () => honest().split('.') as [string, string, string]
  const bytes = (head: Buffer | string, payload: Buffer | string) =>
    signBytes(head, payload, scene.own.privateKey)
  const good = () => JSON.stringify(scene.payload())
  const head = () => JSON.stringify(scene.header())
  const more = (json: string, member: string) => json.replace(/^\{/, `{${member},`)
  const nested = (depth: number) => `"x":${'['.repeat(depth)}${']'.repeat(depth)}`
  const names = (count: number) => Array.from({ length: count }, (_, i) => `"n${i}":1`).join()
  const rows: readonly (readonly [string, () => string])[] = [
    ['is nothing', () => ''],
    ['is two dots', () => '..'],
    ['is a word', () => 'token'],
    ['has two parts', () => honest().split('.').slice(0, 2).join('.')],
    ['has four parts', () => `${honest()}.${parts()[2]}`],
    ['has five parts, as encrypted ones do', () => `${honest()}.e30.e30`],
    ['has an empty header', () => `.${parts().slice(1).join('.')}`],
    ['has an empty payload', () => `${parts()[0]}..${parts()[2]}`],
    ['has padding', () => `${honest()}==`],
    ['has padding inside', () => `${parts()[0]}=.${parts().slice(1).join('.')}`],
    ['ends with a line break', () => `${honest()}\n`],
    ['begins with a space', () => ` ${honest()}`],
    ['is broken into lines', () => honest().replace('.', '.\r\n')],
    ['is written in plain base64', () => `${parts()[0]}.${parts()[1]}+/.${parts()[2]}`],
    ['is in quotes', () => `"${honest()}"`],
    ['is cut in the payload', () => honest().slice(0, honest().indexOf('.') + 100)],
    ['is cut in the header', () => honest().slice(0, 20)],
    [
      'spells the same signature differently',
      () => {
        const token = honest()
        const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
        return token.slice(0, -1) + last.charAt(last.indexOf(token.slice(-1)) + 1)
      },
    ],
    ['names a claim twice', () => bytes(head(), more(good(), '"repository_id":"1"'))],
    [
      'names a claim twice, once in disguise',
      () => bytes(head(), more(good(), String.raw`"repository_\u0069d":"1"`)),
    ],
    ['names an unknown claim twice', () => bytes(head(), more(good(), '"x":1,"x":1'))],
    ['names a claim twice inside another', () => bytes(head(), more(good(), '"x":{"y":1,"y":2}'))],
    ['names the issuer twice', () => bytes(head(), more(good(), `"iss":"${github.issuer}"`))],
    ['names a header twice', () => bytes(more(head(), '"alg":"none"'), good())],
    [
      'names a header twice, once in disguise',
      () => bytes(more(head(), String.raw`"\u0061lg":"none"`), good()),
    ],
    ['has a claim __proto__', () => bytes(head(), more(good(), '"__proto__":{"sub":"x"}'))],
    [
      'has a claim __proto__ in disguise',
      () => bytes(head(), more(good(), String.raw`"\u005f_proto__":{"sub":"x"}`)),
    ],
    ['has __proto__ in a claim', () => bytes(head(), more(good(), '"x":{"__proto__":{}}'))],
    ['has a header __proto__', () => bytes(more(head(), '"__proto__":{}'), good())],
    ['is nested in nine levels', () => bytes(head(), more(good(), nested(8)))],
    ['has three hundred claims', () => bytes(head(), more(good(), names(300)))],
    ['is not UTF-8', () => bytes(head(), Buffer.from(more(good(), '"x":"\xff"'), 'latin1'))],
    ['begins with a byte order mark', () => bytes(head(), `\ufeff${good()}`)],
    ['has a list for a payload', () => bytes(head(), `[${good()}]`)],
    ['has null for a payload', () => bytes(head(), 'null')],
    ['has text for a payload', () => bytes(head(), JSON.stringify(good()))],
    ['has a list for a header', () => bytes(`[${head()}]`, good())],
    ['has a payload that is cut', () => bytes(head(), good().slice(0, -1))],
    ['has more behind its payload', () => bytes(head(), `${good()}{}`)],
  ]
  it.each(rows)('%s', (_, token) => expectRefusal(scene.prove(token()), 'token_malformed'))

  it('is larger than 16 KiB', () =>
    expectRefusal(scene.show(claims({ x: 'x'.repeat(12 * 1024) })), 'token_too_large'))

  it('is larger than 16 KiB and not a token at all', () =>
    expectRefusal(scene.prove('.'.repeat(17 * 1024)), 'token_too_large'))
})

describe('no key is looked up for a token', () => {
  const rows: readonly (readonly [string, Refusal['code'], () => string])[] = [
    ['of 17 KiB', 'token_too_large', () => scene.show(claims({ x: 'x'.repeat(12_900) })).token],
    ['of two parts', 'token_malformed', () => scene.show().token.split('.', 2).join('.')],
    ['of an unknown issuer', 'token_issuer_unknown', () => scene.show(claims({ iss: 'x' })).token],
    [
      'of another algorithm',
      'token_algorithm_refused',
      () => github.sign(scene.payload({ iss: github.issuer }), {}, { algorithm: 'HS256' }),
    ],
    ['that brings a key', 'token_malformed', () => scene.show(header({ jwk: {} })).token],
    ['that names no key', 'token_malformed', () => scene.show(header({ kid: undefined })).token],
  ]
  it.each(rows)('%s', async (_, code, token) => {
    const asked: string[] = []
    const key = (kid: string) => {
      asked.push(kid)
      return Promise.resolve(refuse('internal_error'))
    }
    const issuers = [...scene.trust.issuers.values()].map((issuer) => ({
      ...issuer,
      keys: { ...issuer.keys, key },
    }))
    const trust = { ...scene.trust, issuers: new Map(issuers.map((each) => [each.issuer, each])) }
    expect(await verifyPresented(scene.prove(token()), trust, NOW)).toEqual({ ok: false, code })
    expect(asked).toEqual([])
    expect(await verifyPresented(scene.show(), trust, NOW)).toMatchObject({
      code: 'internal_error',
    })
    expect(asked).toEqual([github.keys.current])
  })
})

describe('an identity token is refused when its issuer', () => {
  const rows: readonly TokenRow[] = [
    ['is unknown', 'token_issuer_unknown', claims({ iss: 'https://evil.example' })],
    ['is missing', 'token_issuer_unknown', claims({ iss: undefined })],
    [
      'is written in capitals',
      'token_issuer_unknown',
      claims({ iss: DIALECTS.github.issuer.toUpperCase() }),
    ],
    [
      'has a slash at its end',
      'token_issuer_unknown',
      claims({ iss: `${DIALECTS.github.issuer}/` }),
    ],
    [
      'has the path of an enterprise',
      'token_issuer_unknown',
      claims({ iss: `${DIALECTS.github.issuer}/acme` }),
    ],
    ['is a list of ours', 'token_issuer_unknown', claims({ iss: [DIALECTS.github.issuer] })],
    ['is a name that every object has', 'token_issuer_unknown', claims({ iss: 'constructor' })],
    [
      'is another configured one, which has no such key',
      'token_key_unknown',
      claims({ iss: GHES }),
    ],
  ]
  it.each(rows)('%s', (_, expected, options) => expectRefusal(scene.show(options), expected))
})

describe('an identity token is refused when its audience', () => {
  const ours = () => `${AUDIENCE}/jkt/${scene.holder.jkt}`
  const rows: readonly (readonly [string, () => unknown])[] = [
    ['is a list of ours and another', () => [ours(), 'https://other.example']],
    ['is a list of ours alone', () => [ours()]],
    ['is a list of the bearer audience alone', () => [AUDIENCE]],
    ['is an empty list', () => []],
    ["is GitHub's default", () => 'https://github.com/acme'],
    ['is another broker', () => `https://tvm.other.example/jkt/${scene.holder.jkt}`],
    ['is a broker whose name begins like ours', () => `${AUDIENCE}.evil.example`],
    ['has a slash at its end', () => `${AUDIENCE}/`],
    ['is in capitals', () => ours().toUpperCase()],
    ['names no key', () => `${AUDIENCE}/jkt/`],
    ['names a key that is too short', () => ours().slice(0, -1)],
    ['names a key that is too long', () => `${ours()}A`],
    ['names a key and more', () => `${ours()}/x`],
    ['names a key and ends with a line break', () => `${ours()}\n`],
    ['is that of AWS', () => 'sts.amazonaws.com'],
    ['is nothing', () => ''],
    ['is null', () => null],
    ['is a number', () => 7],
  ]
  it.each(rows)('%s', (_, aud) =>
    expectRefusal(scene.show(claims({ aud: aud() })), 'token_audience_refused'),
  )
})

describe('an identity token is refused when its time', () => {
  const invalid = (about: string): Expected => ['token_claim_invalid', about]
  const rows: readonly TokenRow[] = [
    ['is over for the tolerance', 'token_expired', claims({ exp: SECONDS - 30 })],
    ['is long over', 'token_expired', { shift: -500, lifetime: 300 }],
    ['has not come, nbf 31 s ahead', 'token_not_yet_valid', claims({ nbf: SECONDS + 31 })],
    ['has not come, iat 31 s ahead', 'token_not_yet_valid', claims({ iat: SECONDS + 31 })],
    ['began 11 minutes ago for six hours', 'token_too_old', { shift: -660, lifetime: 21_600 }],
    ['began 631 s ago', 'token_too_old', { shift: -631, lifetime: 21_600 }],
    ['began in 1970', 'token_too_old', claims({ iat: 0 })],
    ['ends within a second', invalid('exp'), claims({ exp: SECONDS + 0.5 })],
    ['begins within a second (iat)', invalid('iat'), claims({ iat: SECONDS - 0.5 })],
    ['begins within a second (nbf)', invalid('nbf'), claims({ nbf: SECONDS - 0.5 })],
    ['ends never', invalid('exp'), claims({ exp: 2 ** 60 })],
    ['is text (exp)', invalid('exp'), claims({ exp: String(SECONDS + 300) })],
    ['is text (nbf)', invalid('nbf'), claims({ nbf: String(SECONDS) })],
    ['is text (iat)', invalid('iat'), claims({ iat: String(SECONDS) })],
    ['is null', invalid('exp'), claims({ exp: null })],
    ['is a list', invalid('exp'), claims({ exp: [SECONDS + 300] })],
  ]
  it.each(rows)('%s', (_, expected, options) => expectRefusal(scene.show(options), expected))

  it('is infinite', () => {
    const payload = JSON.stringify(scene.payload({ exp: 'X' })).replace('"X"', '1e400')
    const token = signBytes(JSON.stringify(scene.header()), payload, scene.own.privateKey)
    return expectRefusal(scene.prove(token), ['token_claim_invalid', 'exp'])
  })
})

describe('an identity token is refused without its claim', () => {
  it.each([...registered.filter((name) => name !== 'iss'), ...mandatory])('%s', (name) =>
    expectRefusal(scene.show(claims({ [name]: undefined })), ['token_claim_missing', name]),
  )

  it.each(['sub', ...mandatory])('%s, which is there and empty', (name) =>
    expectRefusal(scene.show(claims({ [name]: '' })), ['token_claim_missing', name]),
  )

  it.each([undefined, ''])('check_run_id, which names the job (%o)', (value) =>
    expectRefusal(scene.show(claims({ check_run_id: value })), 'no_job_identity'),
  )
})

describe('an identity token is refused for a claim', () => {
  const values: readonly (readonly [string, string, unknown])[] = [
    ['that is a number', 'repository_id', 99120],
    ['that is a boolean', 'ref_protected', true],
    ['that is null', 'environment', null],
    ['that is a list', 'ref', ['refs/heads/main']],
    ['that is an object', 'actor', { toString: 'octocat' }],
    ['that is a number, the subject', 'sub', 7],
    ['that is a list, a custom property', 'repo_property_tier', ['gold']],
    ['with a line break', 'ref', 'refs/heads/main\nrefs/heads/x'],
    ['with a carriage return', 'workflow', 'deploy\r'],
    ['with a tab', 'environment', 'prod\t'],
    ['with a NUL', 'environment', 'prod\0'],
    ['with an escape character', 'actor', '\u001b[31mred'],
    ['with DEL', 'head_ref', 'a\u007f'],
    ['with a C1 control', 'head_ref', 'a\u0085b'],
    ['with a line separator', 'head_ref', 'a\u2028b'],
    ['with a paragraph separator', 'head_ref', 'a\u2029b'],
    ['with half a character', 'head_ref', 'a\ud83d'],
    ['with the other half', 'head_ref', '\ude00b'],
    ['of 1,025 bytes', 'environment', 'e'.repeat(1025)],
    ['of 1,026 bytes in 342 characters', 'environment', '漢'.repeat(342)],
  ]
  it.each(values)('%s', (_, name, value) =>
    expectRefusal(scene.show(claims({ [name]: value })), ['token_claim_invalid', name]),
  )

  it.each(['', 7, null, 'a b', 'a\nb', 'é', 'j'.repeat(257), ['a']])('jti: %j', (jti) =>
    expectRefusal(scene.show(claims({ jti })), ['token_claim_invalid', 'jti']),
  )

  const forms = [
    '0',
    '099120',
    ' 99120',
    '99120 ',
    '+99120',
    '-99120',
    '99120.0',
    '1e3',
    '0x1',
    '99_120',
    '９９',
    'abc',
    '1/2',
    '9'.repeat(21),
  ]
  const numbers = [...new Set([...ids, ...run])]
  it.each(numbers.flatMap((name) => forms.map((form) => [name, form] as const)))(
    '%s: %j is no id',
    (name, value) =>
      expectRefusal(scene.show(claims({ [name]: value })), ['token_claim_invalid', name]),
  )
})

describe('possession is refused when', () => {
  const bearer = () => github.token(scene.job, { audience: AUDIENCE })
  const rows: readonly (readonly [string, Expected, () => Presented])[] = [
    ['the proof is missing', 'proof_missing', () => ({ ...scene.show(), proof: null })],
    [
      'a token with a key is shown as a bearer token',
      'proof_missing',
      () => ({ ...scene.show(), scheme: 'Bearer', proof: null }),
    ],
    [
      'a token with a key is shown as a bearer token beside its proof',
      'proof_missing',
      () => ({ ...scene.show(), scheme: 'Bearer' }),
    ],
    ['a bearer token is shown with a proof', 'proof_key_mismatch', () => scene.prove(bearer())],
    [
      'a bearer token is shown as one with a key',
      'proof_missing',
      () => ({ scheme: 'DPoP', token: bearer(), proof: null }),
    ],
    [
      'a bearer token is shown as such, and yet with a proof',
      'proof_key_mismatch',
      () => ({ ...scene.prove(bearer()), scheme: 'Bearer' }),
    ],
    [
      'the proof belongs to another token of the job',
      ['proof_invalid', 'its token hash'],
      () => ({ ...scene.show(), proof: scene.holder.proof(scene.show().token) }),
    ],
  ]
  it.each(rows)('%s', (_, expected, presented) => expectRefusal(presented(), expected))
})

describe('an honest token', () => {
  it('becomes a principal of verified claims', async () => {
    const presented = scene.show(claims({ jti: 'one' }))
    const { claims: job } = scene.job
    const principal = await verified(presented)
    expect(principal).toEqual({
      issuer: 'github',
      dialect: DIALECTS.github,
      claims: Object.fromEntries(Object.entries(job).filter(([, value]) => value !== '')),
      repositoryId: '99120',
      ownerId: '8841',
      job: `github/99120/${job['run_id'] ?? ''}/1/${job['check_run_id'] ?? ''}`,
      jkt: scene.holder.jkt,
      jti: 'one',
      proofJti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      kid: github.keys.current,
      tokenHash: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/) as string,
      replayableUntil: NOW + 330_000,
    })
    expect(Object.getPrototypeOf(principal.claims)).toBeNull()
    expect(Object.isFrozen(principal.claims)).toBe(true)
  })

  it('is a bearer token when its audience names no key', async () => {
    const token = github.token(scene.job, { audience: AUDIENCE })
    const principal = await verified({ scheme: 'Bearer', token, proof: null })
    expect(principal).toMatchObject({ jkt: null, proofJti: null })
  })

  it('of another configured issuer has ids of its own', async () => {
    const token = signBytes(
      JSON.stringify(scene.header()),
      JSON.stringify(scene.payload()),
      scene.own.privateKey,
    )
    const principal = await verified(scene.prove(token))
    expect(principal.issuer).toBe('ghes')
    expect(principal.job).toMatch(/^ghes\/99120\//)
  })

  it.each([
    'repo:acme/payments:environment:production',
    'repo:acme@8841/payments@99120:environment:production',
    'repository_owner:acme',
    'repo:evil/other:ref:refs/heads/main',
  ])('is read the same whatever its sub: %s', async (sub) => {
    const principal = await verified(scene.show(claims({ sub })))
    const usual = await verified(scene.show())
    expect({ ...principal.claims, sub: '' }).toEqual({ ...usual.claims, sub: '' })
    expect(principal.job).toBe(usual.job)
  })

  it.each<readonly [string, TokenOptions]>([
    ['ended 29 s ago', claims({ exp: SECONDS - 29 })],
    ['begins in 30 s', claims({ nbf: SECONDS + 30, iat: SECONDS + 30 })],
    ['began 630 s ago', { shift: -630, lifetime: 21_600 }],
    ['has a certificate thumbprint in its header', header({ x5t: 'abc' })],
  ])('holds though it %s', async (_, options) => {
    expect((await verified(scene.show(options))).issuer).toBe('github')
  })

  it('leaves out what its dialect does not define, whatever it holds', async () => {
    const strange = {
      extra: [1, { a: null }],
      constructor: 'x',
      toString: 7,
      hasOwnProperty: null,
      repo_property_: 'x',
      'repo_property_A-b': '\n',
      [`repo_property_${'x'.repeat(500)}`]: 'x',
    }
    const principal = await verified(scene.show(claims(strange)))
    expect(principal.claims).toEqual((await verified(scene.show())).claims)
  })

  it('keeps custom properties and the longest value there may be', async () => {
    const more = { repo_property_tier: 'gold', environment: 'é'.repeat(512) }
    expect((await verified(scene.show(claims(more)))).claims).toMatchObject(more)
  })
})

describe('a job without a claim that names it, where the dialect allows that', () => {
  let older: Scene
  beforeAll(async () => {
    older = await openScene({ ...DIALECTS.github, jobMandatory: false })
  })
  afterAll(() => older.github.close())

  it('is refused as a bearer', async () => {
    const token = older.github.token(older.job, {
      audience: AUDIENCE,
      claims: { check_run_id: undefined },
    })
    const result = await verifyPresented({ scheme: 'Bearer', token, proof: null }, older.trust, NOW)
    expect(result).toEqual({ ok: false, code: 'no_job_identity' })
  })

  it('is named by the key that it proved', async () => {
    const presented = older.show(claims({ check_run_id: undefined }))
    const { job } = older
    expect(await verifyPresented(presented, older.trust, NOW)).toMatchObject({
      value: { job: `github/99120/${job.claims['run_id'] ?? ''}/1/jkt:${older.holder.jkt}` },
    })
  })

  it('is named by its claim all the same when there is one', async () => {
    expect(await verifyPresented(older.show(), older.trust, NOW)).toMatchObject({
      value: { job: expect.stringMatching(/^github\/[0-9]+\/[0-9]+\/1\/[0-9]+$/) as string },
    })
  })
})

describe('every dialect', () => {
  it.each(Object.entries(DIALECTS))('%s: what makes a job key is digits', (_, dialect) => {
    const { repositoryId, ownerId, job } = dialect
    expect(dialect.ids).toEqual(expect.arrayContaining([repositoryId, ownerId, job]))
    expect(dialect.mandatory).toEqual(
      expect.arrayContaining([repositoryId, ownerId, ...dialect.run]),
    )
    expect(dialect.registered).toEqual(
      expect.arrayContaining(['iss', 'aud', 'exp', 'nbf', 'iat', 'jti']),
    )
  })
})

describe('replayableUntil', () => {
  it.each<readonly [string, TokenOptions]>([
    ['the end of the token', { lifetime: 300 }],
    ['the greatest age of a token', { lifetime: 21_600 }],
    ['the end of a token that was issued ahead of our clock', { shift: 25 }],
    ['the end of a token that ends with its greatest age', { lifetime: 600 }],
    ['the end of a token that ends a second later', { lifetime: 601 }],
  ])('is the first moment at which nothing would take it again: %s', async (_, options) => {
    const presented = scene.show(options)
    const { replayableUntil } = await verified(presented)
    const at = (now: number) => {
      const claims = { iat: Math.floor(now / 1000) }
      return { ...presented, proof: scene.holder.proof(presented.token, { claims }) }
    }
    const before = replayableUntil - 1
    expect(await verify(at(before), before)).toMatchObject({ ok: true })
    expect(await verify(at(replayableUntil), replayableUntil)).toMatchObject({
      ok: false,
      code: expect.stringMatching(/^token_(expired|too_old)$/) as string,
    })
  })

  it('covers the proof, which dies with its token', async () => {
    const presented = scene.show(claims({ exp: SECONDS + 1 }))
    const proof = scene.holder.proof(presented.token, { claims: { iat: SECONDS + 60 } })
    const { replayableUntil } = await verified({ ...presented, proof })
    expect(await verify({ ...presented, proof }, replayableUntil)).toMatchObject({ ok: false })
  })
})
