/** Where a command writes: the process's streams, or a test's. */
export interface Terminal {
  /** False when its reader went away, as `head` does: nothing is wrong, and more need not be said. */
  readonly out: (text: string) => boolean
  readonly err: (text: string) => void
  readonly color: boolean
}

export interface OutputStream {
  readonly isTTY?: boolean
  readonly errored: Error | null
  write(text: string): unknown
  on(event: 'error', listener: () => void): unknown
}

/** The streams of a process as a terminal. `out` throws CommandError when it cannot write (a full disk). */
export const terminalOf = (
  streams: { readonly stdout: OutputStream; readonly stderr: OutputStream },
  env: Readonly<Record<string, string | undefined>>,
): Terminal => {
  const { stdout, stderr } = streams
  // Without a listener Node would end the process with a stack; `out` looks at `errored` itself.
  for (const stream of [stdout, stderr]) stream.on('error', () => undefined)
  return {
    out: (text) => {
      stdout.write(text)
      const { errored } = stdout
      if (errored === null) return true
      const code = codeOf(errored)
      if (code === 'EPIPE') return false
      throw new CommandError(`the output cannot be written (${code})`)
    },
    err: (text) => void stderr.write(text),
    // https://no-color.org: set and not empty.
    color: stderr.isTTY === true && (env['NO_COLOR'] ?? '') === '',
  }
}

/** The system's name of what went wrong, such as ENOENT. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown'

export type Format = 'text' | 'json'

/** Exit codes of every command: 0 nothing wrong, 1 findings, 2 bad input or use. */
export type ExitCode = 0 | 1 | 2

/** A command's end with a message for people: `tvm: error: …`, then `tvm: hint: …`. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly hints: readonly string[]
  readonly exitCode: ExitCode

  constructor(message: string, hints: readonly string[] = [], exitCode: ExitCode = 2) {
    super(message)
    this.hints = hints
    this.exitCode = exitCode
  }
}

/** Control characters would let stored text move the cursor or recolour the screen of who reads it. */
export const printable = (text: string): string =>
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '\ufffd')

export const complain = (
  terminal: Terminal,
  message: string,
  hints: readonly string[] = [],
): void => {
  const [red, reset] = terminal.color ? ['\u001b[31m', '\u001b[0m'] : ['', '']
  terminal.err(`tvm: ${red}error:${reset} ${printable(message)}\n`)
  for (const hint of hints) terminal.err(`tvm: hint: ${printable(hint)}\n`)
}

/** Columns padded to their widest cell, two spaces apart. */
export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string => {
  const cells = [head, ...rows].map((row) => row.map(printable))
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return `${cells.map(line).join('\n')}\n`
}
