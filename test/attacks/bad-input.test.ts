import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Code, Problem } from '../../server/api.ts'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { ask, makeKey, makeProof, type AskOptions } from '../world/caller.ts'
import { DEPLOY_POLICY, type LocalWorld } from '../world/world.ts'
import type { Lie, SignOptions, TokenOptions } from '../world/github.ts'
import { openWorld } from './open.ts'
import { eventsOf, records } from './records.ts'
import { head, sendRaw, type RawAnswer } from './raw.ts'

/** A second grant, of another repository of the same owner, so that an unpermitted grant is there. */
const POLICIES = {
  'payments/deploy.yaml': DEPLOY_POLICY,
  'infra/deploy.yaml': DEPLOY_POLICY.replaceAll('payments-deploy', 'infra-deploy')
    .replaceAll('acme/payments', 'acme/infra')
    .replaceAll('99120', '99121'),
}

let world: LocalWorld
beforeAll(async () => {
  world = await openWorld({
    policies: POLICIES,
    config: { limit_address: 1_000_000, limit_repository: 1_000_000 },
  })
})
afterAll(() => world.close())

const production = () => world.github.job({ environment: 'production' })

/** What every refusal owes its caller, and everybody else. */
const expectRefusal = (
  { status, headers, text }: { status: number; headers: Headers; text: string },
  expected: { status: number; code: Code },
): Problem => {
  const problem = JSON.parse(text) as Problem
  expect({ status, code: problem.code }).toEqual({ status: expected.status, code: expected.code })
  expect(problem).toMatchObject({
    status,
    type: expect.stringMatching(`#${expected.code}$`) as string,
  })
  expect(problem.title).not.toBe('')
  expect(problem.detail).toMatch(/^[^{}]+\.$/)
  expect(problem.hint).toMatch(/^[^]{10,}\.$/)
  expect(problem.request_id).toMatch(/^req_[0-9A-HJKMNP-TV-Z]{26}$/)
  expect(headers.get('content-type')).toBe('application/problem+json')
  expect(headers.get('cache-control')).toBe('no-store')
  expect(headers.has('www-authenticate')).toBe(status === 401)
  expect(text).not.toMatch(/node:internal|node_modules|\.[jt]s:\d|\bat [\w.]+ \(/)
  return problem
}

/** Nothing was asked of a cloud, and the request left what it should: nothing before the end of step 3, one record after. */
const expectNothingMinted = async (requestId: string, recorded: boolean): Promise<void> => {
  expect(world.aws.calls).toEqual([])
  expect(await eventsOf(world, requestId)).toEqual(recorded ? ['exchange.refused'] : [])
  expect(world.log()).not.toMatch(/"level":"error"|internal_error/)
}

interface Row {
  readonly status: number
  readonly code: Code
  /** It failed after step 3, so the audit has it. */
  readonly recorded?: true
  readonly ask: () => AskOptions | Promise<AskOptions>
}

type Rows = Readonly<Record<string, Row>>

const refuses = (rows: Rows): void => {
  test.each(Object.entries(rows))('%s', async (_, row) => {
    const asked = await ask(world, { job: production(), ...(await row.ask()) })
    const problem = expectRefusal(asked, row)
    expect(problem.decision_id !== undefined).toBe(row.recorded === true)
    await expectNothingMinted(problem.request_id, row.recorded === true)
    for (const secret of [asked.token, asked.proof ?? asked.token])
      if (secret.length > 40) expect(asked.text).not.toContain(secret)
  })
}

const body = (code: Code, text: string | Uint8Array<ArrayBuffer>, status = 400): Row => ({
  status,
  code,
  ask: () => ({ body: text }),
})

const bytes = (...values: readonly number[]): Uint8Array<ArrayBuffer> => Uint8Array.from(values)

const GOOD = '"grants":["payments-deploy"]'
const invalid = (text: string): Row => body('request_invalid', text)
const malformed = (text: string | Uint8Array<ArrayBuffer>): Row => body('request_malformed', text)
const contentType = (value: string): Row => ({
  status: 415,
  code: 'content_type_unsupported',
  ask: () => ({ headers: { 'Content-Type': value } }),
})

describe('a body is refused when', () => {
  refuses({
    'it is empty': malformed(''),
    'it is one blank': malformed(' '),
    'it is no JSON': malformed('grants=payments-deploy'),
    'it is cut off': malformed(`{${GOOD}`),
    'something follows it': malformed(`{${GOOD}} {}`),
    'it starts with a byte order mark': malformed(`\ufeff{${GOOD}}`),
    'it is not UTF-8': malformed(bytes(0x22, 0xff, 0xfe, 0x22)),
    'it is UTF-16': malformed(new Uint8Array(Buffer.from(`{${GOOD}}`, 'utf16le'))),
    'it names a member twice': malformed(`{${GOOD},${GOOD}}`),
    'it names a member twice, once escaped': malformed(`{${GOOD},"gr\\u0061nts":["x1"]}`),
    'it has a __proto__': malformed(`{${GOOD},"__proto__":{"ttl":1}}`),
    'it has an escaped __proto__': malformed(`{${GOOD},"\\u005f_proto__":{}}`),
    'it nests 9 deep': malformed(`{"grants":${'['.repeat(9)}${']'.repeat(9)}}`),
    'it nests 30,000 deep': malformed('['.repeat(30_000) + ']'.repeat(30_000)),
    'it opens 60,000 arrays and closes none': malformed('['.repeat(60_000)),
    'it has 257 members': malformed(
      `{${Array.from({ length: 257 }, (_, n) => `"m${n}":0`).join()}}`,
    ),
    'it is larger than 64 KiB': body('request_too_large', ' '.repeat(65_537), 413),
    'it is larger than 64 KiB, for the white space in good JSON': body(
      'request_too_large',
      `{${GOOD}${' '.repeat(65_536)}}`,
      413,
    ),
    'it is null': invalid('null'),
    'it is an array': invalid('["payments-deploy"]'),
    'it is a string': invalid('"payments-deploy"'),
    'it is an empty object': invalid('{}'),
    'it has an unknown member': invalid(`{${GOOD},"role":"arn:aws:iam::1:role/x"}`),
    'it has a member "constructor"': invalid(`{${GOOD},"constructor":{"prototype":{"ttl":1}}}`),
    'a member is written in capitals': invalid('{"Grants":["payments-deploy"]}'),
    '"grants" is a string': invalid('{"grants":"payments-deploy"}'),
    '"grants" is empty': invalid('{"grants":[]}'),
    '"grants" holds 11': invalid(
      `{"grants":[${Array.from({ length: 11 }, (_, n) => `"grant-${n}"`).join()}]}`,
    ),
    '"grants" holds one name twice': invalid('{"grants":["payments-deploy","payments-deploy"]}'),
    '"grants" holds a list': invalid('{"grants":[["payments-deploy"]]}'),
    '"grants" holds an object': invalid('{"grants":[{"name":"payments-deploy"}]}'),
    '"grants" holds a number': invalid('{"grants":[1]}'),
    'a grant is a path': invalid('{"grants":["../payments-deploy"]}'),
    'a grant is a wildcard': invalid('{"grants":["*"]}'),
    'a grant is __proto__': invalid('{"grants":["__proto__"]}'),
    'a grant has a line break behind it': invalid('{"grants":["payments-deploy\\n"]}'),
    'a grant is written in capitals': invalid('{"grants":["Payments-Deploy"]}'),
    'a grant has 64 characters': invalid(`{"grants":["${'a'.repeat(64)}"]}`),
    '"ttl" is 0': invalid(`{${GOOD},"ttl":0}`),
    '"ttl" is negative': invalid(`{${GOOD},"ttl":-1}`),
    '"ttl" is a fraction': invalid(`{${GOOD},"ttl":1.5}`),
    '"ttl" is text': invalid(`{${GOOD},"ttl":"60"}`),
    '"ttl" is more than an hour': invalid(`{${GOOD},"ttl":3601}`),
    '"ttl" is not finite': invalid(`{${GOOD},"ttl":1e999}`),
    '"delivery" is unknown': invalid(`{${GOOD},"delivery":"email"}`),
    '"delivery" is what this version lacks': body(
      'delivery_unsupported',
      `{${GOOD},"delivery":"session"}`,
    ),
    'it has no type': contentType(''),
    'it says text/plain': contentType('text/plain'),
    'it says form': contentType('application/x-www-form-urlencoded'),
    'it says another kind of JSON': contentType('application/json-patch+json'),
    'it says another charset': contentType('application/json; charset=iso-8859-1'),
    'it says two types': contentType('application/json, text/plain'),
    'it is packed': {
      status: 415,
      code: 'content_type_unsupported',
      ask: () => ({ headers: { 'Content-Encoding': 'gzip' } }),
    },
  })
})

const authorization = (status: number, code: Code, value: string | undefined): Row => ({
  status,
  code,
  ask: () => ({ headers: { Authorization: value } }),
})
const malformedHeader = (value: string): Row => authorization(400, 'authorization_malformed', value)
const malformedToken = (value: string): Row =>
  authorization(401, 'token_malformed', `DPoP ${value}`)

describe('an Authorization header is refused when', () => {
  refuses({
    'there is none': authorization(401, 'authorization_missing', undefined),
    'it is empty': malformedHeader(''),
    'it says Basic': malformedHeader('Basic b2N0b2NhdDpwYXNzd29yZA=='),
    'it has no token': malformedHeader('DPoP'),
    'it has no scheme': malformedHeader('eyJh.eyJh.eyJh'),
    'it holds two tokens': malformedHeader('DPoP a.b.c, DPoP a.b.c'),
    'its token is quoted': malformedHeader('DPoP "a.b.c"'),
    'its token is not ASCII': malformedHeader('DPoP a.b.\u00e9'),
    'the proof is not one': {
      status: 400,
      code: 'authorization_malformed',
      ask: () => ({ proof: 'a.b.c, a.b.c' }),
    },
  })
})

describe('a token is refused when', () => {
  refuses({
    'it has one part': malformedToken('a'),
    'it has two parts': malformedToken('eyJh.eyJh'),
    'it has four parts': malformedToken('eyJh.eyJh.eyJh.eyJh'),
    'it is a JWE': malformedToken('eyJh.eyJh.eyJh.eyJh.eyJh'),
    'its parts are empty': malformedToken('..'),
    'its header is no object': malformedToken(`${b64('[]')}.${b64('{}')}.`),
    'its payload is no object': malformedToken(`${b64('{"alg":"RS256"}')}.${b64('7')}.`),
    'its payload is no JSON': malformedToken(`${b64('{"alg":"RS256"}')}.${b64('{')}.`),
    'a part of it is padded': authorization(
      400,
      'authorization_malformed',
      `DPoP ${b64('{"alg":"RS256"}')}=.e30.`,
    ),
    'it is larger than 16 KiB': authorization(
      400,
      'token_too_large',
      `DPoP ${'a'.repeat(16_383)}.b.c`,
    ),
    'it is cut off in the payload': withToken('token_malformed', (token) => token.slice(0, 300)),
    'it is cut off in the signature': withToken('token_signature_invalid', (token) =>
      token.slice(0, -6),
    ),
    'its signature is gone': withToken('token_signature_invalid', (token) =>
      token.slice(0, token.lastIndexOf('.') + 1),
    ),
    'its payload is of another token': withToken('token_signature_invalid', (token) => {
      const [header, , signature] = token.split('.')
      const [, payload] = world.github.token(production(), { audience: world.url }).split('.')
      return [header, payload, signature].join('.')
    }),
    'its last bit is another one': withToken(
      'token_signature_invalid',
      (token) => token.slice(0, -2) + (token.endsWith('AA') ? 'Ag' : 'AA'),
    ),
  })
})

/** An honest token but for its text. */
function withToken(code: Code, change: (token: string) => string): Row {
  return {
    status: 401,
    code,
    ask: async () => {
      const key = await makeKey()
      const audience = `${world.url}/jkt/${key.thumbprint}`
      return { key, token: change(world.github.token(production(), { audience })) }
    },
  }
}

function b64(text: string): string {
  return Buffer.from(text).toString('base64url')
}

/** A token with an honest payload under any header and algorithm. */
const signed = (
  code: Code,
  header: Readonly<Record<string, unknown>>,
  how: SignOptions = {},
): Row => ({
  status: 401,
  code,
  ask: async () => {
    const key = await makeKey()
    return { key, token: world.github.sign(honestPayload(key.thumbprint), header, how) }
  },
})

const honestPayload = (thumbprint: string): Readonly<Record<string, unknown>> => {
  const token = world.github.token(production(), { audience: `${world.url}/jkt/${thumbprint}` })
  const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()
  return JSON.parse(payload) as Readonly<Record<string, unknown>>
}

const own = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ownJwk = own.publicKey.export({ format: 'jwk' })
const with_ = (key: KeyObject): SignOptions => ({ key })

describe('a signature is refused when', () => {
  refuses({
    'the algorithm is none': signed('token_algorithm_refused', {}, { algorithm: 'none' }),
    'the algorithm is None': signed('token_algorithm_refused', { alg: 'None' }),
    'the algorithm is missing': signed('token_algorithm_refused', { alg: undefined }),
    'the algorithm is a list': signed('token_algorithm_refused', { alg: ['RS256'] }),
    "HS256 was made with the issuer's public key": signed(
      'token_algorithm_refused',
      {},
      { algorithm: 'HS256' },
    ),
    "an HMAC with the issuer's public key is called RS256": signed(
      'token_signature_invalid',
      { alg: 'RS256' },
      { algorithm: 'HS256' },
    ),
    'the algorithm is RS512': signed('token_algorithm_refused', {}, { algorithm: 'RS512' }),
    'the algorithm is PS256': signed('token_algorithm_refused', {}, { algorithm: 'PS256' }),
    'another RSA key made it': signed('token_signature_invalid', {}, with_(own.privateKey)),
    'another RSA key made it and comes along as jwk': signed(
      'token_malformed',
      { jwk: ownJwk },
      with_(own.privateKey),
    ),
    'the header points to other keys (jku)': signed('token_malformed', {
      jku: 'https://octocat.example/jwks',
    }),
    'the header points to a certificate (x5u)': signed('token_malformed', {
      x5u: 'https://octocat.example/cert',
    }),
    'the header carries a certificate (x5c)': signed('token_malformed', { x5c: ['MIIB'] }),
    'the header has a critical extension': signed('token_malformed', { crit: ['exp'] }),
    'the header says that the payload is not encoded': signed('token_malformed', { b64: false }),
    'the type is another one': signed('token_malformed', { typ: 'at+jwt' }),
    'the type is a proof': signed('token_malformed', { typ: 'dpop+jwt' }),
    'the type is missing': signed('token_malformed', { typ: undefined }),
    'the key id is missing': signed('token_malformed', { kid: undefined }),
    'the key id is a list': signed('token_malformed', { kid: ['a'] }),
    'the key id is a path': signed('token_key_unknown', { kid: '../../../../dev/null' }),
    'the key id is __proto__': signed('token_key_unknown', { kid: '__proto__' }),
    'the key id is one that the issuer does not have': signed('token_key_unknown', {
      kid: 'none-such',
    }),
  })
})

const lying = (code: Code, lie: Lie, status = 401): Row => ({
  status,
  code,
  ask: () => ({ tokenOptions: lie }),
})
const claim = (code: Code, name: string, value: unknown): Row =>
  lying(code, { claims: { [name]: value } })
const audience = (make: (jkt: string) => string): Row => ({
  status: 401,
  code: 'token_audience_refused',
  ask: async () => {
    const key = await makeKey()
    const tokenOptions: TokenOptions = { audience: make(key.thumbprint) }
    return { key, tokenOptions }
  },
})

describe('a claim is refused when', () => {
  const missing = ['sub', 'exp', 'nbf', 'iat', 'jti', ...DIALECTS.github.mandatory]
  refuses({
    ...Object.fromEntries(
      missing.map((name) => [`${name} is missing`, claim('token_claim_missing', name, undefined)]),
    ),
    ...Object.fromEntries(
      ['repository_id', 'repository', 'ref', 'environment', 'actor_id', 'sha'].flatMap((name) =>
        [[['main']], [{ is: 'main' }], [99120], [true], [null]].map(([value]) => [
          `${name} is ${JSON.stringify(value)}`,
          claim('token_claim_invalid', name, value),
        ]),
      ),
    ),
    'iss is unknown': claim('token_issuer_unknown', 'iss', 'https://octocat.example'),
    'iss is missing': claim('token_issuer_unknown', 'iss', undefined),
    'iss is a list': claim('token_issuer_unknown', 'iss', [DIALECTS.github.issuer]),
    'iss has a slash more': claim('token_issuer_unknown', 'iss', `${DIALECTS.github.issuer}/`),
    'iss is __proto__': claim('token_issuer_unknown', 'iss', '__proto__'),
    'aud is missing': claim('token_claim_missing', 'aud', undefined),
    'aud is a list of ours alone': {
      status: 401,
      code: 'token_audience_refused',
      ask: async () => {
        const key = await makeKey()
        return { key, tokenOptions: { claims: { aud: [`${world.url}/jkt/${key.thumbprint}`] } } }
      },
    },
    'aud is a list with others': {
      status: 401,
      code: 'token_audience_refused',
      ask: () => ({ tokenOptions: { claims: { aud: [world.url, 'sts.amazonaws.com'] } } }),
    },
    'aud is what GitHub puts when nothing is asked for': audience(() => 'https://github.com/acme'),
    'aud is a cloud': audience(() => 'sts.amazonaws.com'),
    'aud starts like ours': audience((jkt) => `${world.url}.octocat.example/jkt/${jkt}`),
    'aud has an empty thumbprint': audience(() => `${world.url}/jkt/`),
    'aud has a cut thumbprint': audience((jkt) => `${world.url}/jkt/${jkt.slice(1)}`),
    'aud goes on behind the thumbprint': audience((jkt) => `${world.url}/jkt/${jkt}/x`),
    'aud is written in capitals': audience((jkt) => `${world.url.toUpperCase()}/jkt/${jkt}`),
    'the token has expired': lying('token_expired', { shift: -480 }),
    'the token is not valid yet': lying('token_not_yet_valid', { shift: 3600 }),
    'the token is too old': lying('token_too_old', { shift: -1200, lifetime: 86_400 }),
    'exp is text': claim('token_claim_invalid', 'exp', '9999999999'),
    'exp is a fraction': claim('token_claim_invalid', 'exp', 9_999_999_999.5),
    'exp is too large to count': claim('token_claim_invalid', 'exp', 1e300),
    'jti is a number': claim('token_claim_invalid', 'jti', 7),
    'jti is empty': claim('token_claim_invalid', 'jti', ''),
    'jti has 257 characters': claim('token_claim_invalid', 'jti', 'j'.repeat(257)),
    'jti has a line break': claim('token_claim_invalid', 'jti', 'a\nb'),
    'there is no job in it': lying('no_job_identity', { claims: { check_run_id: undefined } }, 403),
    'a mandatory claim is empty': claim('token_claim_missing', 'repository', ''),
    'a value is longer than 1 KiB': claim('token_claim_invalid', 'ref', 'r'.repeat(1025)),
    'a value has a line break': claim('token_claim_invalid', 'ref', 'refs/heads/main\nx'),
    'a value has a NUL': claim('token_claim_invalid', 'environment', 'production\0'),
    'a value has half a character': claim('token_claim_invalid', 'environment', '\ud800'),
    'an id has a zero in front': claim('token_claim_invalid', 'repository_id', '099120'),
    'an id is written in another base': claim('token_claim_invalid', 'repository_id', '0x18330'),
    'an id has a sign': claim('token_claim_invalid', 'repository_owner_id', '+8841'),
    'an id has a blank': claim('token_claim_invalid', 'repository_owner_id', '8841 '),
    'an id is in other digits': claim('token_claim_invalid', 'actor_id', '٤٢'),
    'there is a __proto__': lying('token_malformed', {
      claims: Object.fromEntries([['__proto__', { environment: 'production' }]]),
    }),
    'a claim stands there twice': {
      status: 401,
      code: 'token_malformed',
      ask: async () => {
        const key = await makeKey()
        const text = JSON.stringify(honestPayload(key.thumbprint))
        const twice = text.replace('{', '{"repository_id":"1",')
        return { key, token: world.github.sign(twice) }
      },
    },
    'a claim is nested 9 deep': lying('token_malformed', {
      claims: { x: JSON.parse('['.repeat(9) + ']'.repeat(9)) as unknown },
    }),
    'there are 300 claims': lying('token_malformed', {
      claims: Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`x${n}`, n])),
    }),
    'the owner is one that no grant names': {
      status: 403,
      code: 'owner_unknown',
      ask: () => ({ job: world.github.job({ repository: 'octo-org/octo-repo' }) }),
    },
  })
})

