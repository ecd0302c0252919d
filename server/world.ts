/** What the broker takes from outside itself; passed in, so that a test can drive each of them. */
export interface World {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** `bytes` cryptographically random bytes. */
  readonly random: (bytes: number) => Uint8Array
  readonly fetch: typeof fetch
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>
}
