import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readConfig, type Config } from '../../server/config/config.ts'
import { DIALECTS } from '../../server/identity/dialects.ts'

const read = (issuers: unknown) =>
  readConfig({
    env: {},
    // JSON is YAML.
    file: { path: 'tvm.yaml', text: JSON.stringify({ issuers }) },
    cwd: '/srv/tvm',
  })

const problems = (issuers: unknown): string[] => {
  const found = read(issuers)
  if (!Array.isArray(found)) throw new Error('accepted')
  return (found as { key: string; message: string }[]).map(
    ({ key, message }) => `${key} ${message}`,
  )
}

const accepted = (issuers: unknown): Config['issuers'] => {
  const found = read(issuers)
  if (Array.isArray(found)) throw new Error(JSON.stringify(found))
  return (found as Config).issuers
}

const cloud = (enterprise?: unknown) => ({ dialect: 'github-enterprise-cloud', enterprise })
const residency = (subdomain?: unknown) => ({ dialect: 'github-data-residency', subdomain })
const server = (host?: unknown, more: object = {}) => ({
  dialect: 'github-enterprise-server',
  host,
  ...more,
})

describe('an issuer is refused that', () => {
  it.each<[string, unknown, RegExp]>([
    ['is of a kind that is not in the table', { dialect: 'gitlab' }, /^issuers\.ci\.dialect /],
    ['is of a kind that every object has', { dialect: 'toString' }, /^issuers\.ci\.dialect /],
    ['names no kind', { host: 'github.acme.internal' }, /^issuers\.ci\.dialect /],
    ['brings its own URL', { dialect: 'github', issuer: 'https://evil.example' }, /"issuer"/],
    [
      'names an enterprise on github.com',
      { dialect: 'github', enterprise: 'acme-inc' },
      /^issuers\.ci\.enterprise is no key of the dialect github$/,
    ],
    [
      'names a host on github.com',
      { dialect: 'github', host: 'github.acme.internal' },
      /^issuers\.ci\.host is no key of the dialect github$/,
    ],
    [
      'names a subdomain for a server',
      server('github.acme.internal', { subdomain: 'acme' }),
      /^issuers\.ci\.subdomain is no key of the dialect github-enterprise-server$/,
    ],
    [
      'names an enterprise with data residency',
      { ...residency('acme'), enterprise: 'acme' },
      /^issuers\.ci\.enterprise is no key of the dialect github-data-residency$/,
    ],
    ['is an enterprise without a slug', cloud(), /^issuers\.ci\.enterprise must be the slug/],
    ['is an enterprise with an empty slug', cloud(''), /^issuers\.ci\.enterprise must be the slug/],
    ['has a slug that is a number', cloud(7), /^issuers\.ci\.enterprise .*expected string/],
    ['has no subdomain', residency(), /^issuers\.ci\.subdomain must be what stands before/],
    ['has no host', server(), /^issuers\.ci\.host must be the host name of your own server/],
    [
      'may lack the job on github.com',
      { dialect: 'github', job_key: 'run' },
      /^issuers\.ci\.job_key is no key of the dialect github, whose tokens always name the job$/,
    ],
    [
      'may lack the job in an enterprise',
      { ...cloud('acme-inc'), job_key: 'run' },
      /^issuers\.ci\.job_key is no key of the dialect github-enterprise-cloud,/,
    ],
    [
      'may lack the job with data residency',
      { ...residency('acme'), job_key: 'run' },
      /^issuers\.ci\.job_key is no key of the dialect github-data-residency,/,
    ],
    [
      'takes another job key than the run',
      server('github.acme.internal', { job_key: 'jti' }),
      /^issuers\.ci\.job_key /,
    ],
    [
      'has two sources of keys',
      server('github.acme.internal', {
        jwks_uri: 'https://k.acme.internal/k',
        jwks_file: 'k.json',
      }),
      /^issuers\.ci must have jwks_uri or jwks_file, not both$/,
    ],
    ['has an empty file of keys', server('github.acme.internal', { jwks_file: '' }), /jwks_file/],
  ])('%s', (_, issuer, expected) => {
    expect(problems({ ci: issuer }).join('\n')).toMatch(expected)
  })
})

const slugs = ['a/b', '../x', 'a.b', 'Acme', 'acme_inc', '-acme', 'acme-', 'a b', 'a%2fb', 'a\n']
const more = ['.', '..', 'a?b', 'a#b', 'a@b', 'a:1', 'akmé', '{host}', 'a'.repeat(64)]

describe('what would lead elsewhere is no part of an issuer', () => {
  it.each([...slugs, ...more])('the enterprise %j', (slug) => {
    expect(problems({ ci: cloud(slug) })).toEqual([
      expect.stringMatching(/^issuers\.ci\.enterprise must be the slug/),
    ])
  })

  it.each([...slugs, ...more])('the subdomain %j', (subdomain) => {
    expect(problems({ ci: residency(subdomain) })).toEqual([
      expect.stringMatching(/^issuers\.ci\.subdomain must be what stands before/),
    ])
  })

  it.each([
    ...['https://github.acme.internal', 'github.acme.internal/', 'github.acme.internal/x'],
    ...['github.acme.internal:8443', 'user@github.acme.internal', 'github.acme.internal?x'],
    ...['GitHub.acme.internal', 'github.acme.internal.', '.acme.internal', 'github..internal'],
    ...['-github.acme.internal', 'github-.acme.internal', 'github_1.acme.internal', 'github'],
    ...[
      'localhost',
      '127.0.0.1',
      '10.0.0.1',
      '0x7f.1',
      '[::1]',
      'github.acme.internal\n',
      'ghé.io',
    ],
    ...['github.com', 'api.github.com', 'acme.ghe.com', 'token.actions.acme.ghe.com'],
    ...['token.actions.githubusercontent.com', `${'a.'.repeat(126)}com`, `${'a'.repeat(64)}.com`],
  ])('the host %j', (host) => {
    expect(problems({ ci: server(host) })).toEqual([
      expect.stringMatching(/^issuers\.ci\.host must be the host name of your own server/),
    ])
  })
})

