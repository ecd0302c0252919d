import type {
  AwsReply,
  AzureReply,
  Code,
  Explain,
  ExplainedBlock,
  ExplainedGrant,
  ExplainedLine,
  GcpReply,
  Problem,
  Revocable,
  SessionReply,
  SessionsReply,
  TokenReply,
} from '../server/api.ts'
import { Failure } from './failure.ts'
import { plain } from './text.ts'

/** Nothing of the broker's reply is used unless it passed a closed pattern here, or `plain`. */

type Json = Readonly<Record<string, unknown>>

/** What it takes to end a session. */
export interface Handle {
  readonly id: string
  readonly token: string
}

const SESSION_ID = /^ses_[0-9A-HJKMNP-TV-Z]{26}$/
const SESSION_TOKEN = /^[\w-]{16,256}$/
const SECRET = /^[\x21-\x7e]{1,16384}$/
const WORDS = /^[\x20-\x7e]{0,1024}$/
const DATE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/
const TARGETS = ['aws', 'azure', 'gcp', 'token']

const record = (value: unknown): Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}

const list = (value: unknown, most: number): readonly unknown[] =>
  Array.isArray(value) ? value.slice(0, most) : []

/** JSON or undefined. */
export const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The sessions that a 201 opened, read on its own and leniently: whatever else is wrong with it, they can be ended. */
export const readHandles = (json: unknown): readonly Handle[] =>
  list(record(json)['sessions'], 10).flatMap((each) => {
    const { id, token } = record(each)
    return matches(id, SESSION_ID) && matches(token, SESSION_TOKEN) ? [{ id, token }] : []
  })

const matches = (value: unknown, pattern: RegExp): value is string =>
  typeof value === 'string' && pattern.test(value)

const malformed = (name: string): Failure =>
  new Failure('broker_reply_malformed', `The broker's reply has no usable "${name}".`)

const member = (of: Json, name: string, pattern: RegExp): string => {
  const value = of[name]
  if (matches(value, pattern)) return value
  throw malformed(name)
}

/** The body of a 201: one session for each grant that was asked for, in that order. */
export const readSessions = (json: unknown, asked: readonly string[]): SessionsReply => {
  const reply = record(json)
  const receipt = record(reply['receipt'])
  const position = receipt['position']
  if (typeof position !== 'number' || !Number.isSafeInteger(position)) throw malformed('receipt')
  const sessions = list(reply['sessions'], asked.length + 1).map((each) =>
    readSession(record(each)),
  )
  const inOrder = asked.map((grant) => {
    const [session, second] = sessions.filter((each) => each.grant === grant)
    if (session === undefined || second !== undefined) throw malformed('sessions')
    return session
  })
  if (sessions.length !== asked.length) throw malformed('sessions')
  return {
    decision_id: member(reply, 'decision_id', /^dec_\w{26}$/),
    revision: member(reply, 'revision', /^[\w.:/@+=-]{1,256}$/),
    receipt: { position, hash: member(receipt, 'hash', /^[0-9a-f]{64}$/) },
    sessions: inOrder,
  }
}

const readSession = (session: Json): SessionReply => {
  const targets = record(session['targets'])
  const names = Object.keys(targets)
  const unknown = names.find((name) => !TARGETS.includes(name))
  if (unknown !== undefined)
    throw new Failure(
      'target_unsupported',
      `The grant brings credentials of a kind that this version does not know: ${plain(unknown, 40)}.`,
    )
  if (names.length === 0) throw malformed('targets')
  return {
    id: member(session, 'id', SESSION_ID),
    token: member(session, 'token', SESSION_TOKEN),
    grant: member(session, 'grant', /^[a-z][a-z0-9-]{1,62}$/),
    expires_at: date(session),
    targets: {
      ...('aws' in targets ? { aws: readAws(record(targets['aws'])) } : {}),
      ...('azure' in targets ? { azure: readAzure(record(targets['azure'])) } : {}),
      ...('gcp' in targets ? { gcp: readGcp(record(targets['gcp'])) } : {}),
      ...('token' in targets ? { token: readTokenReply(record(targets['token'])) } : {}),
    },
  }
}

const readAws = (aws: Json): AwsReply => ({
  access_key_id: member(aws, 'access_key_id', /^\w{4,128}$/),
  secret_access_key: member(aws, 'secret_access_key', SECRET),
  session_token: member(aws, 'session_token', SECRET),
  account_id: member(aws, 'account_id', /^\d{12}$/),
  role_arn: member(aws, 'role_arn', /^arn:aws[a-z-]*:iam::\d{12}:role\/[\x21-\x7e]{1,600}$/),
  region: member(aws, 'region', /^[a-z]{2,4}(-[a-z]{2,12}){1,3}-\d{1,2}$/),
  expires_at: date(aws),
  revocable: revocable(aws),
})

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

