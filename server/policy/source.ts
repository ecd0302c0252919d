import type { PolicySet } from './grant.ts'

/** Where policies come from. Implemented in server/source, called by the exchange. */
export interface PolicySource {
  /**
   * The set that decides now, and when (milliseconds) the origin was last seen equal to it; null until a first set has
   * been read. A source that cannot confirm its set keeps giving it with an old `seenAt`: the caller judges the age.
   */
  current(): { readonly set: PolicySet; readonly seenAt: number } | null
  close(): Promise<void>
}

/** What an exchange may take between its first look at the clock and its look at the policies. */
const AHEAD_MS = 60_000

/**
 * Was a set seen at `seenAt` confirmed within `maxAge`? All in milliseconds. A `seenAt` well in the future says that the clock was set
 * back, and nothing of the age: such a set waits for its next confirmation.
 */
export const isConfirmed = (seenAt: number, now: number, maxAge: number): boolean =>
  now - seenAt <= maxAge && seenAt - now <= AHEAD_MS