describe('several issuers', () => {
  it('never share an issuer', () => {
    const issuers = { one: server('github.acme.internal'), two: server('github.acme.internal') }
    expect(problems(issuers)).toEqual(['issuers two aliases name one issuer'])
  })

  it('have one default at most', () => {
    const issuers = {
      github: { dialect: 'github', default: true },
      ghes: server('github.acme.internal', { default: true }),
    }
    expect(problems(issuers)).toEqual(['issuers only one issuer can be the default'])
  })

  it('are all complained of at once', () => {
    expect(problems({ ghec: cloud('a/b'), eu: residency(), ghes: server('x') })).toHaveLength(3)
  })
})

describe('an issuer is built', () => {
  const CLOUD_KEYS = 'https://token.actions.githubusercontent.com/.well-known/jwks'
  it.each<[string, object, string, string]>([
    [
      'github.com',
      { dialect: 'github' },
      'https://token.actions.githubusercontent.com',
      CLOUD_KEYS,
    ],
    [
      'an enterprise, whose keys are those of github.com',
      cloud('acme-inc'),
      'https://token.actions.githubusercontent.com/acme-inc',
      CLOUD_KEYS,
    ],
    [
      'an enterprise with data residency',
      residency('acme'),
      'https://token.actions.acme.ghe.com',
      'https://token.actions.acme.ghe.com/.well-known/jwks',
    ],
    [
      'the same with an issuer of its own, whose slug is the subdomain',
      { ...residency('acme'), dialect: 'github-data-residency-unique' },
      'https://token.actions.acme.ghe.com/acme',
      'https://token.actions.acme.ghe.com/.well-known/jwks',
    ],
    [
      'a server',
      server('github.acme.internal'),
      'https://github.acme.internal/_services/token',
      'https://github.acme.internal/_services/token/.well-known/jwks',
    ],
    [
      'a server behind another address',
      server('github.acme.internal', { jwks_uri: 'https://proxy.acme.internal:8443/jwks' }),
      'https://github.acme.internal/_services/token',
      'https://proxy.acme.internal:8443/jwks',
    ],
  ])('of %s', (_, given, issuer, jwksUri) => {
    expect(accepted({ ci: given })).toMatchObject([
      { alias: 'ci', issuer, jwksUri, jwksFile: null, isDefault: false },
    ])
  })

  it('with keys from a file beside tvm.yaml', () => {
    const [issuer] = accepted({ ghes: server('github.acme.internal', { jwks_file: 'ghes.json' }) })
    expect(issuer).toMatchObject({ jwksFile: '/srv/tvm/ghes.json' })
  })

  it('in every edition at once', () => {
    const issuers = accepted({
      github: { dialect: 'github', default: true },
      ghec: cloud('acme-inc'),
      eu: residency('acme'),
      unique: { dialect: 'github-data-residency-unique', subdomain: 'acme' },
      ghes: server('github.acme.internal'),
    })
    expect(issuers.map(({ dialect }) => dialect)).toEqual(Object.values(DIALECTS))
    expect(new Set(issuers.map(({ issuer }) => issuer)).size).toBe(5)
  })

  it('byte for byte as a URL is written, whatever the parameters', () => {
    const label = fc.stringMatching(/^[a-z0-9-]{1,63}$/)
    const host = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
    fc.assert(
      fc.property(label, host, (word, name) => {
        for (const [given, origin] of [
          [cloud(word), 'https://token.actions.githubusercontent.com'],
          [residency(word), `https://token.actions.${word}.ghe.com`],
          [server(name), `https://${name}`],
        ] as const) {
          const found = read({ ci: given })
          if (Array.isArray(found)) continue
          const [{ issuer, jwksUri } = { issuer: '', jwksUri: '' }] = (found as Config).issuers
          for (const url of [issuer, jwksUri]) {
            expect(new URL(url).origin).toBe(origin)
            expect(new URL(url).href.replace(/\/$/, '')).toBe(url)
          }
        }
      }),
    )
  })
})

describe('a server whose tokens do not name the job', () => {
  it('has to be told so', () => {
    const told = server('github.acme.internal', { job_key: 'run' })
    const untold = server('git.acme.internal')
    const mandatory = accepted({ told, untold }).map(({ dialect }) => dialect.jobMandatory)
    expect(mandatory).toEqual([false, true])
  })

  it('changes nothing else, and nothing of the table', () => {
    const [issuer] = accepted({ ghes: server('github.acme.internal', { job_key: 'run' }) })
    const row = DIALECTS['github-enterprise-server']
    expect(issuer?.dialect).toEqual({ ...row, jobMandatory: false })
    expect(row.jobMandatory).toBe(true)
  })
})
