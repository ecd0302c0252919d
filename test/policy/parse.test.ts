import { describe, expect, it } from 'vitest'
import { formatProblem } from '../../server/policy/problem.ts'
import { DIALECTS } from '../../server/identity/dialects.ts'
import { fileWith, load, ROLE } from './make.ts'

const single = (text: string) => load({ 'payments/deploy.yaml': text })

describe('a file is loaded', () => {
  it('with every key of this version', () => {
    const set = single(`
version: 1
owner: team-payments
issuer: github
grants:
  payments-deploy:
    description: Deploy the payments service
    allow:
      - repository_owner_id: 8841
        repository_id: "99120"
        repository: acme/payments
        ref: [refs/heads/main, refs/heads/release/*]
        event_name: [push, workflow_dispatch]
        environment: {absent: true}
        repo_property_tier: gold
      - {repository_owner_id: 8841, repository: acme/pay-*, actor_id: {not: [4242]}}
    deny: {actor_id: 4242}
    bearer: true
    ttl: 10m
    session: 6h
    accept_lifetime: 90m
    aws:
      role: ${ROLE}
      region: eu-west-1
      session_policy:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Action: ["s3:PutObject"]
            Resource: "arn:aws:s3:::artifacts/\${claims.repository_id}/*"
      managed_policies: []
      tags: {team: payments}
      pin_source_ip: [203.0.113.0/24, "2001:db8::/32"]
      chaining: true
    token: {audience: https://risk.acme.internal, scope: [risk:score:write], ttl: 5m}
`)
    expect(set.problems.map(formatProblem)).toEqual([])
    expect(set.closed).toBeNull()
    expect(set.owners).toEqual(new Set(['github/8841']))
    const grant = set.grants.get('payments-deploy')
    expect(grant).toMatchObject({
      owner: 'team-payments',
      issuer: 'github',
      bearer: true,
      ttl: 600,
      session: 21600,
      acceptLifetime: 5400,
      at: { file: 'payments/deploy.yaml', line: 6, column: 3 },
    })
    expect(grant?.allow[0].lines.map(({ claim }) => claim)).toEqual([
      'repository_owner_id',
      'repository_id',
      'repository',
      'ref',
      'event_name',
      'environment',
      'repo_property_tier',
    ])
    expect(grant?.allow[1]?.lines.at(-1)).toMatchObject({ claim: 'event_name', implied: true })
    expect(grant?.targets.aws).toMatchObject({
      accountId: '111122223333',
      pinSourceIp: ['203.0.113.0/24', '2001:db8::/32'],
      chaining: true,
      tags: { team: 'payments' },
    })
    expect(grant?.targets.token).toEqual({
      audience: 'https://risk.acme.internal',
      scope: ['risk:score:write'],
      ttl: 300,
    })
  })

  it('with the defaults', () => {
    const grant = single(fileWith({})).grants.get('payments-deploy')
    expect(grant).toMatchObject({
      description: '',
      owner: null,
      issuer: 'github',
      bearer: false,
      ttl: 900,
      session: 900,
      acceptLifetime: null,
      deny: [],
    })
    expect(grant?.targets.aws).toMatchObject({
      sessionPolicy: null,
      managedPolicies: [],
      tags: {},
      pinSourceIp: false,
      chaining: false,
    })
  })

  it('with Windows line ends and a long id to the digit', () => {
    const text = fileWith({ allow: '{repository_owner_id: 9007199254740993}' })
    const set = single(text.replaceAll('\n', '\r\n'))
    expect(set.owners).toEqual(new Set(['github/9007199254740993']))
  })
})

const OWNER = 'repository_owner_id: 8841'
const allow = (lines: string): string => fileWith({ allow: `{${OWNER}, ${lines}}` })
const block = (lines: string): string => fileWith({ allow: `{${lines}}` })
const grantKey = (more: string): string => fileWith({ more })
const deny = (lines: string): string => fileWith({ more: `deny: ${lines}` })

