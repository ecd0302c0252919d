import { describe, expect, it } from 'vitest'
import {
  hashToken,
  isSessionToken,
  makeSessionToken,
  moveTo,
  openSession,
  ownsToken,
  sealSession,
  TRANSITIONS,
  type Session,
  type SessionState,
} from '../../server/session/session.ts'
import { KEY, session } from './rows.ts'

const STATES = Object.keys(TRANSITIONS) as SessionState[]

const OTHER: { readonly [Field in keyof Session]: Session[Field] } = {
  id: 'ses_01J00000000000000000000002',
  state: 'active',
  grant: 'deploy-2',
  issuer: 'ghes',
  job: 'github/99120/17/1/556',
  jkt: null,
  tokenHash: hashToken('another'),
  scope: 'vend',
  createdAt: 1,
  expiresAt: 2,
  renewUntil: 3,
  decisionId: 'dec_01J00000000000000000000002',
  revision: 'abd',
  subjects: ['all', 'grant:deploy', ''],
}

describe('a row that was altered is not opened', () => {
  const sealed = sealSession(session(), KEY)

  it.each(Object.keys(OTHER) as (keyof Session)[])('in %s', (field) => {
    expect(openSession({ ...sealed, [field]: OTHER[field] }, KEY)).toBeNull()
  })

  it('in a character that moved from one field to the next', () => {
    const row = sealSession(session({ issuer: 'ab', job: 'c' }), KEY)
    expect(openSession({ ...row, issuer: 'a', job: 'bc' }, KEY)).toBeNull()
  })

  it.each([
    ['under another key', KEY.map((byte) => byte + 1)],
    ['under a longer key that begins with ours', new Uint8Array([...KEY, 0, 1])],
  ])('%s', (_, key) => {
    expect(openSession(sealed, key)).toBeNull()
  })

  it.each(['', 'AAAA', sealed.mac.slice(0, -2), `${sealed.mac}AAAA`])('with the mac %j', (mac) => {
    expect(openSession({ ...sealed, mac }, KEY)).toBeNull()
  })

  it('and a key that is too short seals nothing', () => {
    expect(() => sealSession(session(), KEY.subarray(1))).toThrow(RangeError)
  })

  it('but one that was not is, whatever order its columns came in', () => {
    const turned = Object.fromEntries(Object.entries(sealed).reverse()) as typeof sealed
    expect(openSession(turned, KEY)).toEqual(session())
    expect(openSession({ ...turned, ...{ seq: 7 } }, KEY)).toEqual(session())
  })
})

describe('the state machine', () => {
  const pairs = STATES.flatMap((from) => STATES.map((to) => [from, to] as const))
  const legal = new Set([
    'pending→pending',
    'pending→active',
    'pending→failed',
    'pending→withheld',
    'pending→ended',
    'active→pending',
    'active→ended',
  ])

  it.each(pairs.filter(([from, to]) => !legal.has(`${from}→${to}`)))(
    'refuses %s → %s',
    (from, to) => {
      expect(() => moveTo(session({ state: from }), to)).toThrow(/cannot go from/)
    },
  )

  it.each(pairs.filter(([from, to]) => legal.has(`${from}→${to}`)))(
    'allows %s → %s',
    (from, to) => {
      expect(moveTo(session({ state: from }), to)).toEqual(session({ state: to }))
    },
  )
})

describe('session tokens', () => {
  const token = makeSessionToken((bytes) => new Uint8Array(bytes).fill(255)).reveal()

  it('are tvm_ and 256 bits', () => {
    expect(token).toBe(`tvm_${'_'.repeat(42)}8`)
    expect(isSessionToken(token)).toBe(true)
  })

  it.each(['', 'tvm_', token.slice(1), `${token}A`, token.replace('_8', '=8'), ` ${token}`])(
    '%j is none',
    (text) => {
      expect(isSessionToken(text)).toBe(false)
    },
  )

  it('belong to the session that keeps their hash, and to no other', () => {
    const own = session({ tokenHash: hashToken(token) })
    expect(ownsToken(own, token)).toBe(true)
    expect(ownsToken(own, `${token.slice(0, -1)}9`)).toBe(false)
    expect(ownsToken(own, own.tokenHash)).toBe(false)
    expect(ownsToken({ ...own, tokenHash: '' }, '')).toBe(false)
  })

  it('hash to base64url SHA-256', () => {
    expect(hashToken('abc')).toBe('ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0')
  })
})
