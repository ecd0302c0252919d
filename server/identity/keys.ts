import type { CryptoKey } from 'jose'
import type { Log } from '../log.ts'
import { accept, refuse, type Result } from '../refusal.ts'
import type { World } from '../world.ts'
import { JwksError, readKeySet, type KeyMap } from './jwks.ts'
import { parseStrictJson } from './json.ts'
import { decodeUtf8 } from './jwt.ts'

/** The signing keys of one issuer. */
export interface KeySource {
  /** `token_key_unknown`: the issuer does not publish it. `issuer_keys_unavailable`: nobody can say. Never rejects. */
  key(kid: string): Promise<Result<CryptoKey>>
  health(): KeyHealth
}

export interface KeyHealth {
  readonly keys: number
  /** Milliseconds; null before the first fetch that worked. */
  readonly lastSuccess: number | null
  /** What is wrong since the newest fetch, in our own words; null when nothing is. */
  readonly lastError: string | null
  /** Something is wrong, and no key can be given any more. */
  readonly stale: boolean
}

export interface RemoteKeysOptions {
  readonly jwksUri: string
  readonly world: Pick<World, 'now' | 'fetch'>
  /** Milliseconds that known keys serve while they cannot be fetched; 4 h by default, 24 h at most. */
  readonly staleMs?: number
  /** Milliseconds for one fetch, from connecting to the last byte; default 5,000. */
  readonly timeoutMs?: number
  readonly log?: Pick<Log, 'warn'>
}

const MINUTE = 60_000
const FRESH = 10 * MINUTE
const STALE = 240 * MINUTE
const MAX_STALE = 1440 * MINUTE
/** Between two fetches for the sake of a kid that is not among the keys: anybody can invent one. */
const UNKNOWN_KID = 30_000
/** After a failed fetch; twice as long after each further one. Nobody waits for a dead endpoint meanwhile. */
const FIRST_PAUSE = 5_000
const LONGEST_PAUSE = MINUTE
const TIMEOUT = 5_000
const MAX_BYTES = 256 * 1024
/** 100 keys with every member there is. */
const MAX_MEMBERS = 2_000

/**
 * A JWKS endpoint behind a cache: fresh for 10 minutes, one fetch at a time, again for an unknown kid at most once in 30 seconds. A
 * key that a successful fetch does not show is dead at once; while fetches fail, the known ones serve for `staleMs`.
 */
export const remoteKeys = (options: RemoteKeysOptions): KeySource => new RemoteKeys(options)

class RemoteKeys implements KeySource {
  readonly #options: RemoteKeysOptions
  readonly #staleMs: number
  #keys: KeyMap = new Map()
  /** When the newest fetch that worked began. */
  #fetchedAt: number | null = null
  #problem: string | null = null
  #failedAt = -Infinity
  #pause = 0
  #askedAt = -Infinity
  #flight: Promise<void> | null = null

  constructor(options: RemoteKeysOptions) {
    const { staleMs = STALE } = options
    if (!(staleMs >= 0 && staleMs <= MAX_STALE))
      throw new RangeError('keys may serve for 24 hours at most after their last fetch')
    this.#options = options
    this.#staleMs = Math.max(staleMs, FRESH)
  }

