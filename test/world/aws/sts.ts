import { randomBytes, randomInt } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { assumedRoleArn, type Provider, type Role, type Session, type State } from './account.ts'
import { AwsError, branch, leaf, type Answer } from './answer.ts'
import { authorize, isoSeconds, prefixed, settingContext, type Setting } from './authorize.ts'
import { evaluate, type Context } from './iam.ts'
import {
  checkRole,
  judgeClaims,
  readToken,
  verifySignature,
  type WebIdentity,
} from './identity-token.ts'
import { verificationKey, type Issuers } from './issuer.ts'
import { readParameters, type WebIdentityParameters } from './parameters.ts'
import { parsePolicy, type Policy } from './policy.ts'
import { authenticate, type Arrived } from './sigv4.ts'

/** The Security Token Service over the query protocol. */
export interface StsWorld {
  readonly state: State
  readonly issuers: Issuers
}

/** What a call was about, for the log: verified facts, no secrets. Filled in as they become known. */
export type About = Record<string, string>

const VERSION = '2011-06-15'
const XMLNS = `https://sts.amazonaws.com/doc/${VERSION}/`

/** Throws AwsError. */
export async function answerSts(
  form: URLSearchParams,
  arrived: Arrived,
  { world, setting, about }: { world: StsWorld; setting: Setting; about: About },
): Promise<Answer> {
  const action = form.get('Action') ?? ''
  if (form.get('Version') !== VERSION) throw noOperation(action, form.get('Version'))
  if (action === 'AssumeRoleWithWebIdentity') {
    return reply(
      action,
      await assumeRoleWithWebIdentity(readParameters(form), { world, setting, about }),
    )
  }
  if (action !== 'GetCallerIdentity' && action !== 'AssumeRole') throw noOperation(action, VERSION)
  const session = authenticate(arrived, 'sts', { now: setting.now, sessions: world.state.sessions })
  about['principal'] = assumedRoleArn(session)
  if (action === 'AssumeRole') return assumeRole(form, session, { setting, about })
  // Needs no permission, and no policy can deny it.
  return reply(action, [
    leaf('Arn', assumedRoleArn(session)),
    leaf('UserId', `${session.role.id}:${session.name}`),
    leaf('Account', session.role.account),
  ])
}

interface Call {
  readonly world: StsWorld
  readonly setting: Setting
  readonly about: About
}

async function assumeRoleWithWebIdentity(
  parameters: WebIdentityParameters,
  { world, setting, about }: Call,
): Promise<string[]> {
  about['roleArn'] = parameters.roleArn
  about['roleSessionName'] = parameters.roleSessionName
  about['durationSeconds'] = String(parameters.durationSeconds)
  if (parameters.policy !== null) about['policy'] = parameters.policy
  if (parameters.policyArns.length > 0) about['policyArns'] = parameters.policyArns.join()
  refuseProviderId(parameters.providerId)
  const sessionPolicies = readSessionPolicies(parameters, world.state)
  const { provider, identity } = await authenticateToken(parameters, world, setting.now)
  about['subject'] = identity.subject
  about['tags'] = JSON.stringify(identity.tags)
  about['sourceIdentity'] = identity.sourceIdentity ?? ''
  checkRole(identity.roles, parameters.roleArn)
  const role = checkTrust(parameters, { provider, identity }, world.state, setting)
  if (parameters.durationSeconds > role.maxSessionDuration) {
    const message =
      'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.'
    throw new AwsError('ValidationError', message)
  }
  const packed = packedSize(parameters, identity)
  const grant = { parameters, provider, identity, role, sessionPolicies, packed }
  const session = newSession(grant, setting.now)
  world.state.sessions.set(session.accessKeyId, session)
  about['principal'] = assumedRoleArn(session)
  return grantReply(session, packed)
}

/** Only for opaque tokens of two providers; a JWT with it is somebody's mistake. */
function refuseProviderId(providerId: string | null): void {
  if (providerId === null) return
  if (providerId === 'www.amazon.com') {
    const message = 'Provided Token is not a Login With Amazon token'
    throw new AwsError('InvalidIdentityToken', message)
  }
  if (providerId === 'graph.facebook.com') {
    throw new AwsError('IDPRejectedClaim', 'The token is not a Facebook token', 403)
  }
  throw notAuthorized('unknown ProviderId')
}

