import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  afterFailure,
  handedOut,
  pendingSession,
  renewal,
  type Ask,
  type Fresh,
  type Hold,
} from '../../server/session/hold.ts'
import type { Session, SessionState } from '../../server/session/session.ts'
import { MINUTE, NOW, session } from './rows.ts'

const ask = (changes: Partial<Ask> = {}): Ask => ({
  jkt: 'the-first-key',
  now: NOW + 5 * MINUTE,
  ttl: 900,
  session: 3600,
  ...changes,
})

/** Fifteen minutes of credentials in a session of an hour. */
const hour = (changes: Partial<Session> = {}): Session =>
  session({ state: 'active', renewUntil: NOW + 60 * MINUTE, ...changes })

const held = (existing: Session | null, asked: Ask): Hold => {
  const result = renewal(existing, asked)
  if (!result.ok) throw new Error(result.code)
  return result.value
}

describe('a hold is refused', () => {
  it.each<[string, Partial<Session>, Partial<Ask>, string]>([
    ['another key, while active', { state: 'active' }, { jkt: 'x' }, 'session_bound'],
    ['no key, while active', { state: 'active' }, { jkt: null }, 'session_bound'],
    ['a key, where a bearer holds', { jkt: null }, { jkt: 'x' }, 'session_bound'],
    ['another key, while pending', { state: 'pending' }, { jkt: 'x' }, 'session_bound'],
    ['another key, after the end', { state: 'ended' }, { jkt: 'x' }, 'session_bound'],
    ['another key, after withheld', { state: 'withheld' }, { jkt: 'x' }, 'session_bound'],
    ['another key, after a failure', { state: 'failed' }, { jkt: 'x' }, 'session_bound'],
    ['another key, after expiry', {}, { jkt: 'x', now: NOW + 20 * MINUTE }, 'session_bound'],
    ['the time is over', {}, { now: NOW + 60 * MINUTE }, 'session_exhausted'],
    ['less than a minute is left', {}, { now: NOW + 59 * MINUTE + 1 }, 'session_exhausted'],
    [
      'less than a short ttl is left',
      {},
      { now: NOW + 59.9 * MINUTE, ttl: 7 },
      'session_exhausted',
    ],
    [
      'the policy has become shorter',
      {},
      { now: NOW + 16 * MINUTE, session: 900 },
      'session_exhausted',
    ],
    ['over, after the end', { state: 'ended' }, { now: NOW + 61 * MINUTE }, 'session_exhausted'],
    ['over, after a failure', { state: 'failed' }, { now: NOW + 61 * MINUTE }, 'session_exhausted'],
  ])('%s', (_, existing, asked, code) => {
    expect(renewal(hour(existing), ask(asked))).toMatchObject({ ok: false, code, about: 'deploy' })
  })
})

describe('a hold goes on', () => {
  it('from nothing: the first session sets its length', () => {
    expect(held(null, ask({ now: NOW }))).toEqual({
      renews: null,
      expiresAt: NOW + 15 * MINUTE,
      renewUntil: NOW + 60 * MINUTE,
    })
  })

  it.each<[string, Partial<Session>, Partial<Ask>]>([
    ['active', {}, {}],
    ['active and expired', {}, { now: NOW + 30 * MINUTE }],
    ['pending', { state: 'pending' }, {}],
    ['a bearer session', { jkt: null }, { jkt: null }],
  ])('renewing what is %s', (_, existing, asked) => {
    expect(held(hour(existing), ask(asked)).renews).toEqual(hour(existing))
  })

  it.each<SessionState>(['ended', 'withheld', 'failed'])(
    'with a new session after one that %s',
    (state) => {
      expect(held(hour({ state }), ask())).toMatchObject({
        renews: null,
        renewUntil: NOW + 60 * MINUTE,
      })
    },
  )

  it('by what is left, where that is less than the ttl', () => {
    const late = ask({ now: NOW + 50 * MINUTE })
    expect(held(hour(), late).expiresAt).toBe(NOW + 60 * MINUTE)
    expect(held(hour(), ask({ now: NOW + 59 * MINUTE })).expiresAt).toBe(NOW + 60 * MINUTE)
  })

  it('no longer than the first policy said, though the newest says more', () => {
    expect(held(hour(), ask({ session: 7200 })).renewUntil).toBe(NOW + 60 * MINUTE)
  })
})

