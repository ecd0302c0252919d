import { POLICY_ARN, ROLE_ARN } from './account.ts'
import { AwsError } from './answer.ts'

/** The parameters of AssumeRoleWithWebIdentity, as the service model of STS bounds them. */
export interface WebIdentityParameters {
  readonly roleArn: string
  readonly roleSessionName: string
  readonly webIdentityToken: string
  readonly durationSeconds: number
  readonly policy: string | null
  readonly policyArns: readonly string[]
  readonly providerId: string | null
}

interface Limit {
  readonly at: string
  readonly required: boolean
  readonly min: number
  readonly max: number
  readonly pattern?: readonly [RegExp, string]
  /** The value never appears in a message. */
  readonly secret?: true
}

const LIMITS = {
  RoleArn: {
    at: 'roleArn',
    required: true,
    min: 20,
    max: 2048,
    pattern: [
      /^[\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd]+$/,
      '[\\u0009\\u000A\\u000D\\u0020-\\u007E\\u0085\\u00A0-\\uD7FF\\uE000-\\uFFFD\\u10000-\\u10FFFF]+',
    ],
  },
  RoleSessionName: {
    at: 'roleSessionName',
    required: true,
    min: 2,
    max: 64,
    pattern: [/^[\w+=,.@-]*$/, '[\\w+=,.@-]*'],
  },
  WebIdentityToken: { at: 'webIdentityToken', required: true, min: 4, max: 20_000, secret: true },
  ProviderId: { at: 'providerId', required: false, min: 4, max: 2048 },
  Policy: {
    at: 'policy',
    required: false,
    min: 1,
    max: 2048,
    pattern: [/^[\t\n\r\x20-\xff]+$/, '[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+'],
  },
} as const satisfies Record<string, Limit>

const POLICY_ARN_PARAMETER = /^PolicyArns\.member\.([1-9]\d{0,2})\.arn$/
const MAX_POLICY_ARNS = 10

/** Throws AwsError `ValidationError`; every broken limit is named, as STS does. */
export function readParameters(form: URLSearchParams): WebIdentityParameters {
  refuseUnknown(form)
  const problems = [
    ...Object.entries(LIMITS).flatMap(([name, limit]) => broken(form.get(name), limit)),
    ...brokenDuration(form.get('DurationSeconds')),
  ]
  if (problems.length > 0) {
    throw invalid(
      `${problems.length} validation error${problems.length > 1 ? 's' : ''} detected: ${problems.join('; ')}`,
    )
  }
  const roleArn = form.get('RoleArn') ?? ''
  if (!ROLE_ARN.test(roleArn)) throw invalid(`${roleArn} is invalid`)
  const policy = form.get('Policy')
  return {
    roleArn,
    roleSessionName: form.get('RoleSessionName') ?? '',
    webIdentityToken: form.get('WebIdentityToken') ?? '',
    durationSeconds: Number(form.get('DurationSeconds') ?? 3600),
    policy,
    policyArns: readPolicyArns(form, policy?.length ?? 0),
    providerId: form.get('ProviderId'),
  }
}

/** The real STS may shrug at a parameter that it does not know; for us it is a misspelling to be found. */
function refuseUnknown(form: URLSearchParams): void {
  const known = ['Action', 'Version', 'DurationSeconds', ...Object.keys(LIMITS)]
  const names = [...form.keys()]
  const stranger = names.find((name) => !known.includes(name) && !POLICY_ARN_PARAMETER.test(name))
  if (stranger !== undefined) throw invalid(`Unknown parameter ${stranger}`)
  if (new Set(names).size < names.length) throw invalid('A parameter appears more than once')
}

function broken(value: string | null, limit: Limit): string[] {
  const failed = (constraint: string) =>
    `Value ${quoted(value, limit)} at '${limit.at}' failed to satisfy constraint: ${constraint}`
  if (value === null) return limit.required ? [failed('Member must not be null')] : []
  return [
    ...(value.length < limit.min
      ? [failed(`Member must have length greater than or equal to ${limit.min}`)]
      : []),
    ...(value.length > limit.max
      ? [failed(`Member must have length less than or equal to ${limit.max}`)]
      : []),
    ...(limit.pattern?.[0].test(value) === false
      ? [failed(`Member must satisfy regular expression pattern: ${limit.pattern[1]}`)]
      : []),
  ]
}

function quoted(value: string | null, limit: Limit): string {
  if (value === null) return 'null'
  return limit.secret ? "'***'" : `'${value}'`
}

function brokenDuration(value: string | null): string[] {
  if (value === null) return []
  const failed = (constraint: string) =>
    `Value '${value}' at 'durationSeconds' failed to satisfy constraint: ${constraint}`
  if (!/^\d{1,9}$/.test(value)) return [failed('Member must be an integer')]
  if (Number(value) < 900) return [failed('Member must have value greater than or equal to 900')]
  return Number(value) > 43_200
    ? [failed('Member must have value less than or equal to 43200')]
    : []
}

/** "The plaintext that you use for both inline and managed session policies can't exceed 2,048 characters." */
function readPolicyArns(form: URLSearchParams, inline: number): string[] {
  const numbered = [...form].flatMap(([name, value]) => {
    const number = POLICY_ARN_PARAMETER.exec(name)?.[1]
    return number === undefined ? [] : [{ number: Number(number), value }]
  })
  const arns = numbered.sort((a, b) => a.number - b.number).map(({ value }) => value)
  if (arns.length > MAX_POLICY_ARNS)
    throw invalid('At most 10 managed session policies may be passed.')
  const strange = arns.find((arn) => !POLICY_ARN.test(arn))
  if (strange !== undefined) throw invalid(`${strange} is invalid`)
  const total = arns.reduce((sum, arn) => sum + arn.length, inline)
  if (total > 2048) {
    throw invalid('The plaintext of inline and managed session policies exceeds 2048 characters.')
  }
  return arns
}

function invalid(message: string): AwsError {
  return new AwsError('ValidationError', message)
}