describe('claims that no dialect defines help nobody', () => {
  refuses({
    'names like those of true ones': {
      status: 403,
      code: 'grant_refused',
      recorded: true,
      ask: () => ({
        job: world.github.job({}),
        tokenOptions: {
          claims: {
            Environment: 'production',
            'environment ': 'production',
            constructor: { environment: 'production' },
            toString: 'production',
            environment_: ['production'],
            admin: true,
          },
        },
      }),
    },
  })
})

const proof = (code: Code, proofLie: AskOptions['proofLie'] = {}): Row => ({
  status: 401,
  code,
  ask: () => ({ proofLie }),
})
const proofText = (code: Code, text: string | null): Row => ({
  status: 401,
  code,
  ask: () => ({ proof: text }),
})
const seconds = () => Math.floor(world.clock.now() / 1000)
const proofAt = (offset: number): Row => ({
  status: 401,
  code: 'proof_stale',
  ask: () => ({ proofLie: { claims: { iat: seconds() + offset } } }),
})

describe('a proof is refused when', () => {
  refuses({
    'it is missing': proofText('proof_missing', null),
    'it is missing and the scheme is Bearer': {
      status: 401,
      code: 'proof_missing',
      ask: () => ({ scheme: 'Bearer', proof: null }),
    },
    'the scheme is Bearer': {
      status: 401,
      code: 'proof_missing',
      ask: () => ({ scheme: 'Bearer' }),
    },
    'it is no JWT': proofText('proof_malformed', 'proof'),
    'it is larger than 4 KiB': proofText('proof_malformed', `${'a'.repeat(4096)}.b.c`),
    'it is the token itself': {
      status: 401,
      code: 'proof_malformed',
      ask: async () => {
        const key = await makeKey()
        const audience = `${world.url}/jkt/${key.thumbprint}`
        const token = world.github.token(production(), { audience })
        return { key, token, proof: token }
      },
    },
    'its type is another one': proof('proof_malformed', { header: { typ: 'JWT' } }),
    'its header carries no key': proof('proof_malformed', { header: { jwk: undefined } }),
    'its header names a key id': proof('proof_malformed', { header: { kid: 'a' } }),
    'its header carries the private key': {
      status: 401,
      code: 'proof_malformed',
      ask: async () => {
        const key = await makeKey()
        return { key, proofLie: { header: { jwk: { ...key.jwk, d: 'A'.repeat(43) } } } }
      },
    },
    'its algorithm is none': {
      status: 401,
      code: 'proof_malformed',
      ask: async () => {
        const { key, token, url } = await honest()
        const [, payload = ''] = (
          await makeProof(key, { url, token, now: world.clock.now() })
        ).split('.')
        const header = b64(JSON.stringify({ typ: 'dpop+jwt', alg: 'none', jwk: key.jwk }))
        return { key, token, proof: `${header}.${payload}.` }
      },
    },
    'its jti is missing': proof('proof_malformed', { claims: { jti: undefined } }),
    'its jti is a list': proof('proof_malformed', { claims: { jti: ['a'] } }),
    'its iat is text': proof('proof_malformed', { claims: { iat: '1' } }),
    'its iat is missing': proof('proof_malformed', { claims: { iat: undefined } }),
    'it was made two minutes ago': proofAt(-120),
    'it was made two minutes from now': proofAt(120),
    'it is for another method': proof('proof_invalid', { claims: { htm: 'GET' } }),
    'it is for another address': proof('proof_invalid', {
      claims: { htu: 'https://octocat.example/v1/sessions' },
    }),
    'it is for another endpoint': {
      status: 401,
      code: 'proof_invalid',
      ask: () => ({ proofLie: { claims: { htu: `${world.url}/v1/sessions/` } } }),
    },
    'it has no hash of the token': proof('proof_invalid', { claims: { ath: undefined } }),
    'it is for another token': {
      status: 401,
      code: 'proof_invalid',
      ask: async () => {
        const { key, token, url } = await honest()
        const other = await makeProof(key, { url, token, now: world.clock.now() })
        return { key, proof: other }
      },
    },
    'its signature is another one': {
      status: 401,
      code: 'proof_invalid',
      ask: async () => {
        const { key, token, url } = await honest()
        const other = await makeKey()
        const lie = { header: { jwk: key.jwk } }
        const forged = await makeProof(other, { url, token, now: world.clock.now() }, lie)
        return { key, token, proof: forged }
      },
    },
    'another key made it': {
      status: 401,
      code: 'proof_key_mismatch',
      ask: async () => {
        const { key, token, url } = await honest()
        const other = await makeProof(await makeKey(), { url, token, now: world.clock.now() })
        return { key, token, proof: other }
      },
    },
    'the token asks for none': {
      status: 401,
      code: 'proof_key_mismatch',
      ask: () => ({ tokenOptions: { audience: world.url } }),
    },
    'its jti was used with another token': {
      status: 409,
      code: 'proof_replayed',
      recorded: true,
      ask: async () => {
        const key = await makeKey()
        const proofLie = { claims: { jti: 'the-same' } }
        await ask(world, { key, proofLie, grants: ['no-such-grant'] })
        return { key, proofLie }
      },
    },
    'it comes again with its token': {
      status: 409,
      code: 'token_replayed',
      recorded: true,
      ask: async () => {
        const key = await makeKey()
        const { token, proof } = await ask(world, { key, grants: ['no-such-grant'] })
        return { key, token, proof }
      },
    },
  })
})