describe('a file is refused for', () => {
  it.each<[string, string, string]>([
    // YAML
    ['an anchor', 'yaml_malformed', fileWith({ top: 'owner: &a team' })],
    ['an alias', 'yaml_malformed', 'version: 1\ngrants: *a\n'],
    ['a tag', 'yaml_malformed', 'version: !!int 1\ngrants: {}\n'],
    ['a local tag', 'yaml_malformed', 'version: !x 1\ngrants: {}\n'],
    ['a directive', 'yaml_malformed', `%YAML 1.1\n---\n${fileWith({})}`],
    ['a merge key', 'yaml_malformed', fileWith({ more: '<<: {ttl: 1h}' })],
    ['a complex key', 'yaml_malformed', '? [a]\n: 1\n'],
    ['a flow map as key', 'yaml_malformed', '{a: 1}: 2\n'],
    ['two documents', 'yaml_malformed', `${fileWith({})}---\n${fileWith({})}`],
    ['a tab', 'yaml_malformed', 'version: 1\ngrants:\n\tx: 1\n'],
    ['a tab behind a value', 'yaml_malformed', 'version: 1\t\n'],
    ['a text-direction override', 'yaml_malformed', fileWith({ top: 'owner: team\u202e' })],
    ['an invisible character in a comment', 'yaml_malformed', `# \u200b\n${fileWith({})}`],
    ['an escaped control character', 'yaml_malformed', allow('ref: "refs/heads/a\\u0000"')],
    ['a lone carriage return', 'yaml_malformed', 'version: 1\rgrants: {}\n'],
    ['an unclosed bracket', 'yaml_malformed', 'version: 1\ngrants: [\n'],
    ['a key twice', 'yaml_malformed', 'version: 1\nversion: 1\n'],
    ['a grant twice in one file', 'yaml_malformed', 'version: 1\ngrants:\n  a1: {}\n  a1: {}\n'],
    ['a flow 20 deep', 'yaml_limits', `version: ${'['.repeat(20)}${']'.repeat(20)}\n`],
    ['a flow 300,000 deep', 'yaml_limits', `version: ${'['.repeat(300_000)}\n`],
    ['lists 300,000 deep', 'yaml_limits', `${'- '.repeat(300_000)}\n`],
    ['lists 20 deep', 'yaml_limits', `${'- '.repeat(20)}x\n`],
    [
      'maps 20 deep',
      'yaml_limits',
      Array.from({ length: 20 }, (_, i) => `${' '.repeat(i)}a:\n`).join(''),
    ],
    ['a very deep indent', 'yaml_limits', `version:\n${' '.repeat(200)}x: 1\n`],
    ['200,000 values', 'yaml_limits', `version: [${'1,'.repeat(200_000)}]\n`],
    ['more than 1 MiB', 'file_too_large', `# ${'x'.repeat(1024 * 1024)}\n${fileWith({})}`],
    // keys
    ['nothing in it', 'value_invalid', ''],
    ['a list at the top', 'value_invalid', '- a\n'],
    ['an unknown key at the top', 'key_unknown', `apiVersion: v1\n${fileWith({})}`],
    ['an unknown key in a grant', 'key_unknown', grantKey('alow: {}')],
    ['no version', 'key_missing', fileWith({}).replace('version: 1\n', '')],
    ['version 2', 'value_invalid', fileWith({}).replace('version: 1', 'version: 2')],
    ['a quoted version', 'value_invalid', fileWith({}).replace('version: 1', 'version: "1"')],
    ['no allow', 'key_missing', fileWith({}).replace(/ {4}allow.*\n/, '    ttl: 5m\n')],
    ['no grants', 'key_missing', 'version: 1\n'],
    ['empty grants', 'value_invalid', 'version: 1\ngrants: {}\n'],
    ['an issuer nobody configured', 'issuer_unknown', fileWith({ top: 'issuer: gitlab' })],
    ['an issuer called __proto__', 'issuer_unknown', fileWith({ top: 'issuer: __proto__' })],
    ['a grant name with a capital', 'grant_name_refused', fileWith({ name: 'Deploy' })],
    ['a grant name of one letter', 'grant_name_refused', fileWith({ name: 'd' })],
    ['a grant called __proto__', 'grant_name_refused', fileWith({ name: '__proto__' })],
    ['a grant name with a slash', 'grant_name_refused', fileWith({ name: 'a/b' })],
    // blocks
    ['an empty list of blocks', 'value_invalid', fileWith({ allow: '[]' })],
    ['an empty block', 'value_invalid', fileWith({ allow: '{}' })],
    ['an empty block in a list', 'value_invalid', fileWith({ allow: `[{${OWNER}}, {}]` })],
    ['a block without owner id', 'id_pin_missing', block('repository_id: 1')],
    ['an owner only by name', 'id_pin_missing', block('repository_owner: acme')],
    ['an owner pinned by not', 'id_pin_missing', block('repository_owner_id: {not: [1]}')],
    [
      'a second block without pin',
      'id_pin_missing',
      fileWith({ allow: `[{${OWNER}}, {actor_id: 1}]` }),
    ],
    ['a repository without its id', 'id_pin_missing', allow('repository: acme/payments')],
    [
      'a literal among wildcards without its id',
      'id_pin_missing',
      allow('repository: ["acme/a-*", acme/b]'),
    ],
    [
      'a repository whose id is pinned by not',
      'id_pin_missing',
      allow('repository: acme/a, repository_id: {not: [1]}'),
    ],
    // values
    ['a claim that does not exist', 'claim_unknown', allow('reff: refs/heads/main')],
    ['a claim called __proto__', 'claim_unknown', allow('__proto__: x')],
    ['a claim of another dialect', 'claim_unknown', allow('project_path: a')],
    ['a property without a name', 'claim_unknown', allow('repo_property_: a')],
    ['an unknown claim in deny', 'claim_unknown', deny('{actr_id: 1}')],
    ['an empty list', 'value_invalid', allow('ref: []')],
    ['an empty list in not', 'value_invalid', allow('ref: {not: []}')],
    ['no value', 'value_invalid', allow('ref: ')],
    ['null', 'value_invalid', allow('ref: ~')],
    ['a boolean', 'value_invalid', allow('ref_protected: true')],
    ['a number for a text', 'value_invalid', allow('run_number: 7')],
    ['a number for a sha', 'value_invalid', allow('sha: 1234567')],
    ['a list in a list', 'value_invalid', allow('ref: [[a]]')],
    ['absent: false', 'value_invalid', allow('ref: {absent: false}')],
    ['absent: "true"', 'value_invalid', allow('ref: {absent: "true"}')],
    ['two operators', 'value_invalid', allow('ref: {absent: true, not: [a]}')],
    ['an operator that does not exist', 'value_invalid', allow('ref: {matches: a}')],
    ['not of not', 'value_invalid', allow('ref: {not: {not: [a]}}')],
    ['an id with a leading zero', 'value_invalid', allow('actor_id: 0123')],
    ['an id in exponents', 'value_invalid', allow('actor_id: 1e3')],
    ['a hexadecimal id', 'value_invalid', allow('actor_id: 0x1F')],
    ['an id with a fraction', 'value_invalid', allow('actor_id: 8841.0')],
    ['a negative id', 'value_invalid', allow('actor_id: -8841')],
    ['an id with a sign', 'value_invalid', allow('actor_id: +8841')],
    ['the id zero', 'value_invalid', allow('actor_id: 0')],
    ['a quoted id with a space', 'value_invalid', allow('actor_id: "8841 "')],
    ['an id with a wildcard', 'value_invalid', allow('actor_id: "88*"')],
    ['a wildcard in event_name', 'pattern_refused', allow('event_name: "pull_*"')],
    ['a wildcard in runner_environment', 'pattern_refused', allow('runner_environment: "*"')],
    ['a wildcard in a sha', 'pattern_refused', allow('workflow_sha: "a*"')],
    ['a wildcard in a node id', 'pattern_refused', allow('environment_node_id: "EN_*"')],
    ['** beside text', 'pattern_refused', allow('ref: refs/heads/rel**')],
    ['a trailing slash', 'pattern_refused', allow('ref: refs/heads/')],
    ['four wildcards', 'pattern_refused', allow('ref: "?/?/?/?"')],
    ['a backslash', 'pattern_refused', allow("environment: 'a\\*'")],
    ['an empty text', 'pattern_refused', allow('head_ref: ""')],
    // times, switches, requirements
    ['a ttl in bare seconds', 'value_invalid', grantKey('ttl: 900')],
    ['a ttl of zero', 'value_invalid', grantKey('ttl: 0m')],
    ['a ttl over an hour', 'value_invalid', grantKey('ttl: 61m')],
    ['a ttl in days', 'value_invalid', grantKey('ttl: 1d')],
    ['a session shorter than the ttl', 'value_invalid', grantKey('session: 10m')],
    ['a session over a day', 'value_invalid', grantKey('session: 25h')],
    ['bearer: yes', 'value_invalid', grantKey('bearer: yes')],
    ['bearer: "true"', 'value_invalid', grantKey('bearer: "true"')],
    ['a requirement', 'requirement_unknown', grantKey('require: [live_job]')],
    ['an empty list of requirements', 'value_invalid', grantKey('require: []')],
    // targets
    ['no target', 'target_missing', fileWith({ aws: null })],
    ['azure without accept_lifetime', 'key_missing', grantKey('azure: {tenant: x}')],
    ['github', 'target_unknown', fileWith({ aws: null, more: 'github: {}' })],
  ])('%s', (_, code, text) => {
    const set = single(text)
    expect(set.problems.map((problem) => problem.code)).toContain(code)
    expect(set.grants.size).toBe(0)
    expect(set.closed).toBeNull()
  })

  it('every mistake at once, each at its place, with a hint', () => {
    const set = single(
      'version: 1\ngrants:\n  x-y:\n    allow: {repository_ownerid: 1, ref: []}\n    tll: 5m\n',
    )
    expect(set.problems.map(formatProblem)).toEqual([
      "payments/deploy.yaml:5:5: the grant 'x-y' has no key 'tll' (did you mean 'ttl'?)",
      "payments/deploy.yaml:4:13: no token of this issuer carries a claim 'repository_ownerid' (did you mean 'repository_owner_id'?)",
      "payments/deploy.yaml:4:41: 'ref' must be a list with at least one entry (an empty list never means all: leave the key out, or list what is meant)",
      'payments/deploy.yaml:4:5: the grant has no target (add a section: aws, azure, gcp, token)',
    ])
  })

  it('names no issuer where several are configured and none is the usual one', () => {
    const dialect = DIALECTS.github
    const issuers = new Map([
      ['one', { dialect, default: false }],
      ['two', { dialect, default: false }],
    ])
    const set = load({ 'a.yaml': fileWith({}) }, { issuers, tokenAudiences: [] })
    expect(set.problems.map(({ code }) => code)).toEqual(['issuer_unknown'])
  })
})

