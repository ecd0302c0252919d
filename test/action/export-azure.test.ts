import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { AZURE_NOTICE, azureSecrets, exportAzure } from '../../action/export/azure.ts'
import type { ExportPlace } from '../../action/export/export.ts'
import { writePrivate } from '../../action/private-files.ts'
import { Secret, revealedJson } from '../../server/secret.ts'
import type { AzureReply } from '../../server/api.ts'
import type { SealedAzure } from '../../server/targets/target.ts'

const TENANT = '6f1f0d8b-4e0c-4f6e-9b1b-0a2f6f3c7d11'
const CLIENT = 'b7c0a1de-52f3-4a86-8d0e-1c2d3e4f5a6b'
const SUBSCRIPTION = '0d9e8f7a-6b5c-4d3e-9f2a-1b0c9d8e7f6a'
const ARM = 'https://management.azure.com/.default'
const VAULT = 'https://vault.azure.net/.default'
const [ARM_TOKEN, VAULT_TOKEN] = ['eyJCANARY.eyJhcm0iOjF9.c2ln', 'eyJCANARY.eyJrdiI6MX0.c2ln']

const token = (scope: string, access_token: string, expires_at = '2026-11-22T02:31:00Z') => ({
  scope,
  access_token,
  expires_at,
})

const REPLY: AzureReply = {
  tenant_id: TENANT,
  client_id: CLIENT,
  subscription_id: SUBSCRIPTION,
  tokens: [token(ARM, ARM_TOKEN)],
  expires_at: '2026-11-22T02:31:00Z',
  revocable: 'expiry_only',
}

const place = (env: NodeJS.ProcessEnv = {}, folder = '/tmp/tvm-1'): ExportPlace => ({
  env,
  folder,
  keyFile: '/tmp/tvm-1/key',
  awsRegion: null,
})

/** The environment of the steps that follow, and the one after the post step. */
const environments = (reply: AzureReply, env: NodeJS.ProcessEnv = {}) => {
  const { variables } = exportAzure(reply, place(env))
  const main = Object.fromEntries(variables.map(({ name, value }) => [name, value]))
  const post = Object.fromEntries(variables.map(({ name, after }) => [name, after]))
  return { main, post }
}

describe('Azure tokens reach the job', () => {
  test('under names of ours, beside who it is under the names that tools know', () => {
    expect(environments(REPLY).main).toEqual({
      AZURE_TENANT_ID: TENANT,
      AZURE_CLIENT_ID: CLIENT,
      AZURE_SUBSCRIPTION_ID: SUBSCRIPTION,
      ARM_TENANT_ID: TENANT,
      ARM_CLIENT_ID: CLIENT,
      ARM_SUBSCRIPTION_ID: SUBSCRIPTION,
      AZURE_ACCESS_TOKEN: ARM_TOKEN,
      AZURE_ACCESS_TOKENS_FILE: '/tmp/tvm-1/azure-tokens.json',
    })
  })

  test('all in a private file, each with its scope and its own end', async () => {
    const folder = join(await mkdtemp(join(tmpdir(), 'tvm-azure-')), 'tvm-1')
    onTestFinished(() => rm(join(folder, '..'), { recursive: true }))
    const tokens = [...REPLY.tokens, token(VAULT, VAULT_TOKEN, '2026-11-22T02:05:00Z')]
    const { files, variables } = exportAzure({ ...REPLY, tokens }, place({}, folder))
    expect(writePrivate(folder, files)).toBe(true)
    const path = variables.find(({ name }) => name === 'AZURE_ACCESS_TOKENS_FILE')!.value
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({
      [ARM]: { access_token: ARM_TOKEN, expires_at: '2026-11-22T02:31:00Z' },
      [VAULT]: { access_token: VAULT_TOKEN, expires_at: '2026-11-22T02:05:00Z' },
    })
  })

  test('the first scope of the grant as the variable and as the output', () => {
    const reply = { ...REPLY, tokens: [token(VAULT, VAULT_TOKEN), ...REPLY.tokens] }
    expect(environments(reply).main['AZURE_ACCESS_TOKEN']).toBe(VAULT_TOKEN)
    expect(exportAzure(reply, place()).secrets).toEqual({ 'azure-access-token': VAULT_TOKEN })
  })

  test('as secrets to mask, every one', () => {
    const tokens = [...REPLY.tokens, token(VAULT, VAULT_TOKEN)]
    expect(azureSecrets({ ...REPLY, tokens })).toEqual([ARM_TOKEN, VAULT_TOKEN])
  })

  test('in no name of a variable that says which secret it is not', () => {
    const { variables } = exportAzure(REPLY, place())
    const holding = variables.filter(({ value }) => value.includes('CANARY'))
    expect(holding.map(({ name }) => name)).toEqual(['AZURE_ACCESS_TOKEN'])
  })

  test('and leave with it', () => {
    expect(environments(REPLY).post).toEqual({
      AZURE_TENANT_ID: '',
      AZURE_CLIENT_ID: '',
      AZURE_SUBSCRIPTION_ID: '',
      ARM_TENANT_ID: '',
      ARM_CLIENT_ID: '',
      ARM_SUBSCRIPTION_ID: '',
      AZURE_ACCESS_TOKEN: '',
      AZURE_ACCESS_TOKENS_FILE: '',
    })
  })

  test('in the shape that the broker sends', () => {
    const sealed: SealedAzure = {
      ...REPLY,
      tokens: [{ ...REPLY.tokens[0]!, access_token: new Secret(ARM_TOKEN) }],
    }
    const sent = JSON.parse(revealedJson(sealed)) as AzureReply
    expect(sent).toEqual(REPLY)
    expect(exportAzure(sent, place())).toEqual(exportAzure(REPLY, place()))
  })
})

