/** What this AWS says back, and how it says no. */

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

/**
 * A refusal as AWS words it. `code`, `status` and the message reach the caller;
 * `why` goes to the call log alone, because AWS keeps its reasons to itself.
 */
export class AwsError extends Error {
  readonly code: string
  readonly status: number
  readonly why: string | null

  constructor(code: string, message: string, status = 400, why: string | null = null) {
    super(message)
    this.name = 'AwsError'
    this.code = code
    this.status = status
    this.why = why
  }
}

/** An element with text in it. */
export function leaf(name: string, value: string | number): string {
  return `<${name}>${escapeXml(String(value))}</${name}>`
}

/** An element with elements in it. */
export function branch(name: string, ...inner: readonly string[]): string {
  return `<${name}>${inner.join('')}</${name}>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
}

function escapeXml(text: string): string {
  return (
    text
      // XML 1.0 cannot carry these at all, not even as a reference.
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '?')
      .replaceAll(/[&<>"\r]/g, (character) => ENTITIES[character] ?? '?')
  )
}
