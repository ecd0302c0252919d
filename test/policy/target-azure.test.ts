import { describe, expect, it } from 'vitest'
import { collectFindings, formatProblem } from '../../server/policy/problem.ts'
import { readAzure } from '../../server/policy/target-azure.ts'
import { readYaml } from '../../server/policy/yaml.ts'

const TENANT = '6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11'
const CLIENT = 'b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b'
const SUBSCRIPTION = '0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a'
const ARM = 'https://management.azure.com/.default'
const MINUTE = 60

/** The section as YAML, read beside this `accept_lifetime`. */
const read = (section: string, acceptLifetime: number | null = 90 * MINUTE) => {
  const { say, problems } = collectFindings()
  const node = readYaml('a.yaml', section, say)
  const grant = node === null ? null : readAzure(node, { acceptLifetime, say })
  return { grant, problems }
}

/** A good section with lines replaced; null takes one away. */
const azure = (changes: Readonly<Record<string, string | null>> = {}): string => {
  const all: Readonly<Record<string, string | null>> = {
    tenant: TENANT,
    client: CLIENT,
    subscription: SUBSCRIPTION,
    scopes: `[${ARM}]`,
    ...changes,
  }
  return Object.entries(all)
    .flatMap(([key, value]) => (value === null ? [] : [`${key}: ${value}\n`]))
    .join('')
}
const scope = (text: string): string => azure({ scopes: `['${text}']` })

describe('an azure section is refused for', () => {
  it.each<[string, string, string]>([
    ['an unknown key', 'key_unknown', azure({ secret: 'x' })],
    ['no tenant', 'key_missing', azure({ tenant: null })],
    ['no client', 'key_missing', azure({ client: null })],
    ['no scopes', 'key_missing', azure({ scopes: null })],
    ['the tenant common', 'value_invalid', azure({ tenant: 'common' })],
    ['the tenant organizations', 'value_invalid', azure({ tenant: 'organizations' })],
    ['the tenant consumers', 'value_invalid', azure({ tenant: 'consumers' })],
    ['a tenant by its domain', 'value_invalid', azure({ tenant: 'acme.onmicrosoft.com' })],
    ['a tenant that is another host', 'value_invalid', azure({ tenant: "'@evil.example'" })],
    ['a tenant with a path', 'value_invalid', azure({ tenant: `${TENANT}/../common` })],
    ['a tenant with a query', 'value_invalid', azure({ tenant: `${TENANT}?x=` })],
    ['a tenant in capitals', 'value_invalid', azure({ tenant: TENANT.toUpperCase() })],
    ['a tenant in braces', 'value_invalid', azure({ tenant: `'{${TENANT}}'` })],
    ['a tenant without hyphens', 'value_invalid', azure({ tenant: TENANT.replaceAll('-', '') })],
    ['a tenant that is a number', 'value_invalid', azure({ tenant: '7' })],
    ['a tenant with a line break behind it', 'value_invalid', azure({ tenant: `"${TENANT}\\n"` })],
    ['a tenant with a template', 'value_invalid', azure({ tenant: "'${claims.repository_id}'" })],
    ['a client by its name', 'value_invalid', azure({ client: 'payments-deploy' })],
    ['a client that is a URI', 'value_invalid', azure({ client: "'api://payments'" })],
    ['a subscription by its name', 'value_invalid', azure({ subscription: 'Production' })],
    ['an empty subscription', 'value_invalid', azure({ subscription: "''" })],
    ['an empty list of scopes', 'value_invalid', azure({ scopes: '[]' })],
    ['scopes that are one text', 'value_invalid', azure({ scopes: ARM })],
    ['a scope twice', 'value_invalid', azure({ scopes: `[${ARM}, ${ARM}]` })],
    [
      'six scopes',
      'value_invalid',
      azure({
        scopes: `[${Array.from({ length: 6 }, (_, i) => `https://r${i}.acme.com/.default`).join(', ')}]`,
      }),
    ],
    ['two resources in one scope', 'value_invalid', scope(`${ARM} ${ARM}`)],
    ['a scope of a permission', 'value_invalid', scope('https://graph.microsoft.com/User.Read')],
    ['a resource without .default', 'value_invalid', scope('https://management.azure.com')],
    ['openid', 'value_invalid', scope('openid')],
    ['.default alone', 'value_invalid', scope('.default')],
    ['a default of nothing', 'value_invalid', scope('https:///.default')],
    ['http', 'value_invalid', scope('http://management.azure.com/.default')],
    ['api://', 'value_invalid', scope('api://payments/.default')],
    ['the audience of the exchange', 'value_invalid', scope('api://AzureADTokenExchange/.default')],
    ['a port', 'value_invalid', scope('https://management.azure.com:443/.default')],
    ['a user', 'value_invalid', scope('https://a@management.azure.com/.default')],
    ['a query', 'value_invalid', scope('https://management.azure.com/?x=/.default')],
    ['a fragment', 'value_invalid', scope('https://management.azure.com/#/.default')],
    ['an escape', 'value_invalid', scope('https://management.azure.com/%2e/.default')],
    ['a parent segment', 'value_invalid', scope('https://acme.com/../.default')],
    ['an empty segment', 'value_invalid', scope('https://acme.com//.default')],
    ['a host in capitals', 'value_invalid', scope('https://Management.azure.com/.default')],
    ['a host without a dot', 'value_invalid', scope('https://localhost/.default')],
    ['an address', 'value_invalid', scope('https://169.254.169.254/.default')],
    ['a label that ends in a hyphen', 'value_invalid', scope('https://acme-.com/.default')],
    ['a template', 'value_invalid', scope('https://${claims.ref}.acme.com/.default')],
    ['something behind .default', 'value_invalid', scope(`${ARM}/x`)],
    ['two defaults', 'value_invalid', scope(`${ARM}/.default`)],
    ['a GUID in capitals', 'value_invalid', scope(`${CLIENT.toUpperCase()}/.default`)],
    ['a GUID alone', 'value_invalid', scope(CLIENT)],
    ['a list', 'value_invalid', '[a]'],
  ])('%s', (_, code, text) => {
    expect(read(text).problems.map((problem) => problem.code)).toContain(code)
  })
})