  async key(kid: string): Promise<Result<CryptoKey>> {
    await this.#freshen(kid)
    const key = this.#canServe() ? this.#keys.get(kid) : undefined
    if (key !== undefined) return accept(key)
    // While the endpoint fails, nobody can say that a key which is not here does not exist.
    return this.#problem === null
      ? refuse('token_key_unknown')
      : refuse('issuer_keys_unavailable', { cause: this.#problem })
  }

  health(): KeyHealth {
    return {
      keys: this.#keys.size,
      lastSuccess: this.#fetchedAt,
      lastError: this.#problem,
      stale: this.#problem !== null && !(this.#canServe() && this.#keys.size > 0),
    }
  }

  /** Old keys are fetched unless the endpoint just failed; for an unknown kid there is a turn every 30 seconds. */
  async #freshen(kid: string): Promise<void> {
    const isFresh = !this.#isOver(this.#fetchedAt, FRESH)
    if (isFresh && this.#keys.has(kid)) return
    const mayFetch = isFresh
      ? this.#isOver(this.#askedAt, UNKNOWN_KID)
      : this.#isOver(this.#failedAt, this.#pause)
    if (this.#flight === null && !mayFetch) return
    if (isFresh) this.#askedAt = this.#options.world.now()
    this.#flight ??= this.#refresh().finally(() => {
      this.#flight = null
    })
    // An endpoint that has failed holds nobody up whose key is known.
    const knows = this.#canServe() && this.#keys.has(kid)
    if (this.#problem === null || !knows) await this.#flight
  }

  #canServe(): boolean {
    return !this.#isOver(this.#fetchedAt, this.#staleMs)
  }

  /** A clock that was set back ends every span: better one fetch too many than keys that never age. */
  #isOver(since: number | null, span: number): boolean {
    const now = this.#options.world.now()
    return since === null || now < since || now - since >= span
  }

  /** Replaces all keys, or none. */
  async #refresh(): Promise<void> {
    const { world, jwksUri, log } = this.#options
    const begun = world.now()
    try {
      this.#keys = await fetchKeys(this.#options)
      this.#fetchedAt = begun
      this.#problem = this.#keys.size === 0 ? 'the key set has no key that verifies RS256' : null
      this.#pause = 0
    } catch (error) {
      this.#problem = problemOf(error)
      this.#failedAt = world.now()
      this.#pause = Math.min(this.#pause * 2 || FIRST_PAUSE, LONGEST_PAUSE)
    }
    if (this.#problem !== null)
      log?.warn('an issuer does not give its keys', { issuer_url: jwksUri, cause: this.#problem })
  }
}

const fetchKeys = async (options: RemoteKeysOptions): Promise<KeyMap> => {
  const { jwksUri, world, timeoutMs = TIMEOUT } = options
  const response = await world.fetch(jwksUri, {
    redirect: 'manual',
    headers: { Accept: 'application/json' },
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (response.status !== 200) {
    await response.body?.cancel()
    throw new JwksError(`the key endpoint answered ${response.status}`)
  }
  const text = decodeUtf8(await readBounded(response))
  const json = text === null ? null : parseStrictJson(text, { maxKeys: MAX_MEMBERS })
  if (json?.ok !== true) throw new JwksError('the key endpoint did not answer with JSON')
  return readKeySet(json.value)
}

/** Counts what arrives, unpacked: a Content-Length is only a promise. */
const readBounded = async (response: Response): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = []
  let bytes = 0
  const body: ReadableStream<Uint8Array> | null = response.body
  for await (const chunk of body ?? []) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new JwksError('the key set is larger than 256 KiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** What fetch throws tells of sockets and addresses; one word of it is enough. */
const problemOf = (error: unknown): string => {
  if (error instanceof JwksError) return error.message
  if (error instanceof Error && error.name === 'TimeoutError')
    return 'the key endpoint did not answer in time'
  const cause = error instanceof Error ? error.cause : undefined
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
  const known = /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? ` (${code})` : ''
  return `the key endpoint cannot be reached${known}`
}

/** A JWKS that came by other means, for a network without a way out. Rejects when it holds no usable key. */
export const staticKeys = async (jwks: unknown): Promise<KeySource> => {
  const keys = await readKeySet(jwks)
  if (keys.size === 0) throw new JwksError('it has no key that verifies RS256')
  const health = { keys: keys.size, lastSuccess: null, lastError: null, stale: false }
  return {
    key: (kid) => {
      const key = keys.get(kid)
      return Promise.resolve(key === undefined ? refuse('token_key_unknown') : accept(key))
    },
    health: () => health,
  }
}