const readAzure = (azure: Json): AzureReply => {
  const tokens = list(azure['tokens'], 10).map((each) => readAzureToken(record(each)))
  if (tokens.length === 0) throw malformed('tokens')
  return {
    tenant_id: member(azure, 'tenant_id', GUID),
    client_id: member(azure, 'client_id', GUID),
    subscription_id:
      azure['subscription_id'] === null ? null : member(azure, 'subscription_id', GUID),
    tokens,
    expires_at: date(azure),
    revocable: revocable(azure),
  }
}

const readAzureToken = (token: Json): AzureReply['tokens'][number] => ({
  scope: member(token, 'scope', /^[\x21-\x7e]{1,512}$/),
  access_token: member(token, 'access_token', /^[\w.~+/-]{1,16384}=*$/),
  expires_at: date(token),
})

const readGcp = (gcp: Json): GcpReply => ({
  access_token: member(gcp, 'access_token', /^[\w.~+/-]{1,16384}=*$/),
  project_id: member(gcp, 'project_id', /^[a-z0-9][a-z0-9.:-]{1,128}$/),
  service_account:
    gcp['service_account'] === null
      ? null
      : member(gcp, 'service_account', /^[a-z0-9-]{1,64}@[a-z0-9.-]{1,190}$/),
  scopes: scopesOf(gcp),
  expires_at: date(gcp),
  revocable: revocable(gcp),
})

const scopesOf = ({ scopes }: Json): readonly string[] =>
  list(scopes, 64).map((scope) => {
    if (matches(scope, /^https:\/\/[\w./-]{1,256}$/)) return scope
    throw malformed('scopes')
  })

const readTokenReply = (token: Json): TokenReply => ({
  token: member(token, 'token', /^[\w.~+/-]{1,16384}=*$/),
  token_type: member(token, 'token_type', /^(DPoP|Bearer)$/) as TokenReply['token_type'],
  audience: member(token, 'audience', /^[\x21-\x7e]{1,1024}$/),
  scope: member(token, 'scope', WORDS),
  expires_at: date(token),
  revocable: revocable(token),
})

const revocable = (of: Json): Revocable =>
  member(of, 'revocable', /^(immediate|eventual|expiry_only)$/) as Revocable

/** RFC 3339 in UTC and whole seconds, rounded down. */
const date = (of: Json): string => {
  const at = Date.parse(member(of, 'expires_at', DATE))
  if (Number.isNaN(at)) throw malformed('expires_at')
  return new Date(Math.floor(at / 1000) * 1000).toISOString().replace('.000Z', 'Z')
}

/** A problem+json body (RFC 9457), every text in it made plain; null if it is none. */
export const readProblem = (json: unknown, status: number): Problem | null => {
  const problem = record(json)
  const { code, explain } = problem
  if (!matches(code, /^[a-z][a-z0-9_]{1,63}$/)) return null
  const decision = problem['decision_id']
  return {
    type: words(problem['type']),
    title: words(problem['title']),
    status,
    code: code as Code,
    detail: words(problem['detail']),
    hint: words(problem['hint']),
    request_id: words(problem['request_id'], 64),
    ...(matches(decision, /^dec_\w{26}$/) ? { decision_id: decision } : {}),
    ...(explain === undefined ? {} : { explain: readExplain(record(explain)) }),
  }
}

const words = (value: unknown, limit?: number): string =>
  typeof value === 'string' ? plain(value, limit) : ''

const readExplain = (explain: Json): Explain => ({
  claims: Object.fromEntries(
    Object.entries(record(explain['claims']))
      .slice(0, 100)
      .map(([name, value]) => [plain(name, 64), words(value)]),
  ),
  grants: list(explain['grants'], 10).map((each) => readGrant(record(each))),
})

const readGrant = (grant: Json): ExplainedGrant => ({
  grant: words(grant['grant'], 64),
  blocks: list(grant['blocks'], 20).map((each) => readBlock(record(each))),
})

const readBlock = (block: Json): ExplainedBlock => ({
  ...(typeof block['at'] === 'string' ? { at: words(block['at'], 300) } : {}),
  lines: list(block['lines'], 50).map((each) => readLine(record(each))),
})

const readLine = (line: Json): ExplainedLine => ({
  claim: words(line['claim'], 64),
  held: line['held'] === true,
  got: typeof line['got'] === 'string' ? words(line['got']) : null,
  ...(typeof line['wanted'] === 'string' ? { wanted: words(line['wanted']) } : {}),
})
