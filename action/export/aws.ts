import { join } from 'node:path'
import type { AwsReply } from '../../server/api.ts'
import type { ExportPlace, Exported, Variable } from './export.ts'

const PROFILE = 'tvm'
const FILE = 'aws-credentials'

/**
 * AWS credentials as environment variables, which every SDK reads, and what would shadow them out of the way.
 * AWS_CREDENTIAL_EXPIRATION is the true end: botocore and the JavaScript SDK then refuse dead credentials by themselves.
 * Container credentials (AWS_CONTAINER_*) come after the variables in every SDK and stay; blank ones break botocore.
 */
export const exportAws = (aws: AwsReply, place: ExportPlace): Exported => {
  const region = place.awsRegion ?? aws.region
  const profile = ownProfile(aws, place)
  return {
    variables: [
      secret('AWS_ACCESS_KEY_ID', aws.access_key_id),
      secret('AWS_SECRET_ACCESS_KEY', aws.secret_access_key),
      secret('AWS_SESSION_TOKEN', aws.session_token),
      { name: 'AWS_CREDENTIAL_EXPIRATION', value: aws.expires_at, after: '' },
      { name: 'AWS_REGION', value: region, after: null },
      { name: 'AWS_DEFAULT_REGION', value: region, after: null },
      ...outOfTheWay(place.env),
      ...profile.variables,
    ],
    files: profile.files,
    secrets: {
      'aws-access-key-id': aws.access_key_id,
      'aws-secret-access-key': aws.secret_access_key,
      'aws-session-token': aws.session_token,
    },
  }
}

const secret = (name: string, value: string): Variable => ({ name, value, after: '' })

/**
 * botocore takes AWS_SECURITY_TOKEN before AWS_SESSION_TOKEN; the .NET SDK takes a web identity before the variables.
 * Blank counts as unset for these. The token is an earlier step's and is not brought back.
 */
const outOfTheWay = (env: NodeJS.ProcessEnv): readonly Variable[] =>
  ['AWS_SECURITY_TOKEN', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'AWS_ROLE_ARN'].flatMap((name) => {
    const was = env[name] ?? ''
    const after = name === 'AWS_SECURITY_TOKEN' ? '' : was
    return was === '' ? [] : [{ name, value: '', after }]
  })

/**
 * A job that has AWS_PROFILE set would use that profile in the JavaScript SDK whatever the variables say. A blank one breaks botocore
 * ("The config profile () could not be found") and a later step cannot unset it, so it is made to name these very credentials.
 */
const ownProfile = (
  aws: AwsReply,
  { env, folder }: ExportPlace,
): Pick<Exported, 'variables' | 'files'> => {
  const named = ['AWS_PROFILE', 'AWS_DEFAULT_PROFILE'].filter((name) => env[name] !== undefined)
  if (named.length === 0) return { variables: [], files: [] }
  const text = [
    `[${PROFILE}]`,
    `aws_access_key_id=${aws.access_key_id}`,
    `aws_secret_access_key=${aws.secret_access_key}`,
    `aws_session_token=${aws.session_token}`,
    '',
  ].join('\n')
  const instead = (name: string, value: string) => ({ name, value, after: env[name] ?? '' })
  return {
    variables: [
      ...named.map((name) => instead(name, PROFILE)),
      instead('AWS_SHARED_CREDENTIALS_FILE', join(folder, FILE)),
    ],
    files: [{ name: FILE, text }],
  }
}
