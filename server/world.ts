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

/** Milliseconds as RFC 3339 in UTC, whole seconds, rounded down: a lifetime is never told longer than it is. */
export const rfc3339 = (ms: number): string =>
  `${new Date(Math.floor(ms / 1000) * 1000).toISOString().slice(0, 19)}Z`
