import { describe, expect, test } from 'vitest'
import { exportGcp } from '../../action/export/gcp.ts'
import type { GcpReply } from '../../server/api.ts'

const TOKEN = 'ya29.c.CANARYgcpAccessToken'

const GCP: GcpReply = {
  access_token: TOKEN,
  project_id: 'acme-prod',
  service_account: 'deploy@acme-prod.iam.gserviceaccount.com',
  scopes: ['https://www.googleapis.com/auth/cloud-platform'],
  expires_at: '2026-11-22T12:15:00Z',
  revocable: 'expiry_only',
}

const exported = (env: NodeJS.ProcessEnv = {}, gcp: GcpReply = GCP) =>
  exportGcp(gcp, { env, folder: '/tmp/tvm', keyFile: '/tmp/tvm/key', awsRegion: 'eu-west-1' })

const variables = (env?: NodeJS.ProcessEnv) =>
  Object.fromEntries(exported(env).variables.map(({ name, value }) => [name, value]))

const after = (env?: NodeJS.ProcessEnv) =>
  Object.fromEntries(exported(env).variables.map((variable) => [variable.name, variable.after]))

describe('Google credentials', () => {
  test('are the token for gcloud and Terraform, and the project for everybody', () => {
    expect(variables()).toEqual({
      CLOUDSDK_AUTH_ACCESS_TOKEN: TOKEN,
      GOOGLE_OAUTH_ACCESS_TOKEN: TOKEN,
      CLOUDSDK_CORE_PROJECT: 'acme-prod',
      CLOUDSDK_PROJECT: 'acme-prod',
      GCLOUD_PROJECT: 'acme-prod',
      GCP_PROJECT: 'acme-prod',
      GOOGLE_CLOUD_PROJECT: 'acme-prod',
    })
  })

  test('leave no token behind, and the project where it is', () => {
    expect(after()).toEqual({
      CLOUDSDK_AUTH_ACCESS_TOKEN: '',
      GOOGLE_OAUTH_ACCESS_TOKEN: '',
      CLOUDSDK_CORE_PROJECT: null,
      CLOUDSDK_PROJECT: null,
      GCLOUD_PROJECT: null,
      GCP_PROJECT: null,
      GOOGLE_CLOUD_PROJECT: null,
    })
  })

  test('stand in no file, and as an output only among the secrets', () => {
    expect(exported().files).toEqual([])
    expect(exported().secrets).toEqual({ 'gcp-access-token': TOKEN })
  })

  test('are the same with direct federation', () => {
    expect(exported({}, { ...GCP, service_account: null })).toEqual(exported())
  })
})

describe('what an earlier step left', () => {
  const account = 'other@acme-prod.iam.gserviceaccount.com'

  test.each(['CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT', 'GOOGLE_IMPERSONATE_SERVICE_ACCOUNT'])(
    'makes nobody else of the job, and comes back: %s',
    (name) => {
      expect(variables({ [name]: account })[name]).toBe('')
      expect(after({ [name]: account })[name]).toBe(account)
      expect(variables({ [name]: '' })).not.toHaveProperty(name)
    },
  )

  test.each([
    'GOOGLE_APPLICATION_CREDENTIALS',
    'CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE',
    'GOOGLE_CREDENTIALS',
  ])('stays where the token comes before it: %s', (name) => {
    expect(variables({ [name]: '/home/runner/key.json' })).not.toHaveProperty(name)
  })
})
