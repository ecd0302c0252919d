import { join } from 'node:path'
import type { AzureReply } from '../../server/api.ts'
import type { ExportPlace, Exported, Variable } from './export.ts'

const FILE = 'azure-tokens.json'

/** For the log: a variable that no tool reads must not pass for a login. */
export const AZURE_NOTICE = {
  title: 'TVM: Azure access tokens, and no login',
  message:
    'AZURE_ACCESS_TOKEN holds an access token for curl, az rest --skip-authorization-header, Connect-AzAccount -AccessToken and code of your own. ' +
    'az, azd, kubelogin, the Azure SDKs (DefaultAzureCredential) and Terraform (azurerm, azuread, azapi) take no token from outside: they need live delivery, which this version lacks.',
}

/**
 * Who the job is at Azure, under the names that SDKs and Terraform know, and its tokens under names of ours: the first scope's in
 * AZURE_ACCESS_TOKEN, all of them, by scope, in the file that AZURE_ACCESS_TOKENS_FILE names. No SDK reads a token from the environment.
 */
export const exportAzure = (azure: AzureReply, { env, folder }: ExportPlace): Exported => {
  const identity = {
    TENANT_ID: azure.tenant_id,
    CLIENT_ID: azure.client_id,
    // One of an earlier step would be another job's place.
    SUBSCRIPTION_ID: azure.subscription_id ?? '',
  }
  const [first] = azure.tokens
  return {
    variables: [
      ...['AZURE', 'ARM'].flatMap((prefix) =>
        Object.entries(identity).flatMap(([name, value]) => named(`${prefix}_${name}`, value, env)),
      ),
      ...outOfTheWay(env),
      { name: 'AZURE_ACCESS_TOKEN', value: first?.access_token ?? '', after: '' },
      { name: 'AZURE_ACCESS_TOKENS_FILE', value: join(folder, FILE), after: '' },
    ],
    files: [{ name: FILE, text: tokensFile(azure) }],
    secrets: { 'azure-access-token': first?.access_token ?? '' },
  }
}

/** Every secret of a reply, for the mask. */
export const azureSecrets = ({ tokens }: AzureReply): readonly string[] =>
  tokens.map((token) => token.access_token)

const named = (name: string, value: string, env: NodeJS.ProcessEnv): readonly Variable[] => {
  const was = env[name] ?? ''
  return value === '' && was === '' ? [] : [{ name, value, after: was }]
}

/** Secrets are an earlier step's and are not brought back; the names of files are. */
const CREDENTIALS = {
  AZURE_CLIENT_SECRET: 'secret',
  AZURE_CLIENT_CERTIFICATE_PATH: 'file',
  AZURE_CLIENT_CERTIFICATE_PASSWORD: 'secret',
  AZURE_USERNAME: 'secret',
  AZURE_PASSWORD: 'secret',
  AZURE_FEDERATED_TOKEN_FILE: 'file',
  ARM_CLIENT_SECRET: 'secret',
  ARM_CLIENT_SECRET_FILE_PATH: 'file',
  ARM_CLIENT_CERTIFICATE: 'secret',
  ARM_CLIENT_CERTIFICATE_PATH: 'file',
  ARM_CLIENT_CERTIFICATE_PASSWORD: 'secret',
  ARM_OIDC_TOKEN: 'secret',
  ARM_OIDC_TOKEN_FILE_PATH: 'file',
} as const satisfies Record<string, 'secret' | 'file'>

/**
 * Another identity's credentials beside our client id would be sent to Entra in its name; SDKs and Terraform look for them before they
 * give up. Blank counts as unset for all of these.
 */
const outOfTheWay = (env: NodeJS.ProcessEnv): readonly Variable[] =>
  Object.entries(CREDENTIALS).flatMap(([name, kind]) => {
    const was = env[name] ?? ''
    return was === '' ? [] : [{ name, value: '', after: kind === 'file' ? was : '' }]
  })

const tokensFile = ({ tokens }: AzureReply): string => {
  const byScope = tokens.map(({ scope, access_token, expires_at }) => [
    scope,
    { access_token, expires_at },
  ])
  return `${JSON.stringify(Object.fromEntries(byScope), null, 2)}\n`
}
