import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readSessionRequest } from '../../server/http/body.ts'
import type { Refusal } from '../../server/refusal.ts'

const JSON_TYPE = 'application/json'
const GOOD = '{"grants":["payments-deploy"]}'

const read = (text: string | Uint8Array, type: string | undefined = JSON_TYPE) =>
  readSessionRequest(type, typeof text === 'string' ? Buffer.from(text) : text)

const expectRefusal = (result: unknown, code: Refusal['code'], about?: string): void => {
  expect(result).toEqual({ ok: false, code, ...(about === undefined ? {} : { about }) })
}

describe('a body is refused for its content type', () => {
  it.each([
    '',
    'application/x-www-form-urlencoded',
    'text/json',
    'text/plain',
    'application/jsonp',
    'application/json-patch+json',
    'application/problem+json',
    'multipart/form-data; boundary=x',
    'application/json; charset=latin1',
    'application/json; charset=utf-16',
    'application/json; charset=utf-8; charset=utf-7',
    'application/json; profile=x',
    'application/json, text/plain',
    'text/plain; application/json',
  ])('%j', (type) => expectRefusal(read(GOOD, type), 'content_type_unsupported'))

  it('that is missing', () =>
    expectRefusal(readSessionRequest(undefined, Buffer.from(GOOD)), 'content_type_unsupported'))
})

