import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { collectFindings, formatProblem } from '../../server/policy/problem.ts'
import { accessBoundaryOptions, readGcp } from '../../server/policy/target-gcp.ts'
import { readYaml } from '../../server/policy/yaml.ts'
import { forbids } from '../../server/policy/forbid.ts'
import { load, principalWith } from './make.ts'

const PROVIDER =
  'projects/123456/locations/global/workloadIdentityPools/tvm-pool/providers/tvm-broker'
const ACCOUNT = 'deploy@acme-prod.iam.gserviceaccount.com'
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const BUCKET = '//storage.googleapis.com/projects/_/buckets/artifacts'
const CREATE = 'inRole:roles/storage.objectCreator'

const read = (text: string) => {
  const { say, problems } = collectFindings()
  const node = readYaml('payments/deploy.yaml', text, say)
  const grant = node === null ? null : readGcp(node, say)
  return { grant, problems }
}

type Lines = Readonly<Record<string, string | null>>

const RULE = `{resource: "${BUCKET}", permissions: ["${CREATE}"]}`
const GOOD: Lines = {
  provider: PROVIDER,
  service_account: ACCOUNT,
  project: 'acme-prod',
  scopes: `[${SCOPE}]`,
  access_boundary: `[${RULE}]`,
}

/** A section that is right in everything but these lines; null leaves one out. */
const section = (changes: Lines): string =>
  Object.entries({ ...GOOD, ...changes })
    .flatMap(([key, value]) => (value === null ? [] : [`${key}: ${value}`]))
    .join('\n')

const provider = (pool: string, id = 'tvm-broker', number = '123456'): Lines => ({
  provider: `projects/${number}/locations/global/workloadIdentityPools/${pool}/providers/${id}`,
})
const rule = (changes: Lines): Lines => {
  const keys: Lines = { resource: `"${BUCKET}"`, permissions: `["${CREATE}"]`, ...changes }
  const flow = Object.entries(keys).flatMap(([k, v]) => (v === null ? [] : [`${k}: ${v}`]))
  return { access_boundary: `[{${flow.join(', ')}}]` }
}

