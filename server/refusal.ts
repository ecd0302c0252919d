import type { Code } from './api.ts'

/**
 * A refusal is a value. `code` is public; `about` names what it is about (a claim, a header, a grant, a
 * cloud's error code) and holds only text that we wrote or that passed a closed pattern; `cause` is
 * for the operator's log and never leaves the broker.
 */
export interface Refusal {
  readonly ok: false
  readonly code: Code
  readonly about?: string
  readonly cause?: string
}

export interface Accepted<T> {
  readonly ok: true
  readonly value: T
}

export type Result<T> = Accepted<T> | Refusal

export const accept = <T>(value: T): Accepted<T> => ({ ok: true, value })

export const refuse = (code: Code, more: { about?: string; cause?: string } = {}): Refusal => ({
  ok: false,
  code,
  ...more,
})
