import { describe, expect, it } from 'vitest'
import { readConfig, type Config } from '../../server/config/config.ts'

const read = (yaml: string | null, env: Record<string, string> = {}) =>
  readConfig({
    env,
    file: yaml === null ? null : { path: 'tvm.yaml', text: yaml },
    cwd: '/srv/tvm',
  })

const problems = (yaml: string | null, env: Record<string, string> = {}): string[] => {
  const found = read(yaml, env)
  if (!Array.isArray(found)) throw new Error('accepted')
  return (found as { at: string; key: string; message: string }[]).map(
    ({ at, key, message }) => `${at} ${key} ${message}`,
  )
}

const config = (yaml: string | null, env: Record<string, string> = {}): Config => {
  const found = read(yaml, env)
  if (Array.isArray(found)) throw new Error(JSON.stringify(found))
  return found as Config
}

describe('what is wrong is refused, with its key and place', () => {
  it.each([
    ['an unknown key', 'lisen: 127.0.0.1:1\n', /^tvm\.yaml:1:1 lisen is not a key/],
    ['a key given twice', 'data: a\ndata: b\n', /^tvm\.yaml:2:1 tvm\.yaml .*unique/],
    ['something that is no map', '- a\n', /must be a map/],
    ['an alias', 'data: &a x\npolicies: *a\n', /^tvm\.yaml:2:11 tvm\.yaml takes no aliases/],
    [
      'a host name to listen on',
      'listen: example.com:80\n',
      /^tvm\.yaml:1:1 listen must be ADDRESS:PORT/,
    ],
    ['a port past 65535', 'listen: 127.0.0.1:70000\n', /listen must be ADDRESS:PORT/],
    ['a public URL over http', 'public_url: http://tvm.example.com\n', /public_url must be https/],
    [
      'a public URL with a path',
      'public_url: https://tvm.example.com/x\n',
      /public_url must have no path/,
    ],
    [
      'a public URL with a trailing slash',
      'public_url: https://tvm.example.com/\n',
      /trailing slash/,
    ],
    ['a public URL in capitals', 'public_url: https://TVM.example.com\n', /must be written as/],
    ['credentials in a URL', 'public_url: https://a:b@tvm.example.com\n', /credentials/],
    [
      'an issuer URL with a port',
      'issuer_url: https://tvm.example.com:8443\n',
      /issuer_url must have no port/,
    ],
    ['a number with a unit it lacks', 'max_policy_age: 24\n', /max_policy_age must be a duration/],
    ['keys that serve longer than a day', 'jwks_stale: 25h\n', /jwks_stale must be a duration/],
    [
      'a flag that is neither',
      'tls_terminated: yes please\n',
      /tls_terminated must be true or false/,
    ],
    ['a certificate without a key', 'tls_cert: a.pem\n', /tls_cert and tls_key go together/],
    [
      'a proxy that is no address',
      'trusted_proxies: [load-balancer]\n',
      /trusted_proxies each item must be/,
    ],
    [
      'a token audience of AWS',
      'token_audiences: [https://sts.amazonaws.com]\n',
      /token_audiences .*AWS/,
    ],
    [
      'our own URL as a token audience',
      'token_audiences: ["http://127.0.0.1:8080"]\n',
      /the broker itself/,
    ],
    ['an unknown dialect', 'issuers: {ci: {dialect: jenkins}}\n', /issuers\.ci\.dialect/],
    [
      'an unknown key of an issuer',
      'issuers: {ci: {dialect: github, url: x}}\n',
      /issuers\.ci.*url/,
    ],
    [
      'two aliases for one issuer',
      'issuers: {a: {dialect: github}, b: {dialect: github}}\n',
      /two aliases/,
    ],
    [
      'keys over plain http',
      'issuers: {a: {dialect: github, jwks_uri: "http://example.com/k"}}\n',
      /issuers\.a\.jwks_uri must be https/,
    ],
    ['no issuer at all', 'issuers: {}\n', /must name an issuer/],
    [
      'a listener for all without TLS',
      'listen: 0.0.0.0:8080\npublic_url: https://tvm.example.com\n',
      /listen is not a loopback address/,
    ],
    [
      'a listener for all without a public URL',
      'listen: 0.0.0.0:8080\ntls_terminated: true\n',
      /public_url must be set/,
    ],
    [
      'an admin listener for all, which speaks no TLS',
      'admin_listen: 0.0.0.0:8081\n',
      /admin_listen is not a loopback address/,
    ],
    [
      'the cloud issuer in the place of the token issuer',
      'public_url: https://tvm.example.com\nissuer_url: https://tvm.example.com/tokens\n',
      /issuer_url is the address of the token issuer/,
    ],
    [
      'two listeners on one address',
      'admin_listen: 127.0.0.1:8080\n',
      /admin_listen must be another/,
    ],
  ])('%s', (_, yaml, expected) => {
    expect(problems(yaml).join('\n')).toMatch(expected)
  })

  it('says everything at once, from file and environment', () => {
    const found = problems('lisen: a\npublic_url: ftp://x\nlimit_job: 0\n', {
      TVM_LOG_LEVEL: 'loud',
      TVM_TLS_CERT: 'cert.pem',
    })
    expect(found.map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'tvm.yaml:1:1 lisen',
      'tvm.yaml:2:1 public_url',
      'tvm.yaml:3:1 limit_job',
      'TVM_LOG_LEVEL log_level',
      'configuration tls_key',
    ])
  })
})

describe('what is right is read', () => {
  it('starts on loopback with nothing at all', () => {
    const found = config(null)
    expect(found).toMatchObject({
      listen: { host: '127.0.0.1', port: 8080 },
      public_url: 'http://127.0.0.1:8080',
      issuer_url: 'http://127.0.0.1:8080',
      audience: 'http://127.0.0.1:8080',
      policies: '/srv/tvm/policies',
      data: '/srv/tvm/data',
    })
    expect(found.issuers.map(({ alias, jwksUri }) => [alias, jwksUri])).toEqual([
      ['github', 'https://token.actions.githubusercontent.com/.well-known/jwks'],
    ])
  })

  it('lets the environment win over the file', () => {
    expect(config('data: a\nlimit_job: 7\n', { TVM_DATA: 'b' })).toMatchObject({
      data: '/srv/tvm/b',
      limit_job: 7,
    })
  })

  it('reads a list from one variable', () => {
    expect(config(null, { TVM_TRUSTED_PROXIES: '10.0.0.0/8, ::1' }).trusted_proxies).toEqual([
      '10.0.0.0/8',
      '::1',
    ])
  })

  it('names the variables that mean nothing here, and goes on', () => {
    const env = { TVM_PORT: 'tcp://10.0.0.1:8080', TVM_SERVICE_HOST: '10.0.0.1' }
    expect(config(null, env).ignored).toEqual(['TVM_PORT', 'TVM_SERVICE_HOST'])
  })

  it('takes an issuer that is served elsewhere than the broker', () => {
    expect(config('issuer_url: https://cdn.example.com/tvm\n').issuer_url).toBe(
      'https://cdn.example.com/tvm',
    )
  })
})