describe('a gcp section is refused for', () => {
  it.each<[string, string, Lines]>([
    ['an unknown key', 'key_unknown', { lifetime: '900s' }],
    ['no provider', 'key_missing', { provider: null }],
    ['no project', 'key_missing', { project: null }],
    ['no scopes', 'key_missing', { scopes: null }],
    ['a provider by project id', 'value_invalid', provider('tvm-pool', 'tvm-broker', 'acme-prod')],
    [
      'a project number with a zero in front',
      'value_invalid',
      provider('tvm-pool', 'x1234', '0123'),
    ],
    [
      'a pool without provider',
      'value_invalid',
      { provider: PROVIDER.replace(/\/providers.*/, '') },
    ],
    [
      'a provider as an audience',
      'value_invalid',
      { provider: `//iam.googleapis.com/${PROVIDER}` },
    ],
    ['a pool of three characters', 'value_invalid', provider('tvm')],
    ['a pool of 33 characters', 'value_invalid', provider('x'.repeat(33))],
    ['a pool in Google’s name', 'value_invalid', provider('gcp-pool')],
    ['a pool in capitals', 'value_invalid', provider('Tvm-pool')],
    ['a provider of three characters', 'value_invalid', provider('tvm-pool', 'tvm')],
    ['a provider with a wildcard', 'value_invalid', { provider: `"${PROVIDER}*"` }],
    [
      'a workforce pool',
      'value_invalid',
      {
        provider: 'locations/global/workforcePools/tvm-pool/providers/tvm-broker',
      },
    ],
    [
      'a place that is not global',
      'value_invalid',
      {
        provider: PROVIDER.replace('global', 'europe-west1'),
      },
    ],
    ['a provider that is a number', 'value_invalid', { provider: '7' }],
    ['a project number', 'value_invalid', { project: '"123456"' }],
    ['a project of five characters', 'value_invalid', { project: 'acmep' }],
    ['a project that ends in a hyphen', 'value_invalid', { project: 'acme-prod-' }],
    ['a project with a line break', 'value_invalid', { project: '"acme-prod\\nx"' }],
    ['an account of another domain', 'value_invalid', { service_account: 'deploy@acme.com' }],
    [
      'an account that leads to a domain of others',
      'value_invalid',
      {
        service_account: 'deploy@acme.gserviceaccount.com.evil.example',
      },
    ],
    [
      'an account with a path',
      'value_invalid',
      {
        service_account: `"${ACCOUNT}:generateIdToken?x=@a.iam.gserviceaccount.com"`,
      },
    ],
    [
      'an account without name',
      'value_invalid',
      {
        service_account: '"@acme-prod.iam.gserviceaccount.com"',
      },
    ],
    ['an account by number', 'value_invalid', { service_account: '"108173549127635"' }],
    [
      'an account of everybody',
      'value_invalid',
      {
        service_account: '"*@acme-prod.iam.gserviceaccount.com"',
      },
    ],
    [
      'an account that is too long',
      'value_invalid',
      {
        service_account: `deploy@${'a.'.repeat(120)}gserviceaccount.com`,
      },
    ],
    ['an empty account', 'value_invalid', { service_account: '' }],
    ['no scope in the list', 'value_invalid', { scopes: '[]' }],
    ['scopes in one text', 'value_invalid', { scopes: SCOPE }],
    ['a scope by its short name', 'value_invalid', { scopes: '[cloud-platform]' }],
    ['a scope of another host', 'value_invalid', { scopes: '["https://evil.example/auth/x"]' }],
    ['two scopes in one', 'value_invalid', { scopes: `["${SCOPE} ${SCOPE}"]` }],
    ['a scope on http', 'value_invalid', { scopes: '["http://www.googleapis.com/auth/compute"]' }],
    ['a scope twice', 'value_invalid', { scopes: `[${SCOPE}, ${SCOPE}]` }],
    [
      '33 scopes',
      'value_invalid',
      {
        scopes: `[${Array.from({ length: 33 }, (_, i) => `${SCOPE}${i}`).join(', ')}]`,
      },
    ],
    ['a boundary without account', 'value_invalid', { service_account: null }],
    ['an empty boundary', 'value_invalid', { access_boundary: '[]' }],
    [
      'a boundary of eleven rules',
      'value_invalid',
      {
        access_boundary: `[${Array.from({ length: 11 }, () => RULE).join(', ')}]`,
      },
    ],
    ['a boundary that is one rule', 'value_invalid', { access_boundary: RULE }],
    ['a rule without resource', 'key_missing', rule({ resource: null })],
    ['a rule without permissions', 'key_missing', rule({ permissions: null })],
    ['a rule in Google’s own words', 'key_unknown', rule({ availableResource: `"${BUCKET}"` })],
    [
      'a resource of another service',
      'value_invalid',
      rule({
        resource: '"//bigquery.googleapis.com/projects/acme-prod/datasets/x"',
      }),
    ],
    [
      'a bucket by project',
      'value_invalid',
      rule({ resource: `"${BUCKET.replace('_', 'acme')}"` }),
    ],
    ['every bucket', 'value_invalid', rule({ resource: `"${BUCKET}*"` })],
    ['an object', 'value_invalid', rule({ resource: `"${BUCKET}/objects/x"` })],
    ['a gs:// URL', 'value_invalid', rule({ resource: '"gs://artifacts"' })],
    ['no permission in the list', 'value_invalid', rule({ permissions: '[]' })],
    ['a role without inRole', 'value_invalid', rule({ permissions: '[roles/storage.admin]' })],
    ['a role of another service', 'value_invalid', rule({ permissions: '["inRole:roles/owner"]' })],
    ['a permission', 'value_invalid', rule({ permissions: '["inRole:storage.objects.get"]' })],
    ['a role twice', 'value_invalid', rule({ permissions: `["${CREATE}", "${CREATE}"]` })],
    ['an empty condition', 'value_invalid', rule({ condition: '" "' })],
    [
      'a condition with a template',
      'value_invalid',
      rule({
        condition: '\'resource.name.endsWith("${claims.ref}")\'',
      }),
    ],
    ['a condition in two lines', 'value_invalid', rule({ condition: '"a ||\\n b"' })],
    ['a condition as Google’s object', 'value_invalid', rule({ condition: '{expression: x}' })],
    [
      'a condition of 1,025 characters',
      'value_invalid',
      rule({ condition: `"${'x'.repeat(1025)}"` }),
    ],
    [
      'a boundary of over 2,048 characters',
      'value_invalid',
      {
        access_boundary: `[${Array.from({ length: 2 }, () => `{resource: "${BUCKET}", permissions: ["${CREATE}"], condition: "${'x'.repeat(900)}"}`).join(', ')}]`,
      },
    ],
  ])('%s', (_, code, changes) => {
    const { grant, problems } = read(section(changes))
    expect(problems.map((problem) => problem.code)).toContain(code)
    expect(grant).toBeNull()
  })

  it('what is not a map', () => {
    expect(read(PROVIDER)).toMatchObject({ grant: null, problems: [{ code: 'value_invalid' }] })
  })

  it('its fault, at its place, and with what would do', () => {
    const { problems } = read(section({ service_acount: ACCOUNT, service_account: null }))
    expect(problems.map(formatProblem)).toEqual([
      "payments/deploy.yaml:5:1: gcp has no key 'service_acount' (did you mean 'service_account'?)",
      expect.stringMatching(
        /^payments\/deploy\.yaml:4:18: access_boundary needs a service_account /,
      ) as string,
    ])
  })
})

