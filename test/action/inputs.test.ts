import { afterAll, describe, expect, test } from 'vitest'
import { Job, keep, openScene, removeBundles, spoken } from './harness.ts'
import { idToken } from './replies.ts'

afterAll(removeBundles)

const runWith = async (inputs: Readonly<Record<string, string>>) => {
  const github = await keep(openScene((_, count) => idToken(count)))
  const job = await keep(Job.open(github.url))
  const ran = await job.run('main', {
    inputs: { url: 'http://127.0.0.1:1', grants: 'payments-deploy', ...inputs },
  })
  return { ...ran, asked: github.seen.length, files: await job.tempFiles() }
}

describe('a wrong input', () => {
  test.each([
    ['no url', { url: '' }, 'url: missing; give the address of the broker here or in env TVM_URL'],
    ['a url that is none', { url: 'tvm example' }, 'url: "tvm example" is not a URL'],
    [
      'plain http',
      { url: 'http://tvm.example.com' },
      'url: must begin with https:// (http:// is taken for loopback only)',
    ],
    [
      'plain http to a name like loopback',
      { url: 'http://127.0.0.1.example.com' },
      'url: must begin with https://',
    ],
    ['another scheme', { url: 'ftp://127.0.0.1' }, 'url: must begin with https://'],
    [
      'a password in the url',
      { url: 'https://u:p@tvm.example.com' },
      'url: must not hold a user or password',
    ],
    [
      'a path in the url',
      { url: 'https://tvm.example.com/v1' },
      'url: "https://tvm.example.com/v1" must not have a path',
    ],
    [
      'a query in the url',
      { url: 'https://tvm.example.com?a' },
      'url: "https://tvm.example.com?a" must not have a path, query or fragment',
    ],
    ['no grant', { grants: ' ,\n' }, 'grants: missing; name at least one grant'],
    [
      'a grant that cannot be',
      { grants: 'Payments' },
      'grants: "Payments" is not the name of a grant',
    ],
    [
      'a grant with a steering character',
      { grants: 'a\u001b[31m' },
      'grants: "a[31m" is not the name of a grant',
    ],
    ['a grant twice', { grants: 'ab,ab' }, 'grants: one grant is named twice'],
    [
      'eleven grants',
      {
        grants: 'abcdefghijk'
          .split('')
          .map((c) => c + c)
          .join(),
      },
      'grants: at most 10 grants',
    ],
    [
      'a region that is none',
      { 'aws-region': 'eu-west' },
      'aws-region: "eu-west" is not an AWS region',
    ],
    [
      'a duration without unit',
      { duration: '900' },
      'duration: "900" is not a duration such as 15m, 1h or 900s',
    ],
    ['a duration of nothing', { duration: '0m' }, 'duration: "0m" is not a duration'],
    ['a duration of more than an hour', { duration: '61m' }, 'duration: "61m" is longer than 1h'],
    [
      'a CA file that is not there',
      { 'ca-certificate': '/nowhere.pem' },
      'ca-certificate: "/nowhere.pem" cannot be read',
    ],
    [
      'a CA that is none',
      { 'ca-certificate': '-----BEGIN CERTIFICATE-----\nx' },
      'ca-certificate: neither a certificate in PEM nor',
    ],
    [
      'no time',
      { 'timeout-seconds': '0' },
      'timeout-seconds: "0" is not a whole number from 1 to 300',
    ],
    ['half retries', { retries: '1.5' }, 'retries: "1.5" is not a whole number from 0 to 10'],
    [
      'a flag of another kind',
      { 'output-credentials': 'yes' },
      'output-credentials: "yes" is neither true nor false',
    ],
    [
      'a flag of another kind',
      { 'fail-on-denied': '0' },
      'fail-on-denied: "0" is neither true nor false',
    ],
    [
      'a summary of another kind',
      { summary: 'some' },
      'summary: "some" is none of on, errors, off',
    ],
  ])('%s is named, and nobody is asked anything', async (_, inputs, sentence) => {
    const ran = await runWith(inputs)
    expect(spoken(ran.stdout)).toContain(`::error title=TVM gave no credentials::${sentence}`)
    expect(ran).toMatchObject({
      code: 1,
      asked: 0,
      files: [],
      exported: {},
      outputs: { 'error-code': 'input_invalid' },
    })
  })

  test('is named together with all the others', async () => {
    const ran = await runWith({ url: '', grants: 'X', retries: 'many' })
    expect(ran.stdout).toMatch(/url: .+%0Agrants: .+%0Aretries: .+ \(input_invalid\)%0AHint: /)
    expect(ran.summary).toMatch(/url\\: .+<br>grants\\: .+<br>retries\\: .+ \(`input_invalid`\)/)
  })
})