function readSessionPolicies(
  { policy, policyArns }: WebIdentityParameters,
  state: State,
): readonly Policy[] | null {
  const managed = policyArns.map((arn) => {
    const document = state.managedPolicies.get(arn)
    if (document === undefined) {
      throw new AwsError('MalformedPolicyDocument', `Policy ${arn} does not exist.`)
    }
    return document
  })
  if (policy === null) return managed.length > 0 ? managed : null
  return [parsePolicy('permission', policy), ...managed]
}

interface Authenticated {
  readonly provider: Provider
  readonly identity: WebIdentity
}

async function authenticateToken(
  { webIdentityToken, roleArn }: WebIdentityParameters,
  { state, issuers }: StsWorld,
  now: number,
): Promise<Authenticated> {
  const token = readToken(webIdentityToken)
  const provider = findProvider(token.claims['iss'], roleArn.split(':')[4] ?? '', state)
  const identity = judgeClaims(token.claims, provider, now)
  const key = await verificationKey(provider, token, issuers)
  verifySignature(webIdentityToken, key, provider.url)
  return { provider, identity }
}

function findProvider(issuer: unknown, account: string, state: State): Provider {
  if (typeof issuer !== 'string') {
    throw new AwsError('InvalidIdentityToken', 'Missing a required claim: iss')
  }
  const host = issuer.replace(/^https?:\/\//, '')
  const provider = state.providers.get(`arn:aws:iam::${account}:oidc-provider/${host}`)
  if (provider?.url === issuer) return provider
  throw new AwsError(
    'InvalidIdentityToken',
    `No OpenIDConnect provider found in your account for ${issuer}`,
  )
}

/** The role's trust policy must allow every act that the token asks for, each for itself. */
function checkTrust(
  parameters: WebIdentityParameters,
  { provider, identity }: Authenticated,
  state: State,
  setting: Setting,
): Role {
  const role = state.roles.get(parameters.roleArn)
  if (role === undefined) throw notAuthorized('no such role')
  const tagged = Object.keys(identity.tags).length > 0
  const actions = [
    'sts:AssumeRoleWithWebIdentity',
    ...(tagged ? ['sts:TagSession'] : []),
    ...(identity.sourceIdentity === null ? [] : ['sts:SetSourceIdentity']),
  ]
  const context = trustContext(parameters, { provider, identity }, role, setting)
  for (const action of actions) {
    const verdict = evaluate([role.trust], { action, federated: provider.arn, context })
    if (verdict !== 'allowed') throw notAuthorized(`trust policy: ${action} ${verdict}`)
  }
  return role
}

function trustContext(
  { roleSessionName }: WebIdentityParameters,
  { provider, identity }: Authenticated,
  role: Role,
  setting: Setting,
): Context {
  const keys = Object.keys(identity.tags)
  return {
    ...settingContext(setting),
    [`${provider.host}:aud`]: identity.audience,
    [`${provider.host}:sub`]: identity.subject,
    [`${provider.host}:amr`]: identity.amr,
    'aws:FederatedProvider': provider.arn,
    'aws:PrincipalAccount': role.account,
    'aws:userid': provider.arn,
    'aws:TagKeys': keys.length > 0 ? keys : undefined,
    'sts:TransitiveTagKeys':
      identity.transitiveTagKeys.length > 0 ? identity.transitiveTagKeys : undefined,
    'sts:RoleSessionName': roleSessionName,
    'sts:SourceIdentity': identity.sourceIdentity ?? undefined,
    'sts:RoleAuthorizedByIdp': String(identity.roles !== null),
    ...prefixed('aws:RequestTag/', identity.tags),
  }
}

/**
 * Per cent of the room for policies and tags. AWS keeps the packing to itself: this estimate is fitted to
 * measured sizes (25 with a short subject and nothing else, 34 with one of 300 characters).
 */
function packedSize(
  { policy, policyArns }: WebIdentityParameters,
  { subject, sourceIdentity, tags }: WebIdentity,
): number {
  const compressed = deflateRawSync(JSON.stringify([policy, policyArns, tags])).length
  const plain = subject.length + (sourceIdentity?.length ?? 0)
  const size = 24 + Math.floor((compressed + plain) / 32)
  if (size <= 100) return size
  throw new AwsError(
    'PackedPolicyTooLarge',
    `Packed size of session policies and session tags consumes ${size}% of allotted space.`,
  )
}

interface Grant extends Authenticated {
  readonly parameters: WebIdentityParameters
  readonly role: Role
  readonly sessionPolicies: readonly Policy[] | null
  readonly packed: number
}

const MAX_TOKEN = 4096

function newSession(grant: Grant, now: number): Session {
  const { parameters, provider, identity, role, sessionPolicies, packed } = grant
  // Whole seconds, rounded down: never longer than asked.
  const issuedAt = Math.floor(now / 1000) * 1000
  return {
    accessKeyId: `ASIA${randomId()}`,
    secretAccessKey: randomBytes(30).toString('base64'),
    sessionToken: randomBytes(Math.floor((packed * MAX_TOKEN) / 400) * 3).toString('base64'),
    issuedAt,
    expiresAt: issuedAt + parameters.durationSeconds * 1000,
    role,
    name: parameters.roleSessionName,
    provider,
    subject: identity.subject,
    audience: identity.audience,
    tags: identity.tags,
    sourceIdentity: identity.sourceIdentity,
    sessionPolicies,
  }
}

/** 16 characters of the alphabet of AWS's unique ids. */
export function randomId(): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
  return Array.from({ length: 16 }, () => alphabet[randomInt(alphabet.length)]).join('')
}

