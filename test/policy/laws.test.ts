import { describe, expect, it } from 'vitest'
import { decide } from '../../server/policy/decide.ts'
import { formatProblem } from '../../server/policy/problem.ts'
import { fileWith, load, principalWith, ROLE } from './make.ts'

const OWNERS = `
version: 1
owners:
  team-payments:
    folder: payments
    prefix: payments-
    owner_ids: [8841]
    aws: {roles: ["arn:aws:iam::111122223333:role/tvm/payments-*"], tags: [team]}
    token: [{audience: https://risk.acme.internal, scope: [risk:score:write]}]
  team-web:
    folder: web
    prefix: web-
    owner_ids: {github: [8841], ghes: [17]}
    aws: {roles: ["arn:aws:iam::111122223333:role/tvm/*"]}
retired: [payments-old]
`
const PAYMENTS = fileWith({ top: 'owner: team-payments' })
const owned = (parts: Parameters<typeof fileWith>[0]) =>
  fileWith({ top: 'owner: team-payments', ...parts })
const OWNER_LINES = 'repository_owner_id: 8841'

describe('owners', () => {
  it('let through what they list', () => {
    const file = owned({
      aws: `{role: '${ROLE}', region: eu-west-1, tags: {team: a}}`,
      more: 'token: {audience: https://risk.acme.internal, scope: [risk:score:write]}',
    })
    const set = load({ '_owners.yaml': OWNERS, 'payments/a.yaml': file })
    expect(set.problems.map(formatProblem)).toEqual([])
    expect([...set.grants.keys()]).toEqual(['payments-deploy'])
  })

  it('keep an id to its issuer', () => {
    const web = (issuer: string) =>
      fileWith({
        top: `owner: team-web\nissuer: ${issuer}`,
        name: 'web-deploy',
        allow: '{repository_owner_id: 17}',
        aws: `{role: '${ROLE.replace('payments', 'web')}', region: eu-west-1}`,
      })
    expect(load({ '_owners.yaml': OWNERS, 'web/a.yaml': web('ghes') }).problems).toEqual([])
    expect(load({ '_owners.yaml': OWNERS, 'web/a.yaml': web('github') }).problems).toMatchObject([
      {
        code: 'owner_scope_exceeded',
        message: "'web-deploy' names repository_owner_id 17, which 'team-web' may not",
      },
    ])
  })

  it.each<[string, string, string, string]>([
    ['without owner', 'owner_unknown', 'payments/a.yaml', fileWith({})],
    [
      'of an owner that is not listed',
      'owner_unknown',
      'payments/a.yaml',
      fileWith({ top: 'owner: team-x' }),
    ],
    ['outside of its folder', 'owner_scope_exceeded', 'a.yaml', PAYMENTS],
    [
      'in a folder that only begins alike',
      'owner_scope_exceeded',
      'payments-evil/a.yaml',
      PAYMENTS,
    ],
    ['in another owner’s folder', 'owner_scope_exceeded', 'web/a.yaml', PAYMENTS],
    [
      'with a grant outside of its prefix',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ name: 'web-deploy' }),
    ],
    [
      'with an owner id of somebody else',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ allow: '{repository_owner_id: 1}' }),
    ],
    [
      'with one such id in its second block',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ allow: `[{${OWNER_LINES}}, {repository_owner_id: [8841, 1]}]` }),
    ],
    [
      'with a role of somebody else',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ aws: "{role: 'arn:aws:iam::111122223333:role/admin', region: eu-west-1}" }),
    ],
    [
      'with a role of another account',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ aws: `{role: '${ROLE.replace('1111', '9999')}', region: eu-west-1}` }),
    ],
    [
      'with a tag that is not listed',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ aws: `{role: '${ROLE}', region: eu-west-1, tags: {Team: a}}` }),
    ],
    [
      'with a scope that is not listed',
      'owner_scope_exceeded',
      'payments/a.yaml',
      owned({ more: 'token: {audience: https://risk.acme.internal, scope: [admin]}' }),
    ],
    ['with a retired name', 'grant_retired', 'payments/a.yaml', owned({ name: 'payments-old' })],
  ])('refuse a file %s, and nobody else’s', (_, code, path, text) => {
    const web = fileWith({
      top: 'owner: team-web',
      name: 'web-x',
      aws: `{role: '${ROLE}-web', region: eu-west-1}`,
    })
    const set = load({ '_owners.yaml': OWNERS, [path]: text, 'web/x.yaml': web })
    expect(set.problems.map((problem) => problem.code)).toEqual([code])
    expect([...set.grants.keys()]).toEqual(['web-x'])
    expect(set.closed).toBeNull()
  })

  it('refuse an audience to an owner who lists none', () => {
    const text = fileWith({
      top: 'owner: team-web',
      name: 'web-x',
      aws: null,
      more: 'token: {audience: https://risk.acme.internal, scope: [risk:score:write]}',
    })
    const set = load({ '_owners.yaml': OWNERS, 'web/x.yaml': text })
    expect(set.problems.map(({ code }) => code)).toEqual(['owner_scope_exceeded'])
  })

  it('cannot take a name away from one another', () => {
    const thief = fileWith({ top: 'owner: team-web', name: 'payments-deploy' })
    const set = load({ '_owners.yaml': OWNERS, 'payments/a.yaml': PAYMENTS, 'web/x.yaml': thief })
    expect([...set.grants.keys()]).toEqual(['payments-deploy'])
    expect(set.grants.get('payments-deploy')?.owner).toBe('team-payments')
  })

  it('never name one role, in whatever case', () => {
    const web = fileWith({
      top: 'owner: team-web',
      name: 'web-x',
      aws: `{role: '${ROLE.replace('payments', 'Payments')}', region: eu-west-1}`,
    })
    const set = load({ '_owners.yaml': OWNERS, 'payments/a.yaml': PAYMENTS, 'web/x.yaml': web })
    expect(set.problems.map(({ code }) => code)).toEqual(['owners_overlap', 'owners_overlap'])
    expect(set.grants.size).toBe(0)
  })

  it('are needed as soon as there are two', () => {
    const one = fileWith({ top: 'owner: team-a', name: 'a-x' })
    const two = fileWith({
      top: 'owner: team-b',
      name: 'b-x',
      aws: `{role: '${ROLE}-b', region: eu-west-1}`,
    })
    expect(load({ 'a.yaml': one }).closed).toBeNull()
    const set = load({ 'a.yaml': one, 'b.yaml': two })
    expect(set.closed).toMatchObject({ code: 'laws_malformed', at: { file: 'b.yaml', line: 2 } })
    const retiredOnly = load({
      'a.yaml': one,
      'b.yaml': two,
      '_owners.yaml': 'version: 1\nretired: [x-y]\n',
    })
    expect(retiredOnly.closed).not.toBeNull()
  })
})

