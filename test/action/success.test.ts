import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify, type JWK } from 'jose'
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { SessionReply } from '../../server/api.ts'
import { Job, keep, openProxy, openScene, removeBundles, spoken, type Scene } from './harness.ts'
import {
  aws,
  created,
  idToken,
  idTokenText,
  SECRETS,
  session,
  sessionId,
  token,
} from './replies.ts'

afterAll(removeBundles)

const world = async (...answers: readonly SessionReply[]) => {
  const github = await keep(openScene((_, count) => idToken(count)))
  const broker = await keep(
    openScene(({ method }) => (method === 'DELETE' ? { status: 204 } : created(...answers))),
  )
  return { github, broker, job: await keep(Job.open(github.url)) }
}

const awsSession = session(1, 'payments-deploy', { aws })
const tokenSession = session(2, 'risk-score', { token })

const proofOf = async (scene: Scene, index = 0) => {
  const proof = scene.seen[index]?.headers['dpop']
  const verified = await jwtVerify(String(proof), EmbeddedJWK, {
    typ: 'dpop+jwt',
    algorithms: ['ES256'],
  })
  const jwk = verified.protectedHeader.jwk as JWK
  return { ...verified, jwk, thumbprint: await calculateJwkThumbprint(jwk) }
}

describe('a job that is granted AWS credentials', () => {
  test('asks GitHub once for a token bound to its key, and the broker once with a proof', async () => {
    const { github, broker, job } = await world(awsSession)
    const ran = await job.run('main', {
      inputs: { url: `${broker.url}/`, grants: 'payments-deploy', duration: '15m' },
    })
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    const { payload, jwk, thumbprint } = await proofOf(broker)
    const audience = encodeURIComponent(`${broker.url}/jkt/${thumbprint}`)
    expect(github.seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `GET /token?api-version=2.0&audience=${audience}`,
    ])
    expect(github.seen[0]?.headers.authorization).toBe('Bearer request-token')
    expect(broker.seen.map(({ method, path, body }) => `${method} ${path} ${body}`)).toEqual([
      'POST /v1/sessions {"grants":["payments-deploy"],"ttl":900}',
    ])
    expect(broker.seen[0]?.headers).toMatchObject({
      authorization: `DPoP ${idTokenText(1)}`,
      'content-type': 'application/json',
    })
    expect(Object.keys(jwk).sort()).toEqual(['crv', 'kty', 'x', 'y'])
    expect(payload).toEqual({
      htm: 'POST',
      htu: `${broker.url}/v1/sessions`,
      iat: expect.closeTo(Date.now() / 1000, -2) as number,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      ath: createHash('sha256').update(idTokenText(1)).digest('base64url'),
    })
  })

  test('finds them in the environment, and facts without secrets in the outputs, log and summary', async () => {
    const { broker, job } = await world(awsSession)
    const ran = await job.run('main', { inputs: { url: broker.url, grants: 'payments-deploy' } })
    expect(ran.exported).toEqual({
      AWS_ACCESS_KEY_ID: SECRETS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: SECRETS.secretAccessKey,
      AWS_SESSION_TOKEN: SECRETS.sessionToken,
      AWS_CREDENTIAL_EXPIRATION: '2026-11-22T12:15:00Z',
      AWS_REGION: 'eu-west-1',
      AWS_DEFAULT_REGION: 'eu-west-1',
    })
    const { granted, ...outputs } = ran.outputs
    expect(outputs).toEqual({
      'session-id': sessionId(1),
      'expires-at': '2026-11-22T12:15:00Z',
      'decision-id': 'dec_01KA0000000000000000000000',
      'aws-account-id': '111122223333',
    })
    expect(JSON.parse(granted!)).toEqual({
      'payments-deploy': {
        session_id: sessionId(1),
        targets: {
          aws: {
            role_arn: 'arn:aws:iam::111122223333:role/tvm/payments-deploy',
            account_id: '111122223333',
            region: 'eu-west-1',
            expires_at: '2026-11-22T12:15:00Z',
            revocable: 'expiry_only',
          },
        },
      },
    })
    expect(spoken(ran.stdout)).toBe(
      'TVM granted payments-deploy: aws arn:aws:iam::111122223333:role/tvm/payments-deploy until 2026-11-22T12:15:00Z',
    )
    expect(ran.summary).toBe(
      [
        '### TVM granted credentials to this job',
        '',
        '| grant | target | identity | scope | expires | can be revoked |',
        '| --- | --- | --- | --- | --- | --- |',
        '| `payments-deploy` | aws | `arn:aws:iam::111122223333:role/tvm/payments-deploy` | `eu-west-1` | `2026-11-22T12:15:00Z` | no, they work until they expire |',
        '',
        `Decision \`dec_01KA0000000000000000000000\`, policy revision \`4f2c9d1\`, receipt \`42:${'ab'.repeat(32)}\`.`,
        '',
        '',
      ].join('\n'),
    )
  })

  test.each(['errors', 'off'])('writes no summary when summary is %s', async (summary) => {
    const { broker, job } = await world(awsSession)
    const ran = await job.run('main', {
      inputs: { url: broker.url, grants: 'payments-deploy', summary },
    })
    expect(ran).toMatchObject({ code: 0, summary: '' })
  })

  test('gets its credentials though the summary cannot be written', async () => {
    const { broker, job } = await world(awsSession)
    const ran = await job.run('main', {
      inputs: { url: broker.url, grants: 'payments-deploy' },
      env: { GITHUB_STEP_SUMMARY: undefined },
    })
    expect(ran.code).toBe(0)
    expect(ran.exported['AWS_ACCESS_KEY_ID']).toBe(SECRETS.accessKeyId)
  })

  test('takes the broker from TVM_URL and the region from aws-region', async () => {
    const { broker, job } = await world(awsSession)
    const ran = await job.run('main', {
      inputs: { grants: 'payments-deploy', 'aws-region': 'us-gov-west-1' },
      env: { TVM_URL: broker.url },
    })
    expect(ran.exported).toMatchObject({
      AWS_REGION: 'us-gov-west-1',
      AWS_DEFAULT_REGION: 'us-gov-west-1',
    })
    expect(JSON.parse(ran.outputs['granted']!)).toMatchObject({
      'payments-deploy': { targets: { aws: { region: 'us-gov-west-1' } } },
    })
  })

  test('gets secrets as outputs only when it asks for them', async () => {
    const { broker, job } = await world(awsSession, tokenSession)
    const ran = await job.run('main', {
      inputs: {
        url: broker.url,
        grants: 'payments-deploy,risk-score',
        'output-credentials': 'true',
      },
    })
    expect(ran.outputs).toMatchObject({
      'aws-access-key-id': SECRETS.accessKeyId,
      'aws-secret-access-key': SECRETS.secretAccessKey,
      'aws-session-token': SECRETS.sessionToken,
      token: SECRETS.token,
    })
  })
})

