import { createHash } from 'node:crypto'
import type {
  AssumeRoleWithWebIdentityCommandInput,
  AssumeRoleWithWebIdentityCommandOutput,
} from '@aws-sdk/client-sts'
import { Secret } from '../../secret.ts'
import type { AwsGrant } from '../../policy/grant.ts'
import { refuse } from '../../refusal.ts'
import { rfc3339 } from '../../world.ts'
import type { Minted, MintOrder, MintRefusal, SealedAws } from '../target.ts'

/** AWS credentials cannot be taken back, only locked out by policy: they end with their time. */
export const AWS_REVOCABLE = 'expiry_only'

/** What an answer of STS is held against. */
export interface Asked {
  readonly spec: AwsGrant
  readonly order: MintOrder
  readonly input: AssumeRoleWithWebIdentityCommandInput
}

/** What we need of an answer, once it has been found to be all there. */
interface Credentials {
  readonly keyId: string
  readonly secret: string
  readonly token: string
  /** Milliseconds. */
  readonly expiration: number
}

/** Milliseconds that STS's clock and the way to it may add to what we asked for. */
const CLOCK_SLACK = 60_000

/** Credentials exactly as asked for, or a refusal: an answer that protects less is no answer. */
export const readAssumedRole = (
  output: AssumeRoleWithWebIdentityCommandOutput,
  asked: Asked,
): Minted<SealedAws> | MintRefusal => {
  const found = credentialsOf(output)
  if (found === null) return refused('AnswerIncomplete')
  if (output.AssumedRoleUser?.Arn !== assumedRoleArn(asked)) return refused('AnswerForAnotherRole')
  if (output.SourceIdentity !== asked.order.sessionId) return refused('SourceIdentityNotSet')
  if (!isSane(found.expiration, asked)) return refused('ExpirationNotAsAsked')
  // The session policy's time deny counts whole seconds.
  const held = Math.floor(asked.order.expiresAt / 1000) * 1000
  const expiresAt = Math.min(held, found.expiration)
  return {
    ok: true,
    reply: sealedReply(found, asked.spec, expiresAt),
    facts: { ...factsOf(output, asked), ...credentialFacts(found) },
    expiresAt,
    revocable: AWS_REVOCABLE,
  }
}

const refused = (about: string): MintRefusal => ({
  ...refuse('target_refused', { about, cause: 'what STS answered is not what was asked' }),
  code: 'target_refused',
  target: 'aws',
})

/** Closed patterns, because these values go into environment variables and files of the job. */
const credentialsOf = (output: AssumeRoleWithWebIdentityCommandOutput): Credentials | null => {
  const { AccessKeyId, SecretAccessKey, SessionToken, Expiration } = output.Credentials ?? {}
  const keyId = matched(AccessKeyId, /^\w{16,128}$/)
  const secret = matched(SecretAccessKey, /^[\x21-\x7e]{16,256}$/)
  const token = matched(SessionToken, /^[\x21-\x7e]{1,16384}$/)
  if (keyId === null || secret === null || token === null) return null
  return { keyId, secret, token, expiration: Expiration?.getTime() ?? Number.NaN }
}

const matched = (text: string | undefined, pattern: RegExp): string | null =>
  text !== undefined && pattern.test(text) ? text : null

/** `arn:aws:sts::<account>:assumed-role/<role without its path>/<session name>`, in the role's own partition. */
const assumedRoleArn = ({ spec, input }: Asked): string => {
  const partition = spec.role.split(':')[1] ?? ''
  const role = spec.role.split('/').at(-1) ?? ''
  return `arn:${partition}:sts::${spec.accountId}:assumed-role/${role}/${input.RoleSessionName ?? ''}`
}

const isSane = (expiration: number, { order, input }: Asked): boolean =>
  expiration > order.now &&
  expiration <= order.now + (input.DurationSeconds ?? 0) * 1000 + CLOCK_SLACK

const sealedReply = (found: Credentials, spec: AwsGrant, expiresAt: number): SealedAws => ({
  access_key_id: found.keyId,
  secret_access_key: new Secret(found.secret),
  session_token: new Secret(found.token),
  account_id: spec.accountId,
  role_arn: spec.role,
  region: spec.region,
  expires_at: rfc3339(expiresAt),
  revocable: AWS_REVOCABLE,
})

const factsOf = (output: AssumeRoleWithWebIdentityCommandOutput, { spec, input }: Asked) => ({
  role: spec.role,
  session_name: input.RoleSessionName ?? '',
  duration_seconds: input.DurationSeconds ?? 0,
  session_policy_sha256: sha256(input.Policy ?? ''),
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- deprecated 2026-06-17; AWS sends both meanwhile
  packed_policy_size: output.PackedPolicySize ?? null,
  session_token_utilization: output.SessionTokenUtilization ?? null,
  aws_request_id: matched(output.$metadata.requestId, /^[A-Za-z0-9-]{1,64}$/),
})

const credentialFacts = (found: Credentials) => ({
  access_key_sha256: sha256(found.keyId),
  expiration: rfc3339(found.expiration),
})

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