function grantReply(session: Session, packed: number): string[] {
  return [
    leaf('SubjectFromWebIdentityToken', session.subject),
    leaf('Audience', session.audience),
    branch(
      'AssumedRoleUser',
      leaf('Arn', assumedRoleArn(session)),
      leaf('AssumedRoleId', `${session.role.id}:${session.name}`),
    ),
    branch(
      'Credentials',
      leaf('AccessKeyId', session.accessKeyId),
      leaf('SecretAccessKey', session.secretAccessKey),
      leaf('SessionToken', session.sessionToken),
      leaf('Expiration', isoSeconds(session.expiresAt)),
    ),
    // Measured: for a provider of one's own this is its ARN, whatever the model's prose says.
    leaf('Provider', session.provider.arn),
    leaf('PackedPolicySize', packed),
    leaf('SessionTokenUtilization', packed),
    leaf('SessionTokenSize', session.sessionToken.length),
    ...(session.sourceIdentity === null ? [] : [leaf('SourceIdentity', session.sourceIdentity)]),
  ]
}

/** Chaining: judged like AWS, and then not done. */
function assumeRole(
  form: URLSearchParams,
  session: Session,
  { setting, about }: { setting: Setting; about: About },
): Answer {
  const roleArn = form.get('RoleArn') ?? ''
  about['roleArn'] = roleArn
  authorize(session, { action: 'sts:AssumeRole', resource: roleArn }, setting)
  throw new AwsError('NotImplemented', 'AssumeRole is authorized, and not implemented here.', 501)
}

function reply(action: string, result: readonly string[]): Answer {
  return {
    status: 200,
    headers: { 'content-type': 'text/xml' },
    body: `<${action}Response xmlns="${XMLNS}">${branch(`${action}Result`, ...result)}</${action}Response>`,
  }
}

/** The error document of the query protocol. */
export function stsError(error: AwsError, requestId: string): Answer {
  const type = error.status < 500 ? 'Sender' : 'Receiver'
  const inner = branch(
    'Error',
    leaf('Type', type),
    leaf('Code', error.code),
    leaf('Message', error.message),
  )
  return {
    status: error.status,
    headers: { 'content-type': 'text/xml' },
    body: `<ErrorResponse xmlns="${XMLNS}">${inner}${leaf('RequestId', requestId)}</ErrorResponse>`,
  }
}

/** The metadata element that closes a success; the request id is not known any deeper. */
export function withRequestId(answer: Answer, requestId: string): Answer {
  const metadata = branch('ResponseMetadata', leaf('RequestId', requestId))
  return { ...answer, body: String(answer.body).replace(/(<\/\w+Response>)$/, `${metadata}$1`) }
}

function notAuthorized(why: string): AwsError {
  const message = 'Not authorized to perform sts:AssumeRoleWithWebIdentity'
  return new AwsError('AccessDenied', message, 403, why)
}

function noOperation(action: string, version: string | null): AwsError {
  const message = `Could not find operation ${action} for version ${version ?? 'NO_VERSION_SPECIFIED'}`
  return new AwsError('InvalidAction', message)
}
