import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decide } from '../../server/policy/decide.ts'
import type { PolicySet } from '../../server/policy/grant.ts'
import { parsePolicySet } from '../../server/policy/parse.ts'
import { CLAIMS, CONTEXT, fileWith, load, principalWith } from './make.ts'

const ALLOW =
  '{repository_owner_id: 8841, repository_id: 99120, repository: acme/payments, ref: refs/heads/main}'
const set = load({ 'a.yaml': fileWith({ allow: ALLOW }) })
const ask = { grant: 'payments-deploy', ttl: null }

const reasonOf = (policy: PolicySet, changes = {}, more = {}, ttl: number | null = null) =>
  decide(policy, principalWith(changes, more), { grant: 'payments-deploy', ttl }, 0).reason

describe('a decision', () => {
  it('allows for the grant’s ttl, with every line it leaned on', () => {
    const decision = decide(set, principalWith(), ask, 1234)
    expect(decision).toMatchObject({
      verdict: 'allow',
      reason: 'allowed',
      missing: [],
      name: 'payments-deploy',
      ttl: 900,
      revision: 'rev1',
      at: 1234,
      denies: [],
      guardrails: [],
    })
    expect(decision.blocks).toMatchObject([
      {
        held: true,
        at: { file: 'a.yaml', line: 4 },
        lines: [
          { claim: 'repository_owner_id', wanted: '8841', got: '8841', held: true },
          { claim: 'repository_id', wanted: '99120', got: '99120', held: true },
          { claim: 'repository', wanted: 'acme/payments', got: 'acme/payments', held: true },
          { claim: 'ref', wanted: 'refs/heads/main', got: 'refs/heads/main', held: true },
          {
            claim: 'event_name',
            wanted:
              '[push, workflow_dispatch, schedule, release, merge_group, deployment, repository_dispatch], since the block names no event',
            got: 'push',
            held: true,
          },
        ],
      },
    ])
  })

  it('takes a shorter ttl as asked', () => {
    expect(decide(set, principalWith(), { ...ask, ttl: 60 }, 0)).toMatchObject({
      verdict: 'allow',
      ttl: 60,
    })
  })

  it.each([901, 0, -1, 1.5, NaN, Infinity])('refuses a ttl of %d', (ttl) => {
    expect(decide(set, principalWith(), { ...ask, ttl }, 0)).toMatchObject({
      verdict: 'deny',
      reason: 'ttl_too_long',
      ttl: 0,
    })
  })

  it('traces every line of every block, the nearest miss first', () => {
    const policy = load({
      'a.yaml': fileWith({
        allow: `[{repository_owner_id: 1, actor_id: 2, ref: x}, ${ALLOW}, {repository_owner_id: 8841, environment: production, ref: x}]`,
      }),
    })
    const { blocks } = decide(policy, principalWith({ ref: 'refs/heads/dev' }), ask, 0)
    expect(blocks.map(({ lines }) => lines.filter(({ held }) => !held).length)).toEqual([1, 2, 3])
    expect(blocks.map(({ lines }) => lines.length)).toEqual([5, 4, 4])
    expect(blocks[1]?.lines[1]).toMatchObject({ claim: 'environment', got: null, held: false })
  })
})

describe('the first reason that holds is', () => {
  const denying = load({ 'a.yaml': fileWith({ allow: ALLOW, more: 'deny: {actor_id: 583231}' }) })
  const guarded = load({
    'a.yaml': fileWith({ allow: ALLOW, more: 'deny: {actor_id: 1}' }),
    '_guardrails.yaml': 'version: 1\nnever: [{id: no-x, when: {event_name: push}}]\n',
  })
  const bearer = load({ 'a.yaml': fileWith({ allow: ALLOW, more: 'bearer: true' }) })
  const elsewhere = { ref: 'refs/heads/dev' }

  it.each<[string, PolicySet, object, object, number | null]>([
    ['issuer_mismatch', set, {}, { issuer: 'ghes' }, 9999],
    ['no_block_held', denying, elsewhere, { jkt: null }, 9999],
    ['denied', denying, {}, { jkt: null }, 9999],
    ['guardrail', guarded, {}, { jkt: null }, 9999],
    ['proof_required', set, {}, { jkt: null }, 9999],
    ['ttl_too_long', set, {}, {}, 9999],
    ['ttl_too_long', bearer, {}, { jkt: null }, 9999],
    ['allowed', bearer, {}, { jkt: null }, null],
    ['allowed', set, {}, {}, null],
  ])('%s', (reason, policy, changes, more, ttl) => {
    expect(reasonOf(policy, changes, more, ttl)).toBe(reason)
  })

  it.each(['nobody', '__proto__', 'constructor', 'toString', ''])(
    'no_such_grant for %j',
    (grant) => {
      expect(decide(set, principalWith(), { grant, ttl: null }, 0)).toMatchObject({
        verdict: 'deny',
        reason: 'no_such_grant',
        grant: null,
        blocks: [],
      })
    },
  )
})

describe('claims', () => {
  it('are read as own properties only', () => {
    const inherited = Object.create({ ...CLAIMS }) as Record<string, string>
    const decision = decide(set, { ...principalWith(), claims: inherited }, ask, 0)
    expect(decision.reason).toBe('no_block_held')
    expect(decision.blocks[0]?.lines.map(({ got }) => got)).toEqual([null, null, null, null, null])
  })

  it('of any shape never throw, and allow only what every line wants', () => {
    const value = fc.oneof(fc.string(), fc.constantFrom(...Object.values(CLAIMS)))
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(CLAIMS)), value), (changes) => {
        const principal = principalWith(changes)
        const { verdict } = decide(set, principal, ask, 0)
        const { claims } = principal
        const wanted =
          claims['repository_owner_id'] === '8841' &&
          claims['repository_id'] === '99120' &&
          claims['repository'] === 'acme/payments' &&
          claims['ref'] === 'refs/heads/main' &&
          CONTEXT.issuers.get('github')?.dialect.defaultEvents.includes(claims['event_name'] ?? '')
        expect(verdict).toBe(wanted === true ? 'allow' : 'deny')
      }),
      { numRuns: 3000 },
    )
  })
})

describe('the cost of a decision', () => {
  it('touches one grant, however many are loaded', () => {
    const files = [...Array(300).keys()].map((i) => ({
      path: `f${i}.yaml`,
      text: fileWith({ name: `grant-${i}`, allow: ALLOW }),
    }))
    const many = parsePolicySet(files, CONTEXT, 'rev1')
    expect(many.grants.size).toBe(300)
    let read = 0
    const grants = new Map(many.grants)
    grants.get = (name) => {
      read++
      return many.grants.get(name)
    }
    for (const method of ['values', 'entries', 'keys', 'forEach'] as const)
      Object.defineProperty(grants, method, {
        value: () => {
          throw new Error('walked over all grants')
        },
      })
    decide({ ...many, grants }, principalWith(), { grant: 'grant-7', ttl: null }, 0)
    expect(read).toBe(1)
  })
})
