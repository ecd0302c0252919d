import { describe, expect, it } from 'vitest'
import { audienceProblem } from '../../../server/targets/token.ts'

const own = {
  publicUrl: 'https://broker.acme.dev',
  issuerUrl: 'https://static.acme.dev/tvm',
  audience: 'urn:acme:tvm',
}

describe('an audience of the token target', () => {
  it.each([
    ['the public URL', 'https://broker.acme.dev'],
    ['the public URL with a trailing slash', 'https://broker.acme.dev/'],
    ['the public URL in capitals', 'https://Broker.ACME.dev'],
    ['the public URL with its default port', 'https://broker.acme.dev:443'],
    ['the public URL without encryption', 'http://broker.acme.dev'],
    ['the public URL with a name and a password', 'https://a:b@broker.acme.dev'],
    ['an audience that carries a key', 'https://broker.acme.dev/jkt/abc'],
    ['the token issuer', 'https://broker.acme.dev/tokens'],
    ['the cloud issuer', 'https://static.acme.dev/tvm'],
    ['something below the cloud issuer', 'https://static.acme.dev/tvm/x'],
    ['the cloud issuer, percent-encoded', 'https://static.acme.dev/%74vm'],
    ['the audience of the broker', 'urn:acme:tvm'],
    ['the audience of the broker in capitals', 'URN:ACME:TVM'],
    ['the audience of AWS', 'sts.amazonaws.com'],
    ['the audience of AWS in China', 'sts.amazonaws.com.cn'],
    ['the audience of AWS as a URL', 'https://sts.amazonaws.com/'],
    ['the audience of AWS in capitals', 'STS.AmazonAWS.com'],
    ['a regional endpoint of AWS', 'https://sts.eu-west-1.amazonaws.com'],
    ['a FIPS endpoint of AWS', 'https://sts-fips.us-east-1.amazonaws.com'],
    ['a dual-stack endpoint of AWS', 'https://sts.eu-west-1.api.aws'],
    ['the audience of Entra', 'api://AzureADTokenExchange'],
    ['the audience of Entra for a government', 'api://AzureADTokenExchangeUSGov'],
    ['the audience of Entra in small letters', 'api://azureadtokenexchange'],
    [
      'a provider of Google Cloud',
      '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q',
    ],
    ['a provider of Google Cloud as a URL', 'https://iam.googleapis.com/projects/1'],
    ['a provider of Google Cloud, percent-encoded', 'https://iam%2Egoogleapis.com/projects/1'],
    ['nothing', ''],
    ['two words', 'https://risk.acme.internal https://broker.acme.dev'],
    ['a wildcard', 'https://*.acme.internal'],
    ['more than 255 characters', `https://${'a'.repeat(255)}`],
  ])('is not %s', (_, audience) => {
    expect(audienceProblem(audience, own)).toEqual(expect.any(String))
  })

  it.each([
    ['a service of the operator', 'https://risk.acme.internal'],
    ['a service on another port of our host', 'https://broker.acme.dev:8443'],
    ['a neighbour of the cloud issuer', 'https://static.acme.dev/tvm-docs'],
    ['a host whose name begins like ours', 'https://broker.acme.dev.example.com'],
    ['a host whose name ends like that of AWS', 'https://nosts.amazonaws.example'],
    ['a URN', 'urn:acme:risk'],
    ['something with a broken percent sign', 'urn:acme:100%'],
  ])('is %s', (_, audience) => {
    expect(audienceProblem(audience, own)).toBeNull()
  })
})
