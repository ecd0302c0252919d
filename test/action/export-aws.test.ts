import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { Job, keep, openScene, removeBundles } from './harness.ts'
import { aws, created, idToken, SECRETS, session } from './replies.ts'

afterAll(removeBundles)

const lasting = { ...aws, expires_at: '2999-01-01T00:00:00Z' }

const runIn = async (env: Readonly<Record<string, string>>) => {
  const github = await keep(openScene((_, count) => idToken(count)))
  const answer = created(session(1, 'payments-deploy', { aws: lasting }))
  const broker = await keep(
    openScene(({ method }) => (method === 'POST' ? answer : { status: 204 })),
  )
  const job = await keep(Job.open(github.url))
  Object.assign(job.env, env)
  const main = await job.run('main', { inputs: { url: broker.url, grants: 'payments-deploy' } })
  return { job, main }
}

/** The access key that the AWS SDK for JavaScript would use in a later step of the job. */
const sdkIdentity = async (job: Job): Promise<string> => {
  const script = `
    import { STSClient } from '@aws-sdk/client-sts'
    const { accessKeyId, secretAccessKey, sessionToken } = await new STSClient({}).config.credentials()
    console.log([accessKeyId, secretAccessKey, sessionToken].join(' '))`
  const { stdout } = await promisify(execFile)(
    join(import.meta.dirname, '../../node_modules/.bin/node'),
    ['--input-type=module', '-e', script],
    { cwd: import.meta.dirname, env: { ...job.env, HOME: job.folder } },
  )
  return stdout.trim()
}

const OURS = `${SECRETS.accessKeyId} ${SECRETS.secretAccessKey} ${SECRETS.sessionToken}`

const withProfile = async () => {
  const { job, main } = await runIn({ AWS_PROFILE: 'corp', AWS_CONFIG_FILE: '/dev/null' })
  await writeFile(
    join(job.folder, 'corp'),
    '[corp]\naws_access_key_id=CORP\naws_secret_access_key=corp\n',
  )
  return { job, main }
}

describe('AWS credentials of an earlier step', () => {
  test('are replaced, with a notice that names the variables and no value', async () => {
    const { main } = await runIn({
      AWS_ACCESS_KEY_ID: 'AKIAOLD',
      AWS_SECRET_ACCESS_KEY: 'old',
      AWS_REGION: 'us-east-1',
      AWS_DEFAULT_REGION: 'eu-west-1',
    })
    expect(main.stdout).toContain(
      '::notice title=TVM replaced variables of this job::An earlier step had set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION; ',
    )
    expect(main.stdout).not.toContain('old')
  })

  test('cause no notice when there are none', async () => {
    expect((await runIn({})).main.stdout).not.toContain('::notice')
  })

  test('do not keep a legacy token or a web identity beside the new ones', async () => {
    const { job, main } = await runIn({
      AWS_SECURITY_TOKEN: 'old',
      AWS_WEB_IDENTITY_TOKEN_FILE: '/var/run/token',
      AWS_ROLE_ARN: 'arn:aws:iam::999999999999:role/runner',
    })
    const blank = { AWS_SECURITY_TOKEN: '', AWS_WEB_IDENTITY_TOKEN_FILE: '', AWS_ROLE_ARN: '' }
    expect(main.exported).toMatchObject(blank)
    const post = await job.post(main.state)
    expect(post.exported).toMatchObject({
      AWS_WEB_IDENTITY_TOKEN_FILE: '/var/run/token',
      AWS_ROLE_ARN: 'arn:aws:iam::999999999999:role/runner',
    })
    expect(post.exported['AWS_SECURITY_TOKEN']).toBe('')
  })

  test('stay as they are where they come after the variables', async () => {
    const { main } = await runIn({ AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:1/' })
    expect(main.exported).not.toHaveProperty('AWS_CONTAINER_CREDENTIALS_FULL_URI')
  })
})

describe('a job with a profile', () => {
  test('would be somebody else in the JavaScript SDK by the variables alone', async () => {
    const { job } = await withProfile()
    Object.assign(job.env, {
      AWS_PROFILE: 'corp',
      AWS_SHARED_CREDENTIALS_FILE: join(job.folder, 'corp'),
    })
    expect(await sdkIdentity(job)).toBe('CORP corp')
  })

  test('is who the grant says, because the profile becomes one of ours', async () => {
    const { job, main } = await withProfile()
    const { AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE } = main.exported
    expect(AWS_PROFILE).toBe('tvm')
    expect(await sdkIdentity(job)).toBe(OURS)
    expect(await readFile(AWS_SHARED_CREDENTIALS_FILE!, 'utf8')).toContain('[tvm]\n')
    expect(main.exported).not.toHaveProperty('AWS_DEFAULT_PROFILE')
  })

  test('gets its profile back at its end, and the file is gone', async () => {
    const { job, main } = await withProfile()
    const post = await job.post(main.state)
    expect(post.exported).toMatchObject({ AWS_PROFILE: 'corp', AWS_SHARED_CREDENTIALS_FILE: '' })
    expect(await job.tempFiles()).toEqual([])
  })

  test('that is blank gets one that is not, since botocore looks for a profile without a name', async () => {
    const { main } = await runIn({ AWS_DEFAULT_PROFILE: '' })
    expect(main.exported).toMatchObject({ AWS_DEFAULT_PROFILE: 'tvm' })
  })
})

describe('a job without a profile', () => {
  test('is who the grant says in the JavaScript SDK', async () => {
    const { job, main } = await runIn({})
    expect(await sdkIdentity(job)).toBe(OURS)
    expect(main.exported).not.toHaveProperty('AWS_PROFILE')
    expect(main.exported).not.toHaveProperty('AWS_SHARED_CREDENTIALS_FILE')
  })
})