describe('the set', () => {
  const good = fileWith({ name: 'good-one' })

  it('denies the grants of a bad file and loads the rest', () => {
    const set = load({ 'bad.yaml': grantKey('tll: 5m'), 'good.yaml': good })
    expect([...set.grants.keys()]).toEqual(['good-one'])
    expect(set.problems.map(({ at }) => at.file)).toEqual(['bad.yaml'])
  })

  it('denies a name that two files claim, in both, even when one of them is bad', () => {
    const other = fileWith({ name: 'good-one', more: 'tll: 5m' })
    const set = load({ 'a.yaml': good, 'b.yaml': other, 'c.yaml': fileWith({ name: 'third' }) })
    expect([...set.grants.keys()]).toEqual(['third'])
    expect(set.problems.filter(({ code }) => code === 'grant_duplicate')).toHaveLength(2)
  })

  it.each<[string, string[], string[], boolean]>([
    ['no files', [], ['policy_empty'], false],
    ['suites only', ['a.test.yaml'], ['policy_empty'], false],
    ['a .yml', ['a.yml', 'b.yaml'], ['file_name_refused'], false],
    ['action.yml', ['action.yml', 'b.yaml'], [], false],
    ['a file that is no policy', ['README.md', 'b.yaml'], [], false],
    ['a folder that looks switched off', ['_off/a.yaml', 'b.yaml'], ['file_name_refused'], false],
    ['a misspelt law', ['_owner.yaml', 'b.yaml'], ['file_name_refused'], true],
    ['a law of the wrong ending', ['_guardrails.yml', 'b.yaml'], ['file_name_refused'], true],
    ['a law in a folder', ['x/_guardrails.yaml', 'b.yaml'], ['file_name_refused'], true],
  ])('of %s', (_, paths, codes, isClosed) => {
    const set = load(Object.fromEntries(paths.map((path) => [path, fileWith({})])))
    expect(set.problems.map(({ code }) => code)).toEqual(codes)
    expect(set.closed !== null).toBe(isClosed)
  })
})
