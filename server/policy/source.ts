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
