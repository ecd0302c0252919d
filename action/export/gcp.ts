import type { GcpReply } from '../../server/api.ts'
import type { Exported, ExportPlace, Variable } from './export.ts'

/** What gcloud, the client libraries, Terraform and older tools read the project from. */
const PROJECT = [
  'CLOUDSDK_CORE_PROJECT',
  'CLOUDSDK_PROJECT',
  'GCLOUD_PROJECT',
  'GCP_PROJECT',
  'GOOGLE_CLOUD_PROJECT',
]

/**
 * A Google access token for gcloud (CLOUDSDK_AUTH_ACCESS_TOKEN) and Terraform's google provider
 * (GOOGLE_OAUTH_ACCESS_TOKEN), and the project for everybody: without it client libraries ask the Resource Manager.
 * Neither tool is told when the token ends. The client libraries read no token from the environment.
 */
export const exportGcp = (gcp: GcpReply, { env }: ExportPlace): Exported => ({
  variables: [
    secret('CLOUDSDK_AUTH_ACCESS_TOKEN', gcp.access_token),
    secret('GOOGLE_OAUTH_ACCESS_TOKEN', gcp.access_token),
    ...PROJECT.map((name) => ({ name, value: gcp.project_id, after: null })),
    ...outOfTheWay(env),
  ],
  files: [],
  secrets: { 'gcp-access-token': gcp.access_token },
})

const secret = (name: string, value: string): Variable => ({ name, value, after: '' })

/**
 * With these gcloud and Terraform would use the token only to become another account. Blank counts as unset for both. Key files need
 * no such care: both tools take the token first.
 */
const outOfTheWay = (env: NodeJS.ProcessEnv): readonly Variable[] =>
  ['CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT', 'GOOGLE_IMPERSONATE_SERVICE_ACCOUNT'].flatMap(
    (name) => {
      const was = env[name] ?? ''
      return was === '' ? [] : [{ name, value: '', after: was }]
    },
  )
