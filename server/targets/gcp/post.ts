import { accept, type Accepted } from '../../refusal.ts'
import type { Secret } from '../../secret.ts'
import type { World } from '../../world.ts'
import { retried, within } from '../bounded.ts'
import { outOfTime, refusalOf, transportRefusal, unlike } from './error.ts'
import type { MintRefusal } from '../target.ts'

/** One POST to Google, and what in it nobody else may read. */
export interface Post {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly secrets: readonly Secret[]
}

export interface PostParts {
  readonly world: Pick<World, 'random' | 'sleep' | 'fetch'>
  /** Milliseconds that one try may take. */
  readonly tryLimit: number
  /** Aborts when the time of the whole mint is over. */
  readonly signal: AbortSignal
}

/** Tokens have at most 12,288 bytes (STS API reference). */
const MAX_ANSWER = 65_536

/** The body of a 200, whatever JSON it is. What may pass is tried three times, within `signal`. */
export const postJson = (post: Post, parts: PostParts): Promise<Accepted<unknown> | MintRefusal> =>
  retried(() => postOnce(post, parts), isTransient, parts.world, parts.signal)

const isTransient = (answer: Accepted<unknown> | MintRefusal): boolean =>
  !answer.ok && answer.code === 'target_unavailable'

const postOnce = async (
  post: Post,
  { world, tryLimit, signal: over }: PostParts,
): Promise<Accepted<unknown> | MintRefusal> => {
  if (over.aborted) return outOfTime
  const signal = AbortSignal.any([over, AbortSignal.timeout(tryLimit)])
  try {
    return (await within(signal, exchange(post, world.fetch, signal))) ?? outOfTime
  } catch (error) {
    return signal.aborted ? outOfTime : transportRefusal(error, post.secrets)
  }
}

const exchange = async (
  { url, headers, body, secrets }: Post,
  fetch: World['fetch'],
  signal: AbortSignal,
): Promise<Accepted<unknown> | MintRefusal> => {
  // Whoever is redirected to would get our token.
  const response = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'manual' })
  const answer = parsed(await readText(response))
  if (response.status !== 200) return refusalOf(response.status, answer, secrets)
  return answer === undefined ? unlike('UnreadableAnswer') : accept(answer)
}

/** null: it is longer than any answer of Google's. */
const readText = async (response: Response): Promise<string | null> => {
  if (response.body === null) return ''
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length
    if (size > MAX_ANSWER) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const parsed = (text: string | null): unknown => {
  try {
    return text === null ? undefined : (JSON.parse(text) as unknown)
  } catch {
    return undefined
  }
}