const honest = async () => {
  const key = await makeKey()
  const audience = `${world.url}/jkt/${key.thumbprint}`
  const token = world.github.token(production(), { audience })
  return { key, token, url: `${world.url}/v1/sessions` }
}

describe('a grant is refused, and recorded, when', () => {
  const refused = (status: number, code: Code, options: () => AskOptions): Row => ({
    status,
    code,
    recorded: true,
    ask: options,
  })
  refuses({
    'there is none of that name': refused(403, 'grant_refused', () => ({
      grants: ['no-such-grant'],
    })),
    'it is for another repository': refused(403, 'grant_refused', () => ({
      grants: ['infra-deploy'],
    })),
    'it is for another branch': refused(403, 'grant_refused', () => ({
      job: world.github.job({ environment: 'production', ref: 'refs/heads/main2' }),
    })),
    'it is for another environment': refused(403, 'grant_refused', () => ({
      job: world.github.job({ environment: 'Production' }),
    })),
    'the repository has the right name and another id': refused(403, 'grant_refused', () => ({
      job: world.github.job({ environment: 'production', repositoryId: '99122' }),
    })),
    'it is asked for together with one that is refused': refused(403, 'grant_refused', () => ({
      grants: ['payments-deploy', 'infra-deploy'],
    })),
    'it is asked for longer than it lives': refused(400, 'ttl_refused', () => ({
      body: JSON.stringify({ grants: ['payments-deploy'], ttl: 601 }),
    })),
    'it wants a proof and the token is a bearer one': refused(401, 'proof_missing', () => ({
      scheme: 'Bearer',
      proof: null,
      tokenOptions: { audience: world.url },
    })),
  })
})

