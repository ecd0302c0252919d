import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { decide } from '../../server/policy/decide.ts'
import type { DecisionReason } from '../../server/policy/grant.ts'
import { claimsWith, load, principalWith } from './make.ts'

/** One file of test/vectors: a policy, the claims of a token, and what comes of changing some of them. */
interface Vector {
  readonly policy: string
  readonly owners?: string
  readonly guardrails?: string
  /** Codes that loading complains with; none where absent. */
  readonly problems?: readonly string[]
  readonly grant: string
  readonly claims: Readonly<Record<string, string>>
  readonly cases: readonly Case[]
}

interface Case {
  readonly name: string
  /** In place of the file's; null takes a claim away. */
  readonly claims?: Readonly<Record<string, string | null>>
  readonly grant?: string
  readonly issuer?: string
  /** Seconds. */
  readonly ttl?: number
  readonly proof?: boolean
  readonly expect: 'allow' | 'deny'
  readonly reason: DecisionReason
}

const KEYS = ['policy', 'owners', 'guardrails', 'problems', 'grant', 'claims', 'cases']
const CASE_KEYS = ['name', 'claims', 'grant', 'issuer', 'ttl', 'proof', 'expect', 'reason']

const FOLDER = resolve(import.meta.dirname, '../vectors')
const vectors = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => ({
    sentence: name.slice(0, -'.yaml'.length).replaceAll('-', ' '),
    vector: parse(readFileSync(join(FOLDER, name), 'utf8')) as Vector,
  }))

const setOf = ({ policy, owners, guardrails }: Vector) =>
  load({
    'policy.yaml': policy,
    ...(owners !== undefined && { '_owners.yaml': owners }),
    ...(guardrails !== undefined && { '_guardrails.yaml': guardrails }),
  })

const decided = (vector: Vector, row: Case) => {
  const principal = {
    ...principalWith({}, { issuer: row.issuer ?? 'github' }),
    claims: claimsWith(row.claims ?? {}, vector.claims),
    ...(row.proof === false && { jkt: null, proofJti: null }),
  }
  const ask = { grant: row.grant ?? vector.grant, ttl: row.ttl ?? null }
  return decide(setOf(vector), principal, ask, 0)
}

describe.each(vectors)('$sentence', ({ vector }) => {
  it('is spelt right', () => {
    expect(Object.keys(vector).filter((key) => !KEYS.includes(key))).toEqual([])
    const rows = vector.cases.flatMap((row) => Object.keys(row))
    expect(rows.filter((key) => !CASE_KEYS.includes(key))).toEqual([])
    const names = vector.cases.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
  })

  it('loads as it says', () => {
    const set = setOf(vector)
    expect(set.problems.map(({ code }) => code)).toEqual(vector.problems ?? [])
    expect(set.closed).toBeNull()
  })

  it.each(vector.cases)('$name: $expect', (row) => {
    const { verdict, reason } = decided(vector, row)
    expect({ verdict, reason }).toEqual({ verdict: row.expect, reason: row.reason })
  })
})

it('there are vectors', () => {
  expect(vectors.length).toBeGreaterThan(20)
})
