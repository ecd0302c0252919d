import type {
  ExplainedBlock,
  ExplainedLine,
  Problem,
  Revocable,
  SessionsReply,
  TargetName,
} from '../server/api.ts'
import type { Failure } from './failure.ts'
import { code, prose } from './text.ts'

/** Texts for people. Strings in, strings out; what came from the network was made plain by reply.ts. */

/** An annotation; @actions/core escapes it. */
export interface Annotation {
  readonly title: string
  readonly message: string
}

const REVOCABLE = {
  immediate: 'yes, at once',
  eventual: 'yes, after a while',
  expiry_only: 'no, they work until they expire',
} as const satisfies Record<Revocable, string>

/** The grants that a refusal speaks of: those it explains, or else all that were asked for. */
const refusedGrants = (problem: Problem, asked: readonly string[]): string => {
  const named = problem.explain?.grants.map(({ grant }) => grant) ?? []
  return (named.length === 0 ? asked : named).join(', ')
}

/** A refusal by the broker, for the job's log. */
export const refusalAnnotation = (problem: Problem, asked: readonly string[]): Annotation => {
  const nearest = problem.explain?.grants.flatMap(({ grant, blocks }) => {
    const [block] = blocks
    return block === undefined ? [] : [...logLines(block), nearestRule(grant, block), '']
  })
  const ids = [
    ...(problem.decision_id === undefined ? [] : [`decision ${problem.decision_id}`]),
    ...(problem.request_id === '' ? [] : [`request ${problem.request_id}`]),
  ]
  return {
    title: `TVM refused ${refusedGrants(problem, asked)}`,
    message: [
      `${problem.detail} (${problem.code})`,
      ...(nearest ?? []),
      ...(problem.hint === '' ? [] : [`Hint: ${problem.hint}`]),
      ...(ids.length === 0 ? [] : [`For the operators: ${ids.join(', ')}`]),
    ].join('\n'),
  }
}

const mark = ({ held }: ExplainedLine): string => (held ? '✓' : '✗')

const NONE = '(none)'

const logLines = (block: ExplainedBlock): readonly string[] => {
  const width = Math.max(0, ...block.lines.map(({ claim }) => claim.length))
  return block.lines.map((line) => {
    const wanted = line.held || line.wanted === undefined ? '' : `  policy wants: ${line.wanted}`
    return `  ${mark(line)} ${line.claim.padEnd(width)}  ${line.got ?? NONE}${wanted}`
  })
}

const nearestRule = (grant: string, { at, lines }: ExplainedBlock): string => {
  const failed = lines.filter(({ held }) => !held).length
  const where = at === undefined ? '' : ` at ${at}`
  return `  nearest rule of ${grant}${where}: ${failed} of ${lines.length} lines did not hold`
}

/** A refusal by the broker, for the job summary: the rule that came nearest, and the job's own claims folded away. */
export const refusalSummary = (problem: Problem, asked: readonly string[]): string =>
  paragraphs([
    `### TVM refused ${prose(refusedGrants(problem, asked))}`,
    `${prose(problem.detail)} (${code(problem.code)})`,
    ...(problem.explain?.grants ?? []).flatMap(({ grant, blocks }) =>
      blocks.slice(0, 1).flatMap((block) => [ruleTable(block), ruleSentence(grant, block)]),
    ),
    problem.hint === '' ? '' : `**Hint:** ${prose(problem.hint)}`,
    idsSentence(problem),
    claimsDetails(problem.explain?.claims ?? {}),
  ])

const ruleTable = ({ lines }: ExplainedBlock): string =>
  table(
    ['', 'claim', 'this job has', 'the policy wants'],
    lines.map((line) => [
      mark(line),
      code(line.claim),
      line.got === null ? NONE : code(line.got),
      line.wanted === undefined ? '(not shown)' : code(line.wanted),
    ]),
  )

const ruleSentence = (grant: string, block: ExplainedBlock): string => {
  const failed = block.lines.filter(({ held }) => !held).length
  const where = block.at === undefined ? '' : ` stands at ${code(block.at)};`
  return `The nearest rule of ${code(grant)}${where} ${failed} of its ${block.lines.length} lines did not hold.`
}

const idsSentence = ({ decision_id, request_id }: Problem): string => {
  const ids = [
    ...(decision_id === undefined ? [] : [`decision ${code(decision_id)}`]),
    ...(request_id === '' ? [] : [`request ${code(request_id)}`]),
  ]
  return ids.length === 0 ? '' : `For the operators: ${ids.join(', ')}.`
}

const claimsDetails = (claims: Readonly<Record<string, string>>): string => {
  const rows = Object.entries(claims).map(([name, value]) => [code(name), code(value)])
  if (rows.length === 0) return ''
  const heading = '<details><summary>The claims of this job</summary>'
  return paragraphs([heading, table(['claim', 'value'], rows), '</details>']).trimEnd()
}

/** A step that ended without an answer of the broker. */
export const failureAnnotation = (failure: Failure): Annotation => ({
  title: 'TVM gave no credentials',
  message: `${failure.message} (${failure.code})\nHint: ${failure.hint}`,
})