const owners = (text: string): Record<string, string> => ({ '_owners.yaml': text })
const guardrails = (text: string): Record<string, string> => ({
  '_guardrails.yaml': `version: 1\nnever: ${text}\n`,
})
const two = (a: string, b: string): Record<string, string> =>
  owners(`version: 1\nowners:\n  team-a: {${a}}\n  team-b: {${b}}\n`)
const A = 'folder: a, prefix: a-, owner_ids: [1]'

describe('nothing is granted while', () => {
  it.each<[string, string, Record<string, string>]>([
    ['the owners are no YAML', 'yaml_malformed', owners('version: [')],
    ['the owners are empty', 'value_invalid', owners('')],
    ['the owners have an unknown key', 'key_unknown', owners('version: 1\nowner: {}\n')],
    [
      'an owner has an unknown key',
      'key_unknown',
      two(`${A}, github: {}`, 'folder: b, prefix: b-, owner_ids: [1]'),
    ],
    ['an owner has no ids', 'key_missing', two(A, 'folder: b, prefix: b-')],
    [
      'an owner has an empty list of ids',
      'value_invalid',
      two(A, 'folder: b, prefix: b-, owner_ids: []'),
    ],
    [
      'an owner’s ids are of no issuer',
      'issuer_unknown',
      two(A, 'folder: b, prefix: b-, owner_ids: {gitlab: [1]}'),
    ],
    [
      'an owner’s id is a name',
      'value_invalid',
      two(A, 'folder: b, prefix: b-, owner_ids: [acme]'),
    ],
    [
      'an owner’s folder leads out',
      'value_invalid',
      two(A, 'folder: ../b, prefix: b-, owner_ids: [1]'),
    ],
    [
      'two owners share a prefix',
      'owners_overlap',
      two(A, 'folder: b, prefix: a-, owner_ids: [1]'),
    ],
    [
      'one prefix begins another',
      'owners_overlap',
      two(A, 'folder: b, prefix: a-b-, owner_ids: [1]'),
    ],
    [
      'two owners share a folder',
      'owners_overlap',
      two(A, 'folder: a, prefix: b-, owner_ids: [1]'),
    ],
    [
      'one folder is inside another',
      'owners_overlap',
      two(A, 'folder: a/b, prefix: b-, owner_ids: [1]'),
    ],
    [
      'two owners list one role',
      'owners_overlap',
      two(
        `${A}, aws: {roles: ["arn:aws:iam::111122223333:role/x-*"]}`,
        'folder: b, prefix: b-, owner_ids: [1], aws: {roles: ["arn:aws:iam::111122223333:role/x-*"]}',
      ),
    ],
    [
      'an owner’s role has a wildcard for the account',
      'value_invalid',
      two(`${A}, aws: {roles: ["arn:aws:iam::*:role/x"]}`, 'folder: b, prefix: b-, owner_ids: [1]'),
    ],
    ['the guardrails are no YAML', 'yaml_malformed', { '_guardrails.yaml': '{' }],
    [
      'the guardrails are of version 2',
      'value_invalid',
      { '_guardrails.yaml': 'version: 2\nnever: [{id: a-b, grant: x}]\n' },
    ],
    ['never is empty', 'value_invalid', guardrails('[]')],
    ['a guardrail has an unknown key', 'key_unknown', guardrails('[{id: no-x, match: {ref: a}}]')],
    ['a guardrail has no id', 'key_missing', guardrails('[{grant: "*"}]')],
    [
      'two guardrails have one id',
      'value_invalid',
      guardrails('[{id: a-b, grant: x}, {id: a-b, grant: y}]'),
    ],
    ['a guardrail forbids everything', 'value_invalid', guardrails('[{id: no-x}]')],
    [
      'a guardrail speaks of a claim nobody has',
      'claim_unknown',
      guardrails('[{id: no-x, when: {evnt_name: push}}]'),
    ],
    ['a guardrail has an empty when', 'value_invalid', guardrails('[{id: no-x, when: {}}]')],
    ['a guardrail has an empty list', 'value_invalid', guardrails('[{id: no-x, when: {ref: []}}]')],
    [
      'a guardrail has a pattern that is none',
      'pattern_refused',
      guardrails('[{id: no-x, grant: "a**"}]'),
    ],
    ['a guardrail has an empty target', 'value_invalid', guardrails('[{id: no-x, target: {}}]')],
    [
      'a guardrail speaks of a target this version lacks',
      'key_unknown',
      guardrails('[{id: no-x, target: {github: {id: a}}}]'),
    ],
    [
      'a guardrail speaks of a key no target has',
      'key_unknown',
      guardrails('[{id: no-x, target: {aws: {constructor: a}}}]'),
    ],
    [
      'a guardrail has a wildcard in an audience',
      'value_invalid',
      guardrails('[{id: no-x, target: {token: {audience: "https://*"}}}]'),
    ],
  ])('%s', (_, code, laws) => {
    const set = load({ ...laws, 'a.yaml': fileWith({}) })
    expect(set.closed?.code).toBe('laws_malformed')
    expect(set.problems.map((problem) => problem.code)).toContain(code)
    const decision = decide(set, principalWith(), { grant: 'payments-deploy', ttl: null }, 0)
    expect(decision).toMatchObject({
      verdict: 'deny',
      reason: 'laws_closed',
      grant: null,
      blocks: [],
    })
  })
})

