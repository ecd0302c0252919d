/** Where the step's time comes from; a test of the retry rule passes its own. */
export interface Clock {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  readonly sleep: (ms: number) => Promise<void>
}

const LONGEST = 8_000

/** Milliseconds to wait before try `tried + 1`: full jitter, so that a matrix of jobs does not come back as one herd. */
export const pauseBefore = (tried: number, firstMs: number, random: () => number): number =>
  Math.floor(random() * Math.min(LONGEST, firstMs * 2 ** (tried - 1)))

/** Retry-After (RFC 9110 section 10.2.3) in milliseconds from `now`: seconds or a date; 0 when absent or senseless. */
export const retryAfter = (header: string | undefined, now: number): number => {
  if (header === undefined) return 0
  if (/^\d{1,6}$/.test(header)) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? 0 : Math.max(0, at - now)
}
