import { readFileSync, statSync } from 'node:fs'
import { Failure, FAILURES, type FailureCode } from './failure.ts'
import { pauseBefore, type Clock } from './pause.ts'
import { send, type Answer, type NoAnswer } from './request.ts'

/** Where the runner lets this job ask for ID tokens, and the token that lets it. */
export interface Endpoint {
  readonly url: string
  readonly token: string
}

const TRIES = 5
const TRY_MS = 10_000
const FIRST_PAUSE_MS = 250
const MAX_REPLY = 64 * 1024
const MAX_TOKEN = 16 * 1024

const PERMISSION = `

permissions:
  id-token: write
  contents: read

If the job is part of a reusable workflow, the job that calls it needs the same lines: a called workflow gets no permission that its caller lacks.`

/** The job's ID token endpoint; without one, the failure names the true cause. */
export const findEndpoint = (env: NodeJS.ProcessEnv): Endpoint => {
  const url = env['ACTIONS_ID_TOKEN_REQUEST_URL'] ?? ''
  const token = env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'] ?? ''
  if (url !== '' && token !== '' && URL.canParse(url)) return { url, token }
  const [code, sentence] = missingBecause(env, readEvent(env))
  const mends = code === 'no_id_token_permission' || code === 'no_id_token_dependabot'
  throw new Failure(code, sentence, FAILURES[code] + (mends ? PERMISSION : ''))
}

/** Which events run a pull request's own workflow file; pull_request_target and the like run the base's, with a token. */
const PULL_REQUEST = /^pull_request(_review|_review_comment)?$/

/** `event`: the webhook payload of the run, as far as it could be read. */
export const missingBecause = (
  env: NodeJS.ProcessEnv,
  event: unknown,
): readonly [FailureCode, string] => {
  if (env['ACT'] === 'true') return ['no_id_token_act', 'This job runs under nektos/act.']
  if (env['GITHUB_ACTIONS'] !== 'true')
    return ['not_on_a_runner', 'This is not a job of GitHub Actions.']
  if (PULL_REQUEST.test(env['GITHUB_EVENT_NAME'] ?? '') && isFromFork(env, event))
    return ['no_id_token_fork', 'This run belongs to a pull request from a fork.']
  if (env['GITHUB_ACTOR'] === 'dependabot[bot]')
    return ['no_id_token_dependabot', 'This run was started by Dependabot.']
  return ['no_id_token_permission', 'This job may not ask GitHub for an ID token.']
}

/** A fork that was deleted meanwhile is null in the payload. */
const isFromFork = (env: NodeJS.ProcessEnv, event: unknown): boolean => {
  const head = member(member(event, 'pull_request'), 'head')
  const repo = member(head, 'repo')
  if (repo === null) return true
  const name = member(repo, 'full_name')
  return typeof name === 'string' && !isSame(name, env['GITHUB_REPOSITORY'] ?? '')
}

const isSame = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase()

const member = (of: unknown, name: string): unknown =>
  typeof of === 'object' && of !== null ? (of as Record<string, unknown>)[name] : undefined

const readEvent = (env: NodeJS.ProcessEnv): unknown => {
  try {
    const path = env['GITHUB_EVENT_PATH'] ?? ''
    return statSync(path).size <= 32 * 1024 * 1024 ? JSON.parse(readFileSync(path, 'utf8')) : null
  } catch {
    return undefined
  }
}

/** What asking for a token takes. `deadline` is in milliseconds since the epoch. */
export interface TokenOrder {
  readonly endpoint: Endpoint
  readonly audience: string
  readonly deadline: number
  readonly clock: Clock
}

/**
 * A fresh ID token for the audience. Tries again, with jitter, on a broken network, 408, 429 and 5xx, never on
 * another 4xx; the client of @actions/core does neither and may hang for minutes.
 */
export const fetchIdToken = async (order: TokenOrder): Promise<string> => {
  const { clock, deadline } = order
  for (let tried = 1; ; tried++) {
    const answer = await send(tokenRequest(order, deadline - clock.now()))
    if (answer.ok && answer.status === 200) return readToken(answer)
    const pause = pauseBefore(tried + 1, FIRST_PAUSE_MS, clock.random)
    if (tried === TRIES || !isTransient(answer) || clock.now() + pause >= deadline)
      throw refused(answer, tried)
    await clock.sleep(pause)
  }
}

/** GitHub's own URL has a query already; its token service wants the audience appended to it. */
const tokenRequest = ({ endpoint, audience }: TokenOrder, left: number) => ({
  url: `${endpoint.url}${endpoint.url.includes('?') ? '&' : '?'}audience=${encodeURIComponent(audience)}`,
  method: 'GET' as const,
  headers: { Authorization: `Bearer ${endpoint.token}`, Accept: 'application/json' },
  timeoutMs: Math.min(TRY_MS, left),
  maxBytes: MAX_REPLY,
})

const isTransient = (answer: Answer | NoAnswer): boolean =>
  answer.ok
    ? answer.status === 408 || answer.status === 429 || answer.status >= 500
    : answer.why === 'network' || answer.why === 'timeout'

const readToken = (answer: Answer): string => {
  const token = member(parsed(answer.body), 'value')
  if (
    typeof token === 'string' &&
    token.length <= MAX_TOKEN &&
    /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)
  )
    return token
  throw new Failure('id_token_malformed', "GitHub's answer holds no ID token.")
}

const parsed = (body: string): unknown => {
  try {
    return JSON.parse(body)
  } catch {
    return null
  }
}

const refused = (answer: Answer | NoAnswer, tried: number): Failure => {
  if (answer.ok && !isTransient(answer))
    return new Failure('id_token_refused', `GitHub refused an ID token (HTTP ${answer.status}).`)
  const cause = answer.ok ? `HTTP ${answer.status}` : answer.cause
  const times = tried === 1 ? 'once' : `${tried} times`
  return new Failure('id_token_unavailable', `GitHub gave no ID token, asked ${times}: ${cause}.`)
}