describe('a job that is granted two kinds of credentials', () => {
  const both = async () => {
    const { broker, job } = await world(tokenSession, awsSession)
    const ran = await job.run('main', {
      inputs: { url: broker.url, grants: 'payments-deploy\n risk-score\n' },
    })
    return { broker, job, ran }
  }

  test('hears of both in the order it asked, with the earliest end', async () => {
    const { broker, ran } = await both()
    expect(broker.seen[0]?.body).toBe('{"grants":["payments-deploy","risk-score"]}')
    expect(ran.outputs['session-id']).toBe(`${sessionId(1)},${sessionId(2)}`)
    expect(ran.outputs['expires-at']).toBe('2026-11-22T12:05:00Z')
    expect(ran.summary).toContain(
      '| `risk-score` | token | `https://risk.acme.internal` | `risk:score:write` | `2026-11-22T12:05:00Z` | yes, at once |',
    )
  })

  test('finds the token in a variable and a private file, with the key that proves it', async () => {
    const { broker, job, ran } = await both()
    const { TVM_TOKEN, TVM_TOKEN_TYPE, TVM_TOKEN_FILE, TVM_TOKEN_KEY_FILE } = ran.exported
    expect([TVM_TOKEN, TVM_TOKEN_TYPE]).toEqual([SECRETS.token, 'DPoP'])
    expect(TVM_TOKEN_FILE).toMatch(new RegExp(`^${job.temp}/tvm-[0-9a-f]{16}/token$`))
    expect(await readFile(TVM_TOKEN_FILE!, 'utf8')).toBe(SECRETS.token)
    const jwk = JSON.parse(await readFile(TVM_TOKEN_KEY_FILE!, 'utf8')) as JWK
    expect(await calculateJwkThumbprint(jwk)).toBe((await proofOf(broker)).thumbprint)
    expect(ran.stdout).toContain(`::add-mask::${jwk.d!}\n`)
    for (const path of [TVM_TOKEN_FILE!, TVM_TOKEN_KEY_FILE!]) {
      expect((await stat(path)).mode & 0o777).toBe(0o600)
      expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700)
    }
  })

  test('gets no key file with a bearer token, and loses that of an earlier one', async () => {
    const bearer = session(2, 'risk-score', { token: { ...token, token_type: 'Bearer' } })
    const { broker, job } = await world(bearer)
    const inputs = { url: broker.url, grants: 'risk-score' }
    const fresh = await job.run('main', { inputs })
    expect(fresh.exported).not.toHaveProperty('TVM_TOKEN_KEY_FILE')
    const stale = await job.run('main', { inputs, env: { TVM_TOKEN_KEY_FILE: '/old' } })
    expect(stale.exported).toMatchObject({ TVM_TOKEN_TYPE: 'Bearer', TVM_TOKEN_KEY_FILE: '' })
  })
})