describe('what an earlier step had set', () => {
  test('as identity is replaced, and brought back', () => {
    const before = { AZURE_CLIENT_ID: 'old-client', ARM_TENANT_ID: 'old-tenant' }
    const { main, post } = environments(REPLY, before)
    expect(main).toMatchObject({ AZURE_CLIENT_ID: CLIENT, ARM_TENANT_ID: TENANT })
    expect(post).toMatchObject(before)
  })

  test('as subscription does not stay beside a grant that names none', () => {
    const reply = { ...REPLY, subscription_id: null }
    const { main, post } = environments(reply, { ARM_SUBSCRIPTION_ID: 'old' })
    expect(main['ARM_SUBSCRIPTION_ID']).toBe('')
    expect(main).not.toHaveProperty('AZURE_SUBSCRIPTION_ID')
    expect(post['ARM_SUBSCRIPTION_ID']).toBe('old')
  })

  test.each([
    ...['AZURE_CLIENT_SECRET', 'AZURE_CLIENT_CERTIFICATE_PASSWORD', 'AZURE_USERNAME'],
    ...['AZURE_PASSWORD', 'ARM_CLIENT_SECRET', 'ARM_CLIENT_CERTIFICATE', 'ARM_OIDC_TOKEN'],
    'ARM_CLIENT_CERTIFICATE_PASSWORD',
  ])('as %s is not sent in the name of our client, and does not come back', (name) => {
    const { main, post } = environments(REPLY, { [name]: 'theirs' })
    expect(main[name]).toBe('')
    expect(post[name]).toBe('')
  })

  test.each([
    ...['AZURE_CLIENT_CERTIFICATE_PATH', 'AZURE_FEDERATED_TOKEN_FILE'],
    ...['ARM_CLIENT_SECRET_FILE_PATH', 'ARM_CLIENT_CERTIFICATE_PATH', 'ARM_OIDC_TOKEN_FILE_PATH'],
  ])('as %s is out of the way until the end of the job', (name) => {
    const { main, post } = environments(REPLY, { [name]: '/run/theirs' })
    expect(main[name]).toBe('')
    expect(post[name]).toBe('/run/theirs')
  })

  test('as a managed identity of the machine stays', () => {
    const env = { IDENTITY_ENDPOINT: 'http://127.0.0.1:1/', IDENTITY_HEADER: 'x' }
    expect(environments(REPLY, env).main).not.toHaveProperty('IDENTITY_ENDPOINT')
  })
})

describe('the notice', () => {
  test.each(['az,', 'azd', 'DefaultAzureCredential', 'Terraform', 'live delivery'])(
    'names %s',
    (word) => {
      expect(AZURE_NOTICE.message).toContain(word)
    },
  )

  test('says nothing of this job', () => {
    expect(JSON.stringify(AZURE_NOTICE)).not.toMatch(/[0-9a-f]{8}-/)
  })
})
