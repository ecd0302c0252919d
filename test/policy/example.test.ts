import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { decide } from '../../server/policy/decide.ts'
import { formatProblem } from '../../server/policy/problem.ts'
import { parsePolicySet } from '../../server/policy/parse.ts'
import { readFolder } from '../../server/source/folder.ts'
import { load, principalWith } from './make.ts'

const POLICIES = resolve(import.meta.dirname, '../../policies')

/** What a broker without any configuration reads its policies with. */
const BARE = {
  issuers: new Map([['github', { dialect: DIALECTS.github, default: true }]]),
  tokenAudiences: [],
}

describe('the example', async () => {
  const set = parsePolicySet(await readFolder(POLICIES), BARE, 'rev1')

  it('loads', () => {
    expect(set.problems.map(formatProblem)).toEqual([])
    expect([...set.grants.keys()]).toEqual(['payments-deploy'])
  })

  it.each([
    ['payments-deploy', { environment: 'production' }, 'allowed'],
    ['payments-deploy', {}, 'no_block_held'],
  ])('%s with %j: %s', (grant, changes, reason) => {
    expect(decide(set, principalWith(changes), { grant, ttl: null }, 0).reason).toBe(reason)
  })
})

describe('the page on the language', () => {
  const page = readFileSync(resolve(POLICIES, 'README.md'), 'utf8')
  const blocks = [...page.matchAll(/```yaml\n([^]*?)```/g)].map(([, text]) => text ?? '')

  it('shows what loads', () => {
    const [policy = '', owners = '', guardrails = ''] = blocks
    expect(blocks).toHaveLength(3)
    const set = load({
      'payments/deploy.yaml': policy,
      '_owners.yaml': owners,
      '_guardrails.yaml': guardrails,
    })
    expect(set.problems.map(formatProblem)).toEqual([])
    expect([...set.grants.keys()]).toEqual(['payments-deploy'])
    expect(set.guardrails).toHaveLength(3)
  })
})