describe('a gcp section is', () => {
  it('what it says', () => {
    const condition = "resource.name.startsWith('projects/_/buckets/artifacts/objects/x/')"
    expect(read(section(rule({ condition: `"${condition}"` })))).toEqual({
      problems: [],
      grant: {
        provider: PROVIDER,
        serviceAccount: ACCOUNT,
        project: 'acme-prod',
        scopes: [SCOPE],
        accessBoundary: [{ resource: BUCKET, permissions: [CREATE], condition }],
      },
    })
  })

  it('direct federation where it names no account', () => {
    const { grant, problems } = read(section({ service_account: null, access_boundary: null }))
    expect(problems).toEqual([])
    expect(grant).toMatchObject({ serviceAccount: null, accessBoundary: null })
  })

  it('what the documentation shows', () => {
    const page = readFileSync(join(import.meta.dirname, '../../docs/gcp.md'), 'utf8')
    const text = /```yaml\ngcp:\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
    const { grant, problems } = read(text.replaceAll(/^ {2}/gm, ''))
    expect(problems).toEqual([])
    expect(grant?.accessBoundary?.[0]?.condition).toMatch(/^resource\.name.* \|\| api\./)
  })

  it.each<[string, Lines]>([
    ['a pool of four characters and of 32', provider('tvm1', 'x'.repeat(32))],
    ['an old project', { project: '"example.com:acme-prod"' }],
    [
      'an account of an old project',
      {
        service_account: 'deploy@acme-prod.example.com.iam.gserviceaccount.com',
      },
    ],
    [
      'an account that Google made',
      {
        service_account: '123456-compute@developer.gserviceaccount.com',
      },
    ],
    ['a scope with a dot', { scopes: '["https://www.googleapis.com/auth/devstorage.read_write"]' }],
    ['ten rules', { access_boundary: `[${Array.from({ length: 10 }, () => RULE).join(', ')}]` }],
    ['a bucket with dots', rule({ resource: `"${BUCKET}.acme.example"` })],
  ])('taken with %s', (_, changes) => {
    expect(read(section(changes)).problems).toEqual([])
  })
})

it('an access boundary is told to Google in its own words', () => {
  const rules = [
    { resource: BUCKET, permissions: [CREATE], condition: null },
    { resource: BUCKET, permissions: [CREATE], condition: 'true' },
  ]
  expect(JSON.parse(accessBoundaryOptions(rules))).toEqual({
    accessBoundary: {
      accessBoundaryRules: [
        { availableResource: BUCKET, availablePermissions: [CREATE] },
        {
          availableResource: BUCKET,
          availablePermissions: [CREATE],
          availabilityCondition: { expression: 'true' },
        },
      ],
    },
  })
})

describe('in a set of policies', () => {
  const file = (owner: string, grant: string, changes: Lines) => {
    const lines = section(changes).replaceAll(/^/gm, '      ')
    return [
      'version: 1',
      `owner: team-${owner}`,
      'grants:',
      `  ${owner}-${grant}:`,
      '    allow: {repository_owner_id: 8841, repository_id: 99120, repository: acme/payments}',
      `    gcp:\n${lines}`,
      '',
    ].join('\n')
  }
  const DIRECT: Lines = { service_account: null, access_boundary: null }
  const owners = (a: string, b = 'service_accounts: ["b-*@acme-prod.iam.gserviceaccount.com"]') =>
    [
      'version: 1\nowners:',
      `  team-a: {folder: a, prefix: a-, owner_ids: [8841], gcp: {${a}}}`,
      `  team-b: {folder: b, prefix: b-, owner_ids: [8841], gcp: {${b}}}`,
      '',
    ].join('\n')
  const codes = (files: Readonly<Record<string, string>>) =>
    load(files).problems.map(({ code }) => code)

  it.each<[string, string, Lines, readonly string[]]>([
    ['its own account', `service_accounts: ["${ACCOUNT}"]`, {}, []],
    [
      'an account of its pattern',
      'service_accounts: ["dep*@acme-prod.iam.gserviceaccount.com"]',
      {},
      [],
    ],
    [
      'another account',
      'service_accounts: ["a-*@acme-prod.iam.gserviceaccount.com"]',
      {},
      ['owner_scope_exceeded'],
    ],
    ['itself at a provider that is listed', `providers: ["${PROVIDER}"]`, DIRECT, []],
    [
      'itself at a provider that is not',
      `service_accounts: ["${ACCOUNT}"]`,
      DIRECT,
      ['owner_scope_exceeded'],
    ],
    [
      'an account where only providers are listed',
      `providers: ["${PROVIDER}"]`,
      {},
      ['owner_scope_exceeded'],
    ],
  ])('an owner may name what is listed: %s', (_, listed, changes, expected) => {
    const files = { 'a/x.yaml': file('a', 'x', changes), '_owners.yaml': owners(listed) }
    expect(codes(files)).toEqual(expected)
  })

  it.each([
    ['a pattern over projects', 'service_accounts: ["x@*.iam.gserviceaccount.com"]'],
    ['a provider with a wildcard', `providers: ["${PROVIDER}*"]`],
  ])('an owner may not be given %s', (_, listed) => {
    const set = load({ 'a/x.yaml': file('a', 'x', {}), '_owners.yaml': owners(listed) })
    expect(set.closed).not.toBeNull()
  })

  it('two owners never name one account', () => {
    const files = {
      'a/x.yaml': file('a', 'x', {}),
      'b/x.yaml': file('b', 'x', {}),
      '_owners.yaml': owners(
        'service_accounts: ["deploy@acme-prod.iam.gserviceaccount.com"]',
        'service_accounts: ["dep*@acme-prod.iam.gserviceaccount.com"]',
      ),
    }
    expect(codes(files)).toEqual(['owners_overlap', 'owners_overlap'])
  })

  it.each<[string, string, Lines, boolean]>([
    ['a project', 'project: acme-prod', {}, true],
    ['other projects', 'project: {not: [acme-prod]}', {}, false],
    ['a scope', `scopes: ${SCOPE}`, {}, true],
    ['direct federation', 'service_account: {absent: true}', DIRECT, true],
    ['direct federation, not of an account', 'service_account: {absent: true}', {}, false],
    ['a token without boundary', 'access_boundary: {absent: true}', DIRECT, true],
    ['a token without boundary, not of one within', 'access_boundary: {absent: true}', {}, false],
  ])('a guardrail speaks of %s', (_, fact, changes, expected) => {
    const law = `version: 1\nnever: [{id: no-x, target: {gcp: {${fact}}}}]\n`
    const set = load({ 'a/x.yaml': file('a', 'x', changes), '_guardrails.yaml': law })
    expect(set.problems).toEqual([])
    expect(forbids(set.guardrails[0]!, set.grants.get('a-x')!, principalWith())).toBe(expected)
  })
})
