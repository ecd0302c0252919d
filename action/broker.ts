import type { Problem, SessionRequest } from '../server/api.ts'
import { Failure, type FailureCode } from './failure.ts'
import { fetchIdToken, type Endpoint } from './id-token.ts'
import type { Inputs } from './inputs.ts'
import { pauseBefore, retryAfter, type Clock } from './pause.ts'
import { makeProof, type JobKey } from './proof.ts'
import { parseJson, readProblem, type Handle } from './reply.ts'
import { seconds, send, type Answer, type Ask, type NoAnswer } from './request.ts'

const MAX_REPLY = 1024 * 1024
const FIRST_PAUSE_MS = 500

/** How an exchange came out. `created` carries the body of the 201, unread. */
export type Outcome =
  | { readonly kind: 'created'; readonly json: unknown }
  | { readonly kind: 'refused'; readonly problem: Problem }

/** One try: an outcome, or what went wrong in words; `again` says whether another try could help. */
type Try =
  | (Outcome & { readonly again: boolean; readonly wait: number })
  | { kind: 'failed'; failure: Failure; again: boolean; wait: number }

export interface Exchange {
  readonly inputs: Inputs
  readonly endpoint: Endpoint
  readonly key: JobKey
  readonly clock: Clock
  /** Hears of every ID token before it is used. */
  readonly mask: (secret: string) => void
  /** Hears why a try is repeated. */
  readonly tell: (line: string) => void
}

/**
 * Asks the broker for sessions. Every try takes a new ID token, a new proof and a new POST, because each is good for one
 * request. After a timeout nobody knows whether a session was opened; trying again is safe, because the same job with
 * the same key renews it.
 */
export const openSessions = async (x: Exchange): Promise<Outcome> => {
  const { clock, inputs } = x
  const deadline = clock.now() + inputs.timeoutMs
  for (let tried = 1; ; tried++) {
    const result = await attempt(x, deadline)
    const pause = result.wait + pauseBefore(tried, FIRST_PAUSE_MS, clock.random)
    const tooLate = clock.now() + pause + inputs.timeoutMs / 10 >= deadline
    if (!result.again || tried > inputs.retries || tooLate) return settled(result)
    x.tell(`TVM: try ${tried} failed (${reason(result)}); trying again in ${seconds(pause)}.`)
    await clock.sleep(pause)
  }
}

const settled = (result: Try): Outcome => {
  if (result.kind === 'failed') throw result.failure
  return result
}

const reason = (result: Try): string =>
  result.kind === 'refused'
    ? result.problem.code
    : result.kind === 'failed'
      ? result.failure.message
      : ''

const attempt = async (x: Exchange, deadline: number): Promise<Try> => {
  const { clock, endpoint, inputs } = x
  const audience = `${inputs.url}/jkt/${x.key.thumbprint}`
  const token = await fetchIdToken({ endpoint, audience, deadline, clock })
  x.mask(token)
  // Half of the budget at most: one try that hangs must leave time for another.
  const timeoutMs = Math.min(inputs.timeoutMs / 2, deadline - clock.now())
  const answer = await send(sessionsRequest(x, token, timeoutMs))
  return answer.ok ? readAnswer(answer, clock.now()) : readSilence(answer)
}

/** `Authorization: DPoP` and the proof, as RFC 9449 section 7.1 has it. */
const sessionsRequest = (
  { inputs, key, clock }: Exchange,
  token: string,
  timeoutMs: number,
): Ask => {
  const url = `${inputs.url}/v1/sessions`
  const { grants, ttl, ca } = inputs
  const body: SessionRequest = { grants, ...(ttl === null ? {} : { ttl }) }
  return {
    url,
    method: 'POST',
    headers: {
      Authorization: `DPoP ${token}`,
      DPoP: makeProof(key, { method: 'POST', url, token, now: clock.now() }),
      'Content-Type': 'application/json',
      Accept: 'application/json, application/problem+json',
    },
    body: JSON.stringify(body),
    ...(ca === null ? {} : { ca }),
    timeoutMs,
    maxBytes: MAX_REPLY,
  }
}

/** 502 comes from a proxy, or from a cloud that did not answer; a cloud's own refusal stays one. */
const TRANSIENT = new Set([408, 425, 429, 502, 503, 504])

/** Judges a reply. A refusal is final but where its status says that it is about the moment, not about the job. */
export const readAnswer = (answer: Answer, now: number): Try => {
  const json = parseJson(answer.body)
  if (answer.status === 201) return readCreated(json)
  const again = TRANSIENT.has(answer.status)
  const wait = retryAfter(answer.headers['retry-after'], now)
  const problem = answer.status >= 400 ? readProblem(json, answer.status) : null
  if (problem !== null)
    return { kind: 'refused', problem, again: again && problem.code !== 'target_refused', wait }
  const failure = new Failure('broker_reply_unexpected', unexpected(answer.status))
  return { kind: 'failed', failure, again, wait }
}

const readCreated = (json: unknown): Try => {
  if (json !== undefined) return { kind: 'created', json, again: false, wait: 0 }
  const failure = new Failure('broker_reply_malformed', "The broker's reply is not JSON.")
  return { kind: 'failed', failure, again: false, wait: 0 }
}

const unexpected = (status: number): string =>
  status >= 300 && status < 400
    ? `The broker answered with a redirect (HTTP ${status}), which is never followed.`
    : `What answers at this address does not answer like a broker (HTTP ${status}).`

const SILENCE = {
  network: ['broker_unreachable', 'The broker could not be reached'],
  timeout: ['broker_timeout', 'The broker did not answer'],
  certificate: ['broker_certificate_refused', "The broker's certificate was refused"],
  too_large: ['broker_reply_too_large', "The broker's reply is too large"],
} as const satisfies Record<NoAnswer['why'], readonly [FailureCode, string]>

const readSilence = ({ why, cause }: NoAnswer): Try => {
  const [code, sentence] = SILENCE[why]
  const failure = new Failure(code, `${sentence}: ${cause}.`)
  return { kind: 'failed', failure, again: why === 'network' || why === 'timeout', wait: 0 }
}

export interface Ending {
  readonly url: string
  readonly ca: string | null
  readonly handles: readonly Handle[]
  readonly timeoutMs: number
}

/** `wrong` is null when the session is over, or says in words why it may not be. */
export interface Ended {
  readonly id: string
  readonly wrong: string | null
}

/** Ends sessions side by side, one try each; never rejects. */
export const endSessions = ({ handles, ...rest }: Ending): Promise<readonly Ended[]> =>
  Promise.all(
    handles.map(async (handle) => ({
      id: handle.id,
      wrong: readEnded(await send(endRequest(handle, rest))),
    })),
  )

const endRequest = (
  { id, token }: Handle,
  { url, ca, timeoutMs }: Omit<Ending, 'handles'>,
): Ask => ({
  url: `${url}/v1/sessions/${id}`,
  method: 'DELETE',
  headers: { Authorization: `Bearer ${token}` },
  ...(ca === null ? {} : { ca }),
  timeoutMs,
  maxBytes: MAX_REPLY,
})

/** A token that the broker does not know any more: a later use in this job renewed the session, and ended it. */
const readEnded = (answer: Answer | NoAnswer): string | null => {
  if (!answer.ok) return answer.cause
  if (answer.status === 204) return null
  const problem = readProblem(parseJson(answer.body), answer.status)
  if (problem?.code === 'session_token_invalid') return null
  return `HTTP ${answer.status}${problem === null ? '' : ` ${problem.code}`}`
}
