import { assumedRoleArn, type Session } from './account.ts'
import { AwsError } from './answer.ts'
import { evaluate, type Context } from './iam.ts'

/** The moment and place of a request: what IAM knows of it beside the caller. */
export interface Setting {
  /** Milliseconds. */
  readonly now: number
  /** An IP address. */
  readonly sourceIp: string
}

export interface Ask {
  readonly action: string
  /** An ARN. */
  readonly resource: string
  readonly context?: Context
}

/** Throws AwsError `AccessDenied` unless role and session policies both allow and neither denies. */
export function authorize(session: Session, ask: Ask, setting: Setting): void {
  const refusal = refusalOf(session, ask, setting)
  if (refusal === null) return
  const message = `User: ${assumedRoleArn(session)} is not authorized to perform: ${ask.action} on resource: "${ask.resource}" ${refusal}`
  throw new AwsError('AccessDenied', message, 403)
}

export function isAuthorized(session: Session, ask: Ask, setting: Setting): boolean {
  return refusalOf(session, ask, setting) === null
}

/** The end of AWS's sentence; null when the session may. */
function refusalOf(session: Session, ask: Ask, setting: Setting): string | null {
  const question = {
    action: ask.action,
    resource: ask.resource,
    context: { ...sessionContext(session, setting), ...ask.context },
  }
  const identity = evaluate(session.role.policies, question)
  const bounded = session.sessionPolicies && evaluate(session.sessionPolicies, question)
  if (identity === 'denied') return 'with an explicit deny in an identity-based policy'
  if (bounded === 'denied') return 'with an explicit deny in a session policy'
  if (identity !== 'allowed')
    return `because no identity-based policy allows the ${ask.action} action`
  if (bounded === null || bounded === 'allowed') return null
  return `because no session policy allows the ${ask.action} action`
}

function sessionContext(session: Session, setting: Setting): Context {
  const { role, provider, tags } = session
  return {
    ...settingContext(setting),
    'aws:FederatedProvider': provider.arn,
    'aws:PrincipalAccount': role.account,
    'aws:PrincipalArn': role.arn,
    'aws:TokenIssueTime': isoSeconds(session.issuedAt),
    'aws:userid': `${role.id}:${session.name}`,
    'aws:SourceIdentity': session.sourceIdentity ?? undefined,
    [`${provider.host}:aud`]: session.audience,
    [`${provider.host}:sub`]: session.subject,
    ...prefixed('aws:PrincipalTag/', tags),
  }
}

/** Keys that every request has. */
export function settingContext({ now, sourceIp }: Setting): Context {
  return {
    'aws:CurrentTime': isoSeconds(now),
    'aws:EpochTime': String(Math.floor(now / 1000)),
    'aws:SourceIp': sourceIp,
    'aws:ViaAWSService': 'false',
  }
}

export function prefixed(prefix: string, tags: Readonly<Record<string, string>>): Context {
  return Object.fromEntries(Object.entries(tags).map(([key, value]) => [prefix + key, value]))
}

/** `2026-11-22T01:27:00Z` */
export function isoSeconds(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, 'Z')
}