describe('an azure section takes', () => {
  it.each<[string, string]>([
    ['everything', azure()],
    ['no subscription', azure({ subscription: null })],
    ['a resource with a path', scope('https://acme.onmicrosoft.com/payments-api/.default')],
    ['a resource with a hyphen', scope('https://ossrdbms-aad.database.windows.net/.default')],
    ['a resource of another cloud', scope('https://management.chinacloudapi.cn/.default')],
    ['a resource by its id', scope(`${CLIENT}/.default`)],
    [
      'five resources',
      azure({
        scopes: `[${Array.from({ length: 5 }, (_, i) => `https://r${i}.acme.com/.default`).join(', ')}]`,
      }),
    ],
  ])('%s', (_, text) => {
    expect(read(text).problems.map(formatProblem)).toEqual([])
  })

  it('and gives it as written', () => {
    const scopes = [ARM, 'https://vault.azure.net/.default']
    expect(read(azure({ scopes: `[${scopes.join(', ')}]` })).grant).toEqual({
      tenant: TENANT,
      client: CLIENT,
      subscription: SUBSCRIPTION,
      scopes,
    })
    expect(read(azure({ subscription: null })).grant).toMatchObject({ subscription: null })
  })
})

describe('Entra decides how long a token lives, so the grant', () => {
  it('must say that it accepts that', () => {
    const { problems } = read(azure(), null)
    expect(problems.map(({ code }) => code)).toEqual(['key_missing'])
    expect(formatProblem(problems[0]!)).toContain('accept_lifetime: 90m')
  })

  it.each([
    ['an hour', 60 * MINUTE],
    ['a second less than 90 minutes', 90 * MINUTE - 1],
  ])('cannot accept %s', (_, seconds) => {
    expect(read(azure(), seconds).problems.map(({ code }) => code)).toEqual(['value_invalid'])
  })

  it.each([
    ['90 minutes', 90 * MINUTE],
    ['a day, as a managed identity needs', 24 * 60 * MINUTE],
  ])('can accept %s', (_, seconds) => {
    expect(read(azure(), seconds).problems).toEqual([])
  })
})
