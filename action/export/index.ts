import type { SessionsReply, TargetName, TargetReplies } from '../../server/api.ts'
import { Failure } from '../failure.ts'
import { exportAws } from './aws.ts'
import { azureSecrets, exportAzure } from './azure.ts'
import type { Exported, ExportPlace } from './export.ts'
import { exportGcp } from './gcp.ts'
import { exportToken } from './token.ts'

/** The only list of exports. */
const EXPORTS = {
  aws: exportAws,
  azure: exportAzure,
  gcp: exportGcp,
  token: exportToken,
} as const satisfies {
  [Name in TargetName]: (reply: NonNullable<TargetReplies[Name]>, place: ExportPlace) => Exported
}

/** Every secret in a reply; to be masked before anything else is written. */
export const secretsIn = (reply: SessionsReply): readonly string[] =>
  reply.sessions.flatMap(({ token, targets: { aws, azure, gcp, token: jwt } }) => [
    token,
    ...(aws === undefined ? [] : [aws.access_key_id, aws.secret_access_key, aws.session_token]),
    ...(azure === undefined ? [] : azureSecrets(azure)),
    ...(gcp === undefined ? [] : [gcp.access_token]),
    ...(jwt === undefined ? [] : [jwt.token]),
  ])

/** All of a reply, or a `target_conflict` when two grants bring the same kind of credentials. */
export const planExports = (reply: SessionsReply, place: ExportPlace): Exported => {
  refuseConflicts(reply)
  const plans = reply.sessions.flatMap(({ targets }) => [
    ...(targets.aws === undefined ? [] : [EXPORTS.aws(targets.aws, place)]),
    ...(targets.azure === undefined ? [] : [EXPORTS.azure(targets.azure, place)]),
    ...(targets.gcp === undefined ? [] : [EXPORTS.gcp(targets.gcp, place)]),
    ...(targets.token === undefined ? [] : [EXPORTS.token(targets.token, place)]),
  ])
  return {
    variables: plans.flatMap((plan) => plan.variables),
    files: plans.flatMap((plan) => plan.files),
    secrets: Object.assign({}, ...plans.map((plan) => plan.secrets)) as Record<string, string>,
  }
}

const refuseConflicts = ({ sessions }: SessionsReply): void => {
  for (const name of Object.keys(EXPORTS) as TargetName[]) {
    const [first, second] = sessions.filter(({ targets }) => targets[name] !== undefined)
    if (first !== undefined && second !== undefined)
      throw new Failure(
        'target_conflict',
        `${first.grant} and ${second.grant} both bring ${name} credentials.`,
      )
  }
}

/** Names of the variables that a plan changes though an earlier step had set them. */
export const replacedBy = (plan: Exported, env: NodeJS.ProcessEnv): readonly string[] =>
  plan.variables.flatMap(({ name, value }) => {
    const was = env[name] ?? ''
    return was === '' || was === value ? [] : [name]
  })