describe('a body is refused as malformed when it', () => {
  const NOT_JSON = 'it is not JSON'
  const NOT_UTF8 = 'the body is not UTF-8'
  const TWICE = 'it names a member twice'
  const DEEP = 'it is nested too deeply'
  const PROTO = 'it has a member that may not be named so'
  const rows: readonly (readonly [string, string, string | Uint8Array])[] = [
    ['is empty', NOT_JSON, ''],
    ['is white space', NOT_JSON, '  \n'],
    ['is a form', NOT_JSON, 'grants=payments-deploy'],
    ['begins with a byte order mark', NOT_JSON, `\ufeff${GOOD}`],
    ['is in Latin-1', NOT_UTF8, Buffer.from('{"grants":["\xe9"]}', 'latin1')],
    ['is in UTF-16', NOT_JSON, Buffer.from(GOOD, 'utf16le')],
    ['is in UTF-16 with its mark', NOT_UTF8, Buffer.from(`\ufeff${GOOD}`, 'utf16le')],
    ['ends inside a character', NOT_UTF8, Buffer.from('{"grants":["é').subarray(0, -1)],
    ['spells a slash in two bytes', NOT_UTF8, Buffer.from([0x22, 0xc0, 0xaf, 0x22])],
    ['holds half a pair in UTF-8', NOT_UTF8, Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['is cut', NOT_JSON, GOOD.slice(0, -1)],
    ['has more behind it', NOT_JSON, `${GOOD}{}`],
    ['has a comma too many', NOT_JSON, '{"grants":["a-b"],}'],
    ['is nested in nine levels', DEEP, `{"grants":${'['.repeat(8)}${']'.repeat(8)}}`],
    ['is nested as deep as it can be', DEEP, '['.repeat(32_000) + ']'.repeat(32_000)],
    ['names grants twice', TWICE, '{"grants":["a-b"],"grants":["c-d"]}'],
    ['names ttl twice', TWICE, '{"grants":["a-b"],"ttl":60,"ttl":60}'],
    ['names grants twice in disguise', TWICE, String.raw`{"grants":["a-b"],"gr\u0061nts":["c"]}`],
    ['has a member __proto__', PROTO, '{"grants":["a-b"],"__proto__":{"ttl":1}}'],
    ['has a member __proto__ alone', PROTO, '{"__proto__":{"grants":["a-b"]}}'],
    ['has __proto__ in disguise', PROTO, String.raw`{"grants":["a-b"],"__pr\u006fto__":1}`],
  ]
  it.each(rows)('%s', (_, about, body) => expectRefusal(read(body), 'request_malformed', about))
})

describe('a body is refused as invalid', () => {
  const GRANTS = '"grants"'
  const TTL = '"ttl"'
  const DELIVERY = '"delivery"'
  const OBJECT = 'the body is not an object'
  const UNKNOWN = 'an unknown member'
  const grants = ['payments-deploy']
  const eleven = Array.from({ length: 11 }, (_, i) => `grant-${i}`)
  const rows: readonly (readonly [string, string, unknown])[] = [
    ['that is null', OBJECT, null],
    ['that is a list', OBJECT, [{ grants }]],
    ['that is text', OBJECT, 'payments-deploy'],
    ['that is a number', OBJECT, 7],
    ['without grants', GRANTS, {}],
    ['with no grants', GRANTS, { grants: [] }],
    ['with eleven grants', GRANTS, { grants: eleven }],
    ['with grants that are text', GRANTS, { grants: 'payments-deploy' }],
    ['with grants that are null', GRANTS, { grants: null }],
    ['with grants that are an object', GRANTS, { grants: { 0: 'payments-deploy', length: 1 } }],
    ['with a grant that is a number', GRANTS, { grants: [7] }],
    ['with a grant that is null', GRANTS, { grants: [null] }],
    ['with a grant that is a list', GRANTS, { grants: [['payments-deploy']] }],
    ['with a grant of one letter', GRANTS, { grants: ['a'] }],
    ['with a grant of 64 characters', GRANTS, { grants: ['a'.repeat(64)] }],
    ['with a grant in capitals', GRANTS, { grants: ['Payments'] }],
    ['with a grant that begins with a digit', GRANTS, { grants: ['1-payments'] }],
    ['with a grant that holds a wildcard', GRANTS, { grants: ['payments-*'] }],
    ['with a grant that ends with a line break', GRANTS, { grants: ['payments\n'] }],
    ['with an empty grant', GRANTS, { grants: [''] }],
    ['with a grant named __proto__', GRANTS, { grants: ['__proto__'] }],
    ['with one grant twice', '"grants" names one grant twice', { grants: ['a-b', 'c-d', 'a-b'] }],
    ['with an unknown member', UNKNOWN, { grants, audience: 'x' }],
    ['with a member that differs in case', UNKNOWN, { grants, TTL: 60 }],
    ['with a member that every object has', UNKNOWN, { grants, constructor: 'x' }],
    ['with a ttl of 0', TTL, { grants, ttl: 0 }],
    ['with a ttl of -1', TTL, { grants, ttl: -1 }],
    ['with a ttl of 3601', TTL, { grants, ttl: 3601 }],
    ['with a ttl of 1.5', TTL, { grants, ttl: 1.5 }],
    ['with a ttl in text', TTL, { grants, ttl: '900' }],
    ['with a ttl of null', TTL, { grants, ttl: null }],
    ['with a ttl of true', TTL, { grants, ttl: true }],
    ['with a ttl in a list', TTL, { grants, ttl: [900] }],
    ['with another delivery', DELIVERY, { grants, delivery: 'email' }],
    ['with a delivery of null', DELIVERY, { grants, delivery: null }],
    ['with an empty delivery', DELIVERY, { grants, delivery: '' }],
  ]
  it.each(rows)('%s', (_, about, body) =>
    expectRefusal(read(JSON.stringify(body)), 'request_invalid', about),
  )

  it('with a ttl beyond all numbers', () =>
    expectRefusal(read('{"grants":["a-b"],"ttl":1e400}'), 'request_invalid', TTL))
})

it('live delivery is refused as such', () =>
  expectRefusal(read('{"grants":["a-b"],"delivery":"session"}'), 'delivery_unsupported'))

describe('a body is read', () => {
  const ten = Array.from({ length: 10 }, (_, i) => `grant-${i}`)
  it.each<readonly [string, object, object]>([
    ['with one grant', { grants: ['payments-deploy'] }, { grants: ['payments-deploy'] }],
    ['with ten grants, in their order', { grants: ten }, { grants: ten }],
    ['with the shortest name', { grants: ['ab'] }, { grants: ['ab'] }],
    ['with the longest name', { grants: ['a'.repeat(63)] }, { grants: ['a'.repeat(63)] }],
    ['with a ttl of 1', { grants: ['ab'], ttl: 1 }, { grants: ['ab'], ttl: 1 }],
    ['with a ttl of 3600', { grants: ['ab'], ttl: 3600 }, { grants: ['ab'], ttl: 3600 }],
    ['with plain delivery', { grants: ['ab'], delivery: 'credentials' }, { grants: ['ab'] }],
  ])('%s', (_, body, value) => {
    expect(read(JSON.stringify(body))).toEqual({ ok: true, value })
  })

  it.each([
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'Application/JSON ; Charset="utf-8"',
  ])('as %s', (type) => {
    expect(read(GOOD, type)).toEqual({ ok: true, value: { grants: ['payments-deploy'] } })
  })
})

it('no bytes make it throw, and none of them are repeated', () => {
  const member = fc.constantFrom('grants', 'ttl', 'delivery', 'marker', '__proto__')
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.dictionary(member, fc.jsonValue()).map((body) => Buffer.from(JSON.stringify(body))),
    fc
      .string({ unit: fc.constantFrom('{', '}', '"marker"', ':', ',', '[', ']') })
      .map((text) => Buffer.from(text)),
  )
  fc.assert(
    fc.property(bodies, (body) => {
      const result = read(body)
      if (!result.ok) expect(JSON.stringify(result)).not.toContain('marker')
      else expect(result.value.grants.length).toBeGreaterThan(0)
    }),
    { numRuns: 1000 },
  )
})