/** As `failureAnnotation`; a hint's first line is prose, what follows it is shown as it is written. */
export const failureSummary = (failure: Failure): string => {
  const [hint = '', ...more] = failure.hint.split('\n')
  const rest = more.join('\n').trim()
  return paragraphs([
    '### TVM gave no credentials',
    `${failure.message.split('\n').map(prose).join('<br>')} (${code(failure.code)})`,
    `**Hint:** ${prose(hint)}`,
    rest === '' ? '' : `\`\`\`yaml\n${rest.split('\n\n')[0] ?? ''}\n\`\`\``,
    prose(rest.split('\n\n')[1] ?? ''),
  ])
}

/** What one target handed out, without secrets; also the `granted` output. */
export interface GrantedTarget {
  readonly role_arn?: string
  readonly account_id?: string
  readonly region?: string
  readonly client_id?: string
  readonly project_id?: string
  readonly service_account?: string
  readonly audience?: string
  readonly scope?: string
  readonly expires_at: string
  readonly revocable: Revocable
}

export interface GrantedSession {
  readonly session_id: string
  readonly targets: Readonly<Partial<Record<TargetName, GrantedTarget>>>
}

/** Grant name → what it brought. */
export type Granted = Readonly<Record<string, GrantedSession>>

/** `awsRegion`: the region that the step was asked to export instead of the grant's. */
export const grantedBy = (reply: SessionsReply, awsRegion: string | null): Granted =>
  Object.fromEntries(
    reply.sessions.map(({ id, grant, targets: { aws, azure, gcp, token } }) => {
      const targets = {
        ...(aws === undefined ? {} : { aws: awsFacts(aws, awsRegion) }),
        ...(azure === undefined ? {} : { azure: azureFacts(azure) }),
        ...(gcp === undefined ? {} : { gcp: gcpFacts(gcp) }),
        ...(token === undefined ? {} : { token: tokenFacts(token) }),
      }
      return [grant, { session_id: id, targets }]
    }),
  )

type Aws = NonNullable<SessionsReply['sessions'][number]['targets']['aws']>
type Azure = NonNullable<SessionsReply['sessions'][number]['targets']['azure']>
type Gcp = NonNullable<SessionsReply['sessions'][number]['targets']['gcp']>
type Token = NonNullable<SessionsReply['sessions'][number]['targets']['token']>

const awsFacts = (aws: Aws, awsRegion: string | null): GrantedTarget => ({
  role_arn: aws.role_arn,
  account_id: aws.account_id,
  region: awsRegion ?? aws.region,
  expires_at: aws.expires_at,
  revocable: aws.revocable,
})

const azureFacts = (azure: Azure): GrantedTarget => ({
  client_id: azure.client_id,
  scope: azure.tokens.map(({ scope }) => scope).join(' '),
  expires_at: azure.expires_at,
  revocable: azure.revocable,
})

/** Without an account the job is itself, in its project. */
const gcpFacts = (gcp: Gcp): GrantedTarget => ({
  project_id: gcp.project_id,
  ...(gcp.service_account !== null && { service_account: gcp.service_account }),
  expires_at: gcp.expires_at,
  revocable: gcp.revocable,
})

const tokenFacts = ({ audience, scope, expires_at, revocable }: Token): GrantedTarget => ({
  audience,
  scope,
  expires_at,
  revocable,
})

/** The earliest end of anything granted, RFC 3339. */
export const earliestExpiry = (granted: Granted): string =>
  targetsOf(granted)
    .map(({ facts }) => facts.expires_at)
    .sort()[0] ?? ''

const targetsOf = (granted: Granted) =>
  Object.entries(granted).flatMap(([grant, { targets }]) =>
    Object.entries(targets).map(([target, facts]) => ({ grant, target, facts })),
  )

/** What the credentials are for, in one word. */
const nameOf = (facts: GrantedTarget): string =>
  facts.role_arn ??
  facts.client_id ??
  facts.service_account ??
  facts.project_id ??
  facts.audience ??
  ''

/** One line for each target, for the log. */
export const grantedLines = (granted: Granted): readonly string[] =>
  targetsOf(granted).map(
    ({ grant, target, facts }) =>
      `TVM granted ${grant}: ${target} ${nameOf(facts)} until ${facts.expires_at}`,
  )

/** What was granted, for the job summary, and where the broker's record of it stands. */
export const grantSummary = (granted: Granted, reply: SessionsReply): string =>
  paragraphs([
    '### TVM granted credentials to this job',
    table(
      ['grant', 'target', 'identity', 'scope', 'expires', 'can be revoked'],
      targetsOf(granted).map(({ grant, target, facts }) => [
        code(grant),
        target,
        code(facts.role_arn ?? facts.client_id ?? facts.audience ?? ''),
        code(facts.region ?? facts.scope ?? ''),
        code(facts.expires_at),
        REVOCABLE[facts.revocable],
      ]),
    ),
    `Decision ${code(reply.decision_id)}, policy revision ${code(reply.revision)}, ` +
      `receipt ${code(`${reply.receipt.position}:${reply.receipt.hash}`)}.`,
  ])

/** A variable that an earlier step had set and this one changed. */
export const replacedNotice = (names: readonly string[]): Annotation => ({
  title: 'TVM replaced variables of this job',
  message: `An earlier step had set ${names.join(', ')}; they now belong to the credentials of this step.`,
})

const paragraphs = (parts: readonly string[]): string =>
  `${parts.filter((part) => part !== '').join('\n\n')}\n\n`

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