describe('a guardrail', () => {
  const FILE = fileWith({
    aws: `{role: '${ROLE}', region: eu-west-1, pin_source_ip: [203.0.113.0/24], tags: {team: a}}`,
    allow: `{${OWNER_LINES}, event_name: [push, pull_request_target]}`,
    more: 'token: {audience: https://risk.acme.internal, scope: [a, b]}',
  })

  const forbidden = (
    law: string,
    claims: Record<string, string | null> = {},
  ): readonly string[] => {
    const set = load({ ...guardrails(`[{id: no-x, ${law}}]`), 'a.yaml': FILE })
    expect(set.problems.map(formatProblem)).toEqual([])
    return decide(set, principalWith(claims), { grant: 'payments-deploy', ttl: null }, 0).guardrails
  }

  it.each<[string, string]>([
    ['by the grant’s name', 'grant: "*-deploy"'],
    ['by a claim', 'when: {event_name: push}'],
    ['by what a claim is not', 'when: {repository_owner_id: {not: [1]}}'],
    ['by a claim that is absent', 'when: {environment: {absent: true}}'],
    ['by a claim that is absent and so not another', 'when: {environment: {not: [production]}}'],
    ['by an empty claim', 'when: {head_ref: {absent: true}}'],
    ['by the role', 'target: {aws: {role: "arn:aws:iam::111122223333:role/**"}}'],
    ['by the account', 'target: {aws: {account: {not: ["999988887777"]}}}'],
    ['by the lack of a session policy', 'target: {aws: {session_policy: {absent: true}}}'],
    [
      'by the lack of a managed policy',
      'target: {aws: {managed_policies: {not: ["arn:aws:iam::aws:policy/b"]}}}',
    ],
    ['by one scope of several', 'target: {token: {scope: b}}'],
    ['by one scope that is not listed', 'target: {token: {scope: {not: [a]}}}'],
    ['by the audience', 'target: {token: {audience: https://risk.acme.internal}}'],
    ['by both targets', 'target: {aws: {region: eu-*}, token: {scope: a}}'],
    ['by a switch', 'target: {aws: {chaining: "false"}}'],
  ])('forbids %s', (_, law) => {
    expect(forbidden(law)).toEqual(['no-x'])
  })

  it.each<[string, string]>([
    ['another grant', 'grant: "*-deploy-x"'],
    ['another event', 'when: {event_name: pull_request_target}'],
    ['only one of its lines', 'when: {event_name: push, ref: refs/heads/dev}'],
    ['an absent claim’s value', 'when: {environment: production}'],
    ['another account', 'target: {aws: {account: "999988887777"}}'],
    ['a grant that is pinned', 'target: {aws: {pin_source_ip: {absent: true}}}'],
    ['scopes that are all listed', 'target: {token: {scope: {not: [a, b, c]}}}'],
    ['one target of two', 'target: {aws: {region: us-*}, token: {scope: a}}'],
  ])('does not speak of %s', (_, law) => {
    expect(forbidden(law)).toEqual([])
  })

  it('forbids one resource of Entra, which is named by a URL', () => {
    const azure =
      'azure: {tenant: 6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11, client: b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b, scopes: [https://graph.microsoft.com/.default]}'
    const more = `${azure}\n    accept_lifetime: 90m`
    const law = '[{id: no-x, target: {azure: {scopes: "https://graph.microsoft.com/.default"}}}]'
    const set = load({ ...guardrails(law), 'a.yaml': fileWith({ more }) })
    expect(set.problems.map(formatProblem)).toEqual([])
    expect(decide(set, principalWith(), { grant: 'payments-deploy', ttl: null }, 0)).toMatchObject({
      verdict: 'deny',
      guardrails: ['no-x'],
    })
  })

  it('forbids a value that its wildcard cannot judge', () => {
    const arn = 'arn:aws:iam::aws:policy/../AdministratorAccess'
    const law = '[{id: no-x, target: {aws: {managed_policies: "arn:aws:iam::aws:policy/**"}}}]'
    const set = load({
      ...guardrails(law),
      'a.yaml': fileWith({
        aws: `{role: '${ROLE}', region: eu-west-1, managed_policies: ['${arn}']}`,
      }),
    })
    expect(decide(set, principalWith(), { grant: 'payments-deploy', ttl: null }, 0)).toMatchObject({
      verdict: 'deny',
      guardrails: ['no-x'],
    })
  })

  it('does not speak of a target that the grant lacks', () => {
    const set = load({
      ...guardrails('[{id: no-x, target: {token: {scope: {not: [a]}}}}]'),
      'a.yaml': fileWith({}),
    })
    expect(decide(set, principalWith(), { grant: 'payments-deploy', ttl: null }, 0).verdict).toBe(
      'allow',
    )
  })

  it('holds for tokens whose dialect has no such claim', () => {
    const set = load({
      ...guardrails('[{id: no-x, when: {enterprise_id: 5, event_name: pull_request}}]'),
      'a.yaml': FILE,
    })
    const ask = { grant: 'payments-deploy', ttl: null }
    const principal = principalWith()
    const poorer = {
      ...principal.dialect,
      claims: principal.dialect.claims.filter((claim) => claim !== 'enterprise_id'),
    }
    expect(decide(set, principal, ask, 0).verdict).toBe('allow')
    expect(decide(set, { ...principal, dialect: poorer }, ask, 0)).toMatchObject({
      verdict: 'deny',
      reason: 'guardrail',
      guardrails: ['no-x'],
    })
  })
})
