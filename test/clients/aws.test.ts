import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JobReport } from '../world/runner.ts'
import { ACTION, BUCKET, startWorld, type LocalWorld } from '../world/world.ts'
import { isInstalled, run, terraformPlugins } from './clients.ts'

/** What the action exported, and otherwise PATH, HOME and AWS_ENDPOINT_URL alone. */
let env: Readonly<Record<string, string>>
let world: LocalWorld
let job: JobReport
let folder: string

const ROLE = 'arn:aws:sts::111122223333:assumed-role/payments-deploy/'

beforeAll(async () => {
  world = await startWorld()
  job = await world.runner.runJob({
    job: world.github.job({ environment: 'production' }),
    steps: [{ id: 'tvm', uses: ACTION, with: { url: world.url, grants: 'payments-deploy' } }],
  })
  folder = mkdtempSync(join(tmpdir(), 'tvm-clients-'))
  mkdirSync(join(folder, 'home'))
  writeFileSync(join(folder, 'build.tgz'), 'build')
  env = {
    ...job.step('tvm').env,
    PATH: process.env['PATH'] ?? '',
    HOME: join(folder, 'home'),
    AWS_ENDPOINT_URL: world.aws.url,
  }
})

afterAll(async () => {
  await world.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A client that is not there is said by name; its rows then only hold that it is not. */
const client = (name: string, installed: boolean, rows: () => void): void => {
  if (installed) {
    describe(name, rows)
    return
  }
  it(`${name} is not installed here: nothing of it was tried`, () => {
    console.warn(`${name} is not installed: its suite did not run`)
    expect(installed).toBe(false)
  })
}

it('the job got credentials', () => {
  expect(job.conclusion).toBe('success')
  expect(Object.keys(job.step('tvm').env)).toEqual([
    'AWS_ACCESS_KEY_ID',
    'AWS_SECRET_ACCESS_KEY',
    'AWS_SESSION_TOKEN',
    'AWS_CREDENTIAL_EXPIRATION',
    'AWS_REGION',
    'AWS_DEFAULT_REGION',
  ])
})

client('aws', isInstalled('aws', '--version'), () => {
  const aws = (...args: string[]) => run('aws', args, { env, cwd: folder })

  it('says who it is', async () => {
    const { code, out } = await aws('sts', 'get-caller-identity', '--output', 'json')
    expect(code, out).toBe(0)
    expect((JSON.parse(out) as { Arn: string }).Arn).toMatch(ROLE)
  })

  it('is refused beside its prefix', async () => {
    const { code, out } = await aws('s3', 'cp', 'build.tgz', `s3://${BUCKET}/other/build.tgz`)
    expect(code).not.toBe(0)
    expect(out).toContain('AccessDenied')
    expect(world.aws.object(BUCKET, 'other/build.tgz')).toBeNull()
  })

  it('writes below its prefix, and reads it back', async () => {
    const up = await aws('s3', 'cp', 'build.tgz', `s3://${BUCKET}/99120/cli.tgz`)
    expect(up.code, up.out).toBe(0)
    const down = await aws('s3', 'cp', `s3://${BUCKET}/99120/cli.tgz`, '-')
    expect(down.out).toContain('build')
  })
})

describe('the AWS SDK for JavaScript', () => {
  /** As a step's process would have it: the SDK finds everything in its environment. */
  const inStep = async <T>(use: () => Promise<T>): Promise<T> => {
    const before = { ...process.env }
    process.env = { ...env }
    try {
      return await use()
    } finally {
      process.env = before
    }
  }

  it('says who it is', async () => {
    const found = await inStep(() => new STSClient({}).send(new GetCallerIdentityCommand({})))
    expect(found.Arn).toMatch(ROLE)
  })

  it('is refused beside its prefix, and writes below it', async () => {
    const put = (Key: string) =>
      inStep(() =>
        new S3Client({}).send(new PutObjectCommand({ Bucket: BUCKET, Key, Body: 'sdk' })),
      )
    await expect(put('other/sdk.tgz')).rejects.toMatchObject({ name: 'AccessDenied' })
    await put('99120/sdk.tgz')
    const got = await inStep(() =>
      new S3Client({}).send(new GetObjectCommand({ Bucket: BUCKET, Key: '99120/sdk.tgz' })),
    )
    expect(await got.Body?.transformToString()).toBe('sdk')
  })
})

const plugins = terraformPlugins('hashicorp/aws')

client(
  'terraform with the aws provider',
  isInstalled('terraform', 'version') && plugins !== null,
  () => {
    const terraform = (...args: string[]) =>
      run('terraform', args, {
        env: { ...env, TF_IN_AUTOMATION: '1', CHECKPOINT_DISABLE: '1' },
        cwd: folder,
      })

    it('applies with the environment alone', async () => {
      writeFileSync(
        join(folder, 'main.tf'),
        `terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
provider "aws" {
  s3_use_path_style = true
}
data "aws_caller_identity" "me" {}
output "arn" { value = data.aws_caller_identity.me.arn }
`,
      )
      const init = await terraform(
        'init',
        '-input=false',
        '-no-color',
        `-plugin-dir=${plugins ?? ''}`,
      )
      expect(init.code, init.out).toBe(0)
      const apply = await terraform('apply', '-auto-approve', '-input=false', '-no-color')
      expect(apply.code, apply.out).toBe(0)
      expect(apply.out).toContain(ROLE)
    })
  },
)