const fresh = (changes: Partial<Fresh> = {}): Fresh => ({
  id: 'ses_01J00000000000000000000009',
  grant: 'deploy',
  issuer: 'github',
  job: 'github/99120/17/1/555',
  jkt: 'the-first-key',
  tokenHash: 'new',
  scope: 'end',
  decisionId: 'dec_2',
  revision: 'def',
  subjects: ['all'],
  now: NOW + 5 * MINUTE,
  ...changes,
})

describe('the rows of an exchange', () => {
  it('a renewed session keeps its id, beginning, key and token until it is handed out', () => {
    const before = hour()
    const pending = pendingSession(held(before, ask()), fresh())
    expect(pending).toEqual({
      ...before,
      state: 'pending',
      decisionId: 'dec_2',
      revision: 'def',
      expiresAt: NOW + 20 * MINUTE,
      subjects: ['all', `session:${before.id}`],
    })
    expect(handedOut(pending, { tokenHash: 'new', expiresAt: NOW + 7 })).toEqual({
      ...pending,
      state: 'active',
      tokenHash: 'new',
      expiresAt: NOW + 7,
    })
  })

  it('a new session that follows another carries the bound of the hold', () => {
    const pending = pendingSession(held(hour({ state: 'ended' }), ask()), fresh())
    expect(pending).toMatchObject({
      id: 'ses_01J00000000000000000000009',
      state: 'pending',
      createdAt: NOW + 5 * MINUTE,
      renewUntil: NOW + 60 * MINUTE,
      tokenHash: 'new',
    })
  })

  it('a renewal that failed leaves the session as active as it was', () => {
    const before = hour()
    const pending = pendingSession(held(before, ask()), fresh())
    expect(afterFailure(before, pending)).toMatchObject({
      state: 'active',
      expiresAt: before.expiresAt,
      tokenHash: before.tokenHash,
      decisionId: 'dec_2',
    })
  })

  it.each([
    ['after nothing', null],
    ['after a session that ended', hour({ state: 'ended' })],
    ['after one that never was handed out', hour({ state: 'pending' })],
  ])('a first exchange that failed, %s, has failed', (_, before) => {
    const pending = pendingSession(held(before, ask()), fresh())
    expect(afterFailure(before, pending).state).toBe('failed')
  })
})

describe('whatever a job does', () => {
  type Step = Omit<Ask, 'now'> & { readonly wait: number; readonly then: SessionState }

  const step: fc.Arbitrary<Step> = fc.record({
    wait: fc.integer({ min: 0, max: 20 * MINUTE }),
    ttl: fc.integer({ min: 1, max: 3600 }),
    session: fc.integer({ min: 3600, max: 7200 }),
    jkt: fc.constantFrom('one', 'two', null),
    then: fc.constantFrom<SessionState>('active', 'failed', 'withheld', 'ended', 'pending'),
  })

  interface Told {
    readonly now: number
    readonly asked: Ask
    readonly pending: Session
  }

  /** What a row of steps was given, each settled as the broker does it. */
  const given = (steps: readonly Step[]): readonly Told[] => {
    const told: Told[] = []
    let now = NOW
    let row: Session | null = null
    for (const { wait, then, ...asked } of steps) {
      now += wait
      const hold: ReturnType<typeof renewal> = renewal(row, { now, ...asked })
      if (!hold.ok) continue
      const pending = pendingSession(hold.value, fresh({ now, jkt: asked.jkt }))
      row = then === 'failed' ? afterFailure(row, pending) : { ...pending, state: then }
      told.push({ now, asked: { now, ...asked }, pending })
    }
    return told
  }

  const many = fc.array(step, { minLength: 1, maxLength: 30 })

  it('no credentials outlive the length that its first session of the grant was given', () => {
    fc.assert(
      fc.property(many, (steps) => {
        const told = given(steps)
        const bound = NOW + steps[0]!.wait + steps[0]!.session * 1000
        for (const { now, asked, pending } of told) {
          expect(pending.expiresAt).toBeLessThanOrEqual(Math.min(bound, now + asked.ttl * 1000))
          expect(pending.expiresAt).toBeGreaterThan(now)
        }
        expect(told.length).toBeGreaterThan(0)
      }),
    )
  })

  it('every session of the hold is of one key', () => {
    fc.assert(
      fc.property(many, (steps) => {
        const keys = given(steps).map(({ pending }) => pending.jkt)
        expect(new Set(keys).size).toBe(1)
      }),
    )
  })

  it('the bound never grows', () => {
    fc.assert(
      fc.property(many, (steps) => {
        const renewals = given(steps).map(({ pending }) => pending.renewUntil)
        expect(renewals).toEqual(renewals.toSorted((a, b) => b - a))
      }),
    )
  })
})
