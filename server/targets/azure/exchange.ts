import { parseStrictJson } from '../../identity/json.ts'
import { accept, type Accepted } from '../../refusal.ts'
import { Secret } from '../../secret.ts'
import type { World } from '../../world.ts'
import { within } from '../bounded.ts'
import { outOfTime, refusalOf, refused, transportRefusal } from './error.ts'
import type { AzureRefusal } from './reply.ts'

/** One question to Entra: one token for one resource. */
export interface EntraOrder {
  readonly tenant: string
  readonly client: string
  readonly scope: string
  readonly assertion: Secret
  /** UUID; Entra's sign-in log shows it as the correlation id. */
  readonly correlationId: string
  /** Milliseconds. */
  readonly now: number
  readonly signal: AbortSignal
}

/** What Entra says it gave; nothing of the token itself has been looked at. */
export interface EntraToken {
  readonly token: Secret
  /** Milliseconds, by `expires_in`. */
  readonly expiresOn: number
}

/** Asks once, keeps nothing between two orders (a cached token would be another job's), and never rejects. */
export type AskEntra = (order: EntraOrder) => Promise<Accepted<EntraToken> | AzureRefusal>

export interface EntraPlace {
  /** Origin of the cloud's login host, e.g. `https://login.microsoftonline.com`. */
  readonly authority: string
  readonly fetch: World['fetch']
}

/** The OAuth client-credentials grant with our JWT as client assertion (RFC 7523 section 2.2), in one POST. */
export const entraByPost =
  ({ authority, fetch }: EntraPlace): AskEntra =>
  async (order) => {
    try {
      const url = `${authority}/${order.tenant}/oauth2/v2.0/token`
      const answer = await within(order.signal, post(fetch, url, order))
      return answer === null ? outOfTime : readAnswer(answer, order.now)
    } catch (thrown) {
      return order.signal.aborted ? outOfTime : transportRefusal(thrown)
    }
  }

interface Answer {
  readonly status: number
  /** undefined: no JSON, or too much of it. */
  readonly json: unknown
}

const post = async (fetch: World['fetch'], url: string, order: EntraOrder): Promise<Answer> => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { accept: 'application/json', 'client-request-id': order.correlationId },
    body: formOf(order),
    // Our assertion goes to no other address than this one.
    redirect: 'manual',
    signal: order.signal,
  })
  return { status: response.status, json: await boundedJson(response) }
}

const formOf = ({ client, scope, assertion }: EntraOrder): URLSearchParams =>
  new URLSearchParams({
    client_id: client,
    scope,
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion.reveal(),
  })

const MAX_BYTES = 64 * 1024

/** Counts what arrives, unpacked: a Content-Length is only a promise. */
const boundedJson = async (response: Response): Promise<unknown> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  const body: ReadableStream<Uint8Array> | null = response.body
  for await (const chunk of body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) return undefined
    chunks.push(chunk)
  }
  const parsed = parseStrictJson(Buffer.concat(chunks).toString('utf8'))
  return parsed.ok ? parsed.value : undefined
}

/** The token goes into environment variables and files of the job: a closed pattern (RFC 6750 section 2.1). */
const TOKEN = /^[\w.~+/-]{1,16384}=*$/
const MAX_SECONDS = 7 * 24 * 3600

const readAnswer = ({ status, json }: Answer, now: number): Accepted<EntraToken> | AzureRefusal => {
  if (status !== 200) return refusalOf(status, json)
  const { access_token, expires_in, token_type } = (json ?? {}) as Record<string, unknown>
  const isBearer = typeof token_type === 'string' && token_type.toLowerCase() === 'bearer'
  if (!isBearer || typeof access_token !== 'string' || !TOKEN.test(access_token)) return incomplete
  if (typeof expires_in !== 'number' || !Number.isInteger(expires_in)) return incomplete
  if (expires_in <= 0 || expires_in > MAX_SECONDS) return incomplete
  return accept({ token: new Secret(access_token), expiresOn: now + expires_in * 1000 })
}

const incomplete = refused('AnswerIncomplete', 'what Entra answered is no bearer token with an end')