interface RawRow {
  readonly status: number
  readonly code: Code
  readonly bytes: () => string
  readonly end?: true
  readonly allow?: string
}

const host = () => `Host: ${new URL(world.url).host}`
const CLOSE = 'Connection: close'
const JSON_TYPE = 'Content-Type: application/json'
const AUTH = 'Authorization: DPoP eyJh.eyJh.eyJh'
const post = (...more: readonly string[]) => head('POST /v1/sessions', host(), CLOSE, ...more)

const raw = (status: number, code: Code, bytes: () => string): RawRow => ({ status, code, bytes })
const notAllowed = (line: string, allow: string): RawRow => ({
  status: 405,
  code: 'method_not_allowed',
  bytes: () => head(line, host(), CLOSE, 'Content-Length: 0'),
  allow,
})
const notFound = (target: string): RawRow =>
  raw(404, 'not_found', () => head(`GET ${target}`, host(), CLOSE))
const ended = (id: string, bearer = `tvm_${'a'.repeat(43)}`): RawRow =>
  raw(401, 'session_token_invalid', () =>
    head(`DELETE /v1/sessions/${id}`, host(), CLOSE, `Authorization: Bearer ${bearer}`),
  )

const RAW: Readonly<Record<string, RawRow>> = {
  'headers above 24 KiB': raw(431, 'headers_too_large', () => post(`X-A: ${'a'.repeat(24_576)}`)),
  'a thousand headers above 24 KiB': raw(431, 'headers_too_large', () =>
    post(...Array.from({ length: 1000 }, (_, n) => `X-${n}: ${'a'.repeat(30)}`)),
  ),
  'a request line of garbage': raw(400, 'request_malformed', () => 'GARBAGE\r\n\r\n'),
  'TLS where there is none': raw(400, 'request_malformed', () => '\x16\x03\x01\x02\x00\x01'),
  'the preface of HTTP/2': raw(400, 'request_malformed', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  'an unknown method': raw(400, 'request_malformed', () =>
    head('BREW /v1/sessions', host(), CLOSE),
  ),
  CONNECT: raw(400, 'request_malformed', () => head('CONNECT octocat.example:443', host())),
  'OPTIONS *': raw(400, 'request_malformed', () => head('OPTIONS *', host(), CLOSE)),
  'a backslash in the path': raw(400, 'request_malformed', () =>
    head('POST /v1\\sessions', host(), CLOSE),
  ),
  'no Host': raw(400, 'request_malformed', () => head('POST /v1/sessions', CLOSE)),
  'a Host that is none': raw(400, 'request_malformed', () =>
    head('POST /v1/sessions', 'Host: octocat.example/..@x', CLOSE),
  ),
  'an absolute target without a host': raw(400, 'request_malformed', () =>
    head('GET http://', host(), CLOSE),
  ),
  'a folded header': raw(400, 'request_malformed', () => post('X-A: a\r\n b')),
  'a blank before a colon': raw(400, 'request_malformed', () => post('Authorization : DPoP a.b.c')),
  'a NUL in a header': raw(400, 'request_malformed', () => post('X-A: a\0b')),
  'two Content-Length': raw(400, 'request_malformed', () =>
    post('Content-Length: 1', 'Content-Length: 2'),
  ),
  'Transfer-Encoding and Content-Length': raw(
    400,
    'request_malformed',
    () => `${post(AUTH, 'Transfer-Encoding: chunked', 'Content-Length: 5')}0\r\n\r\n`,
  ),
  'a transfer coding that there is not': raw(
    400,
    'request_malformed',
    () => `${post(AUTH, 'Transfer-Encoding: xchunked')}0\r\n\r\n`,
  ),
  'a chunk whose length is no number': raw(
    400,
    'request_malformed',
    () => `${post(AUTH, JSON_TYPE, 'Transfer-Encoding: chunked')}zz\r\n`,
  ),
  'chunks above 64 KiB': raw(
    413,
    'request_too_large',
    () =>
      `${post(AUTH, JSON_TYPE, 'Transfer-Encoding: chunked')}10001\r\n${' '.repeat(65_537)}\r\n0\r\n\r\n`,
  ),
  'a Content-Length above 64 KiB before any of it': raw(413, 'request_too_large', () =>
    post(AUTH, JSON_TYPE, 'Content-Length: 65537'),
  ),
  'a body that ends before its length': {
    ...raw(400, 'request_malformed', () => `${post(AUTH, JSON_TYPE, 'Content-Length: 99')}{`),
    end: true,
  },
  'chunks that end in the middle': {
    ...raw(
      400,
      'request_malformed',
      () => `${post(AUTH, JSON_TYPE, 'Transfer-Encoding: chunked')}5\r\n{`,
    ),
    end: true,
  },
  'two Authorization headers': raw(400, 'authorization_malformed', () =>
    post(AUTH, AUTH, JSON_TYPE, 'Content-Length: 0'),
  ),
  'two Authorization headers in different letters': raw(400, 'authorization_malformed', () =>
    post(AUTH, AUTH.toUpperCase(), JSON_TYPE, 'Content-Length: 0'),
  ),
  'two DPoP headers': raw(400, 'authorization_malformed', () =>
    post(AUTH, 'DPoP: eyJh.eyJh.eyJh', 'DPoP: eyJh.eyJh.eyJh', JSON_TYPE, 'Content-Length: 0'),
  ),
  'an expectation that nobody knows': raw(401, 'authorization_missing', () =>
    post('Expect: chocolate', 'Content-Length: 0'),
  ),
  'an upgrade': raw(401, 'authorization_missing', () =>
    head(
      'POST /v1/sessions',
      host(),
      'Connection: Upgrade, close',
      'Upgrade: websocket',
      'Content-Length: 0',
    ),
  ),
  'GET where only POST is': notAllowed('GET /v1/sessions', 'POST'),
  'PUT where only POST is': notAllowed('PUT /v1/sessions', 'POST'),
  'DELETE where only POST is': notAllowed('DELETE /v1/sessions', 'POST'),
  'OPTIONS where only POST is': notAllowed('OPTIONS /v1/sessions', 'POST'),
  'TRACE where only POST is': notAllowed('TRACE /v1/sessions', 'POST'),
  'GET of a session': notAllowed('GET /v1/sessions/ses_01J00000000000000000000001', 'DELETE'),
  'POST to a session': notAllowed('POST /v1/sessions/ses_01J00000000000000000000001', 'DELETE'),
  'an unknown path': notFound('/'),
  'a path below an endpoint': notFound('/v1/sessions/x/aws'),
  'a slash more': notFound('/v1/sessions/'),
  'a path up and down': notFound('/v1/sessions/../../etc/passwd'),
  'a path that is not UTF-8': notFound('/v1/%e0%a4%a'),
  "the operators' endpoint on the public listener": notFound('/metrics'),
  'the end of a session with half an escape': ended('%ff'),
  'the end of a session with its slash escaped': ended('..%2f..%2fmetrics'),
  'the end of a session with a NUL': ended('%00'),
  'the end of a session that is none': ended('ses_01J00000000000000000000001'),
  'the end of a session with its id escaped': ended('ses%5F01J00000000000000000000001'),
  'the end of a session with no token of ours': ended('ses_01J00000000000000000000001', 'a.b.c'),
  'the end of a session without a token': raw(401, 'session_token_invalid', () =>
    head('DELETE /v1/sessions/ses_01J00000000000000000000001', host(), CLOSE),
  ),
}

const asResponse = ({ status, headers, body: text }: RawAnswer) => ({
  status,
  headers: new Headers(headers),
  text,
})

describe('on the wire is refused', () => {
  test.each(Object.entries(RAW))('%s', async (_, row) => {
    const answer = await sendRaw(world.url, row.bytes(), { end: row.end ?? false })
    const problem = expectRefusal(asResponse(answer), row)
    expect(answer.headers['allow']).toBe(row.allow)
    await expectNothingMinted(problem.request_id, false)
  })

  test('HEAD, with the headers of a refusal and no body', async () => {
    const answer = await sendRaw(world.url, head('HEAD /v1/sessions', host(), CLOSE))
    expect(answer).toMatchObject({ status: 405, body: '' })
    expect(answer.headers).toMatchObject({
      allow: 'POST',
      'cache-control': 'no-store',
      'content-type': 'application/problem+json',
    })
  })

  test.each([
    ['garbage', () => 'GARBAGE\r\n\r\n'],
    ['no target', () => head('OPTIONS *', host(), CLOSE)],
  ])('%s, and is counted though it was no request yet', async (_, bytes) => {
    const before = await unreadable()
    await sendRaw(world.url, bytes())
    expect(await unreadable()).toBe(before + 1)
  })
})

/** How many requests were refused before they were requests. */
const unreadable = async (): Promise<number> => {
  const metrics = await (await fetch(`${world.adminUrl}/metrics`)).text()
  const count = /\{route="none",status="400",code="request_malformed"\} (\d+)/.exec(metrics)
  return Number(count?.[1] ?? 0)
}

describe('who asks to be taken for another is not', () => {
  const EVIL = 'octocat.example'

  test('Host and X-Forwarded-Host are in no answer, and change none', async () => {
    const { key, token, url } = await honest()
    const proof = await makeProof(key, { url, token, now: world.clock.now() })
    const text = JSON.stringify({ grants: ['infra-deploy'] })
    const request = (target: string, ...more: readonly string[]) =>
      head(
        target,
        `Host: ${EVIL}`,
        `X-Forwarded-Host: ${EVIL}`,
        `Forwarded: host=${EVIL}`,
        'X-Forwarded-Proto: gopher',
        CLOSE,
        ...more,
      )
    const asked = request(
      `POST http://${EVIL}/v1/sessions`,
      `Authorization: DPoP ${token}`,
      `DPoP: ${proof}`,
      JSON_TYPE,
      `Content-Length: ${text.length}`,
    )
    const answers = await Promise.all([
      sendRaw(world.url, asked + text),
      sendRaw(world.url, request('GET /.well-known/openid-configuration')),
      sendRaw(world.url, request('GET /tokens/.well-known/openid-configuration')),
      sendRaw(world.url, request('GET /nowhere')),
    ])
    expect(answers.map(({ status }) => status)).toEqual([403, 200, 200, 404])
    for (const { wire } of answers) expect(wire).not.toMatch(/octocat\.example|gopher/)
    expect(world.log()).not.toContain(EVIL)
  })

  test('X-Forwarded-For of a peer that is no trusted proxy is ignored', async () => {
    const headers = { 'X-Forwarded-For': '198.51.100.7', 'X-Real-IP': '198.51.100.7' }
    const { problem } = await ask(world, { job: production(), grants: ['infra-deploy'], headers })
    expect(problem.code).toBe('grant_refused')
    const found = (await records(world)).find(({ body }) => body.request_id === problem.request_id)
    expect(found?.body).toMatchObject({ address: '127.0.0.1' })
    expect(world.log()).not.toContain('198.51.100.7')
  })
})