describe('every secret', () => {
  const secrets = [
    idTokenText(1),
    SECRETS.session(1),
    SECRETS.session(2),
    SECRETS.accessKeyId,
    SECRETS.secretAccessKey,
    SECRETS.sessionToken,
    SECRETS.token,
  ]

  test('is masked before the step says anything, and is nowhere but where it belongs', async () => {
    const { broker, job } = await world(awsSession, tokenSession)
    const ran = await job.run('main', {
      inputs: { url: broker.url, grants: 'payments-deploy,risk-score' },
    })
    const lines = ran.stdout.trimEnd().split('\n')
    const masks = lines.filter((line) => line.startsWith('::add-mask::'))
    expect(lines.slice(0, masks.length)).toEqual(masks)
    for (const secret of secrets) expect(masks).toContain(`::add-mask::${secret}`)
    expect(spoken(ran.stdout)).not.toContain('CANARY')
    expect(ran.summary + ran.stderr + JSON.stringify(ran.outputs)).not.toContain('CANARY')
    // State is for post alone, which needs the session tokens and nothing else.
    const state = secrets.filter((secret) => JSON.stringify(ran.state).includes(secret))
    expect(state).toEqual([SECRETS.session(1), SECRETS.session(2)])
    const files = (await job.tempFiles()).filter((path) => /\/(?!key\.jwk)/.test(path))
    expect(files).toEqual([expect.stringMatching(/^tvm-[0-9a-f]{16}\/token$/)])
  })
})

describe('a private CA', () => {
  const secure = async () => {
    const github = await keep(openScene((_, count) => idToken(count)))
    const broker = await keep(
      openScene(
        ({ method }) => (method === 'DELETE' ? { status: 204 } : created(awsSession)),
        true,
      ),
    )
    return { broker, job: await keep(Job.open(github.url)) }
  }
  const ca = join(import.meta.dirname, 'fixtures/ca.pem')

  test('is refused unless the workflow names it, at once', async () => {
    const { broker, job } = await secure()
    const ran = await job.run('main', { inputs: { url: broker.url, grants: 'payments-deploy' } })
    expect(ran).toMatchObject({ code: 1, outputs: { 'error-code': 'broker_certificate_refused' } })
    expect(ran.stdout).not.toContain('trying again')
    expect(broker.seen).toEqual([])
  })

  test.each([
    ['as a path', () => Promise.resolve(ca)],
    ['as PEM text', () => readFile(ca, 'utf8')],
  ])('is trusted when given %s, by post too', async (_, given) => {
    const { broker, job } = await secure()
    const inputs = { url: broker.url, grants: 'payments-deploy', 'ca-certificate': await given() }
    const ran = await job.run('main', { inputs })
    expect(ran.code).toBe(0)
    await job.post(ran.state, { inputs })
    expect(broker.seen.map(({ method }) => method)).toEqual(['POST', 'DELETE'])
  })

  test('holds through a proxy, which is asked for the broker and not for loopback over http', async () => {
    const { broker, job } = await secure()
    const proxy = await keep(openProxy())
    const ran = await job.run('main', {
      inputs: { url: broker.url, grants: 'payments-deploy', 'ca-certificate': ca },
      env: { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url },
    })
    expect(ran.code).toBe(0)
    expect(proxy.asked).toEqual([new URL(broker.url).host])
  })
})
