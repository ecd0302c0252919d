import { inspect } from 'node:util'

const MASK = '[secret]'

/**
 * A value that prints as `[secret]` wherever it is printed: string conversion, JSON, util.inspect.
 * `reveal()` is called at the one place that hands the value to its rightful reader.
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  reveal(): string {
    return this.#value
  }

  toString(): string {
    return MASK
  }

  toJSON(): string {
    return MASK
  }

  [inspect.custom](): string {
    return MASK
  }
}

/** `value` as JSON with every Secret in it revealed; for the reply that owns them, and nowhere else. */
export const revealedJson = (value: unknown): string =>
  JSON.stringify(value, function (this: Record<string, unknown>, key: string, plain: unknown) {
    const raw = this[key]
    return raw instanceof Secret ? raw.reveal() : plain
  })
