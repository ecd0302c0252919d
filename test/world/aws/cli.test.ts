import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ACCOUNT,
  assumeRole,
  brokerToken,
  DISCOVERY,
  ISSUER,
  makeKey,
  PROVIDER_ARN,
  ROLE,
  SESSION_NAME,
  startIssuer,
  type Credentials,
  type ScriptedIssuer,
  type TestKey,
} from './fixture.ts'
import { startAws, tvmTrustPolicy, type LocalAws } from './index.ts'

function onPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

const MISSING = 'the aws CLI is missing: nothing was proved with it'

if (onPath('aws')) {
  describe('the aws CLI, pointed here by AWS_ENDPOINT_URL', { timeout: 120_000 }, withCli)
} else {
  test(MISSING, () => {
    console.warn(MISSING)
    expect(onPath('aws')).toBe(false)
  })
}

function withCli(): void {
  let home: string
  let key: TestKey
  let issuer: ScriptedIssuer
  let aws: LocalAws
  let given: Credentials

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'local-aws-'))
    key = await makeKey('RS256', 'key-1')
    issuer = await startIssuer()
    issuer.pages.set('/.well-known/openid-configuration', DISCOVERY)
    issuer.pages.set('/.well-known/jwks.json', { keys: [key.jwk] })
    const trust = tvmTrustPolicy({
      providerArn: PROVIDER_ARN,
      host: 'tvm.example.com',
      grant: 'payments-deploy',
      audience: 'sts.amazonaws.com',
    })
    const all = { Statement: { Effect: 'Allow', Action: '*', Resource: '*' } }
    aws = await startAws({
      now: Date.now,
      resolve: { [ISSUER]: issuer.url },
      providers: [{ url: ISSUER, clientIds: ['sts.amazonaws.com'] }],
      roles: [{ arn: ROLE, trust, policies: [all] }],
      buckets: ['artifacts'],
    })
    given = await assumeRole(aws.url, {
      WebIdentityToken: await brokerToken(key, Date.now()),
      Policy: JSON.stringify({
        Version: '2012-10-17',
        Statement: [
          {
            Effect: 'Allow',
            Action: 's3:*',
            Resource: ['arn:aws:s3:::artifacts', 'arn:aws:s3:::artifacts/99120/*'],
          },
          { Effect: 'Deny', Action: 'sts:AssumeRole', Resource: '*' },
        ],
      }),
    })
  })

  afterAll(async () => {
    await aws.close()
    issuer.close()
    await rm(home, { recursive: true })
  })

  async function cli(args: readonly string[], stdin?: string) {
    const child = spawn('aws', args, {
      cwd: home,
      env: {
        PATH: process.env['PATH'],
        HOME: home,
        AWS_ENDPOINT_URL: aws.url,
        AWS_REGION: 'eu-west-1',
        // Version 1 of the CLI does not read AWS_REGION.
        AWS_DEFAULT_REGION: 'eu-west-1',
        AWS_MAX_ATTEMPTS: '1',
        AWS_ACCESS_KEY_ID: given.accessKeyId,
        AWS_SECRET_ACCESS_KEY: given.secretAccessKey,
        AWS_SESSION_TOKEN: given.sessionToken,
      },
    })
    let out = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (out += text))
    child.stdin.end(stdin)
    const { promise, resolve, reject } = Promise.withResolvers<number | null>()
    child.on('error', reject).on('close', resolve)
    return { status: await promise, out }
  }

  test('is refused an object that its session policy does not allow', async () => {
    const { status, out } = await cli(['s3', 'cp', '-', 's3://artifacts/99121/x'], 'built')
    expect(out).toContain('An error occurred (AccessDenied) when calling the PutObject operation')
    expect(out).toContain('because no session policy allows the s3:PutObject action')
    expect(status).toBe(1)
    expect(aws.keys('artifacts')).toEqual([])
  })

  test('is refused to chain', async () => {
    const { status, out } = await cli([
      'sts',
      'assume-role',
      '--role-arn',
      ROLE,
      '--role-session-name',
      'next',
    ])
    expect(out).toContain('with an explicit deny in a session policy')
    expect(status).not.toBe(0)
  })

  test('copies a file up and down, lists it and removes it', async () => {
    await writeFile(join(home, 'up'), 'built\n'.repeat(1000))
    const up = await cli(['s3', 'cp', 'up', 's3://artifacts/99120/a b.txt'])
    expect(up).toMatchObject({ status: 0 })
    expect(aws.object('artifacts', '99120/a b.txt')?.bytes).toHaveLength(6000)
    const list = await cli(['s3', 'ls', 's3://artifacts/99120/'])
    expect(list.out).toMatch(/6000 a b\.txt/)
    const down = await cli(['s3', 'cp', 's3://artifacts/99120/a b.txt', 'down'])
    expect(down).toMatchObject({ status: 0 })
    expect(await readFile(join(home, 'down'), 'utf8')).toBe('built\n'.repeat(1000))
    const removed = await cli(['s3', 'rm', 's3://artifacts/99120/a b.txt'])
    expect(removed).toMatchObject({ status: 0 })
    expect(aws.keys('artifacts')).toEqual([])
  })

  test('learns who it is', async () => {
    const { status, out } = await cli([
      'sts',
      'get-caller-identity',
      '--query',
      'Arn',
      '--output',
      'text',
    ])
    expect(out.trim()).toBe(`arn:aws:sts::${ACCOUNT}:assumed-role/payments-deploy/${SESSION_NAME}`)
    expect(status).toBe(0)
  })

  test('assumes a role with a token, and not with a bad one', async () => {
    const assume = (token: string) =>
      cli([
        'sts',
        'assume-role-with-web-identity',
        '--role-arn',
        ROLE,
        '--role-session-name',
        SESSION_NAME,
        '--web-identity-token',
        token,
      ])
    const good = await assume(await brokerToken(key, Date.now()))
    expect(JSON.parse(good.out)).toMatchObject({
      Audience: 'sts.amazonaws.com',
      Provider: PROVIDER_ARN,
    })
    const bad = await assume(await brokerToken(key, Date.now(), { aud: 'other' }))
    expect(bad.out).toContain(
      'An error occurred (InvalidIdentityToken) when calling the AssumeRoleWithWebIdentity operation',
    )
    expect(bad.status).not.toBe(0)
  })
}
