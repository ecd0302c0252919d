import { describe, expect, it } from 'vitest'
import { decide } from '../../server/policy/decide.ts'
import { explainForCaller, explainForOperator } from '../../server/policy/explain.ts'
import { fileWith, load, principalWith } from './make.ts'

const ALLOW = `
      - {repository_owner_id: 8841, repository_id: 99120, ref: refs/heads/main, environment: production}
      - {repository_owner_id: 8841, repository: acme/pay-*, ref: refs/heads/shared}
      - {repository_owner_id: 8841, repository_id: 5501, ref: refs/heads/neighbour}
      - {repository_owner_id: 8841, repository_id: {not: [5501]}, ref: refs/heads/any}
      - {repository_owner_id: 77, ref: refs/heads/stranger}`
const set = load({
  'a.yaml': fileWith({ allow: ALLOW, more: 'deny: {actor_id: 4242}' }),
  '_guardrails.yaml': 'version: 1\nnever: [{id: secret-law, when: {actor_id: 4243}}]\n',
})

const seen = (changes: Record<string, string | null>, grant = 'payments-deploy', more = {}) => {
  const principal = principalWith(changes, more)
  return explainForCaller(decide(set, principal, { grant, ttl: null }, 0), principal)
}

describe('a caller sees', () => {
  it('the wanted values of blocks that speak of its repository or, without one, of its owner', () => {
    const { blocks } = seen({ ref: 'refs/heads/dev' })
    const refs = blocks.map(({ lines }) => lines.find(({ claim }) => claim === 'ref')?.wanted)
    expect(refs).toEqual(['refs/heads/any', 'refs/heads/main', 'refs/heads/shared'])
    expect(blocks[1]).toEqual({
      at: 'a.yaml:5',
      lines: [
        { claim: 'repository_owner_id', held: true, got: '8841', wanted: '8841' },
        { claim: 'repository_id', held: true, got: '99120', wanted: '99120' },
        { claim: 'ref', held: false, got: 'refs/heads/dev', wanted: 'refs/heads/main' },
        { claim: 'environment', held: false, got: null, wanted: 'production' },
        expect.objectContaining({ claim: 'event_name', held: true, got: 'push' }),
      ],
    })
  })

  it('nothing of its neighbour’s block', () => {
    expect(JSON.stringify(seen({ ref: 'refs/heads/dev' }))).not.toContain('neighbour')
  })

  it('from a repository of another owner: nothing', () => {
    const stranger = { repository_owner_id: '666', repository_id: '1', repository: 'acme/pay-x' }
    expect(seen(stranger)).toEqual({ grant: 'payments-deploy', blocks: [] })
  })

  it('its repository under a new owner: its own blocks', () => {
    const { blocks } = seen({ repository_owner_id: '666' })
    expect(blocks.map(({ at }) => at)).toEqual(['a.yaml:5'])
  })

  it.each(['public', null, '', 'Private'])(
    'in a repository of visibility %j only the names of the claims that failed',
    (repository_visibility) => {
      const { blocks } = seen({ ref: 'refs/heads/dev', repository_visibility })
      expect(blocks).toEqual([
        { lines: [{ claim: 'ref', held: false, got: 'refs/heads/dev' }] },
        {
          lines: [
            { claim: 'ref', held: false, got: 'refs/heads/dev' },
            { claim: 'environment', held: false, got: null },
          ],
        },
        {
          lines: [
            { claim: 'repository', held: false, got: 'acme/payments' },
            { claim: 'ref', held: false, got: 'refs/heads/dev' },
          ],
        },
      ])
    },
  )

  it('in an internal repository what a private one sees', () => {
    const internal = seen({ ref: 'refs/heads/dev', repository_visibility: 'internal' })
    expect(internal).toEqual(seen({ ref: 'refs/heads/dev' }))
  })

  it.each([
    ['a deny line', { environment: 'production', actor_id: '4242' }],
    ['a guardrail', { environment: 'production', actor_id: '4243' }],
  ])('never %s', (_, changes) => {
    const text = JSON.stringify(seen(changes))
    expect(text).not.toMatch(/actor_id|secret-law/)
    expect(seen(changes).blocks[0]?.lines.every(({ held }) => held)).toBe(true)
  })

  it('the same of a grant that does not exist and of one it may see nothing of', () => {
    const stranger = { repository_owner_id: '666', repository_id: '1' }
    const [unknown, hidden] = [seen(stranger, 'no-such-grant'), seen(stranger)]
    expect({ ...unknown, grant: '' }).toEqual({ ...hidden, grant: '' })
    expect(seen({}, 'payments-deploy', { issuer: 'ghes' })).toEqual(hidden)
  })
})

describe('an operator sees', () => {
  it('everything, as JSON', () => {
    const decision = decide(
      set,
      principalWith({ actor_id: '4242', environment: 'production' }),
      { grant: 'payments-deploy', ttl: null },
      0,
    )
    const told = explainForOperator(decision)
    expect(JSON.parse(JSON.stringify(told))).toEqual(told)
    expect(told).toMatchObject({
      verdict: 'deny',
      reason: 'denied',
      grant: 'payments-deploy',
      owner: null,
      issuer: 'github',
      at: 'a.yaml:3',
      denies: [
        {
          at: 'a.yaml:10',
          held: true,
          lines: [{ claim: 'actor_id', wanted: '4242', got: '4242', held: true, at: 'a.yaml:10' }],
        },
      ],
      guardrails: [],
      ttl: 0,
      revision: 'rev1',
    })
    expect(told['blocks']).toHaveLength(5)
  })

  it('the nearest blocks of a grant that has many, and how many there are: a record does not grow with the policy', () => {
    const blocks = Array.from(
      { length: 60 },
      (_, i) => `{repository_owner_id: 8841, ref: refs/heads/b${i}}`,
    )
    const many = load({
      'many.yaml': `version: 1\nissuer: github\ngrants:\n  many:\n    description: many\n    allow: [${blocks.join(', ')}]\n    aws: {role: 'arn:aws:iam::111122223333:role/many', region: eu-west-1}\n`,
    })
    const told = explainForOperator(decide(many, principalWith(), { grant: 'many', ttl: null }, 0))
    expect(told['blocks']).toHaveLength(5)
    expect(told['blocks_in_all']).toBe(60)
    expect(JSON.stringify(told).length).toBeLessThan(8_000)
  })

  it('as much of a grant that does not exist as there is', () => {
    const decision = decide(set, principalWith(), { grant: 'nobody', ttl: null }, 0)
    expect(explainForOperator(decision)).toMatchObject({ reason: 'no_such_grant', at: null })
  })
})
