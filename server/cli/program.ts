import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { auditCommands } from './audit.ts'
import { keysCommands } from './keys.ts'
import { lockCommands } from './lock.ts'
import type { ProgramParts } from './parts.ts'
import { serveCommand } from './serve.ts'
import { CommandError, complain, type ExitCode, type Terminal } from './terminal.ts'

const EXIT_CODES = `
Exit codes: 0 nothing wrong, 1 findings (a broken chain, no such lock), 2 bad input or use.

Examples:
  $ tvm serve                                   on 127.0.0.1:8080, with ./policies and ./data
  $ tvm serve --config /etc/tvm/tvm.yaml
  $ tvm audit list
  $ tvm audit verify --receipt 41:9f86d0…        what a job summary printed
  $ tvm lock add repository:github:99120 --reason "incident 7" --for 2h
  $ tvm keys create && tvm keys export --out issuer/
`

/** `tvm …`: parses argv, runs one command, and leaves its exit code. */
export const runProgram = async (parts: ProgramParts): Promise<void> => {
  const terminal: Terminal = {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    color: process.stderr.isTTY && parts.env['NO_COLOR'] === undefined,
  }
  const program = makeProgram(parts, terminal)
  try {
    await program.parseAsync([...parts.argv])
  } catch (error) {
    process.exitCode = exitCodeOf(error, terminal)
  }
}

/** Commander has printed its own errors; ours are printed here, and nothing shows a stack for what a user did. */
const exitCodeOf = (error: unknown, terminal: Terminal): ExitCode => {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (error instanceof CommandError) {
    complain(terminal, error.message, error.hints)
    return error.exitCode
  }
  const hint = error instanceof Error && 'hint' in error ? [String(error.hint)] : []
  complain(terminal, error instanceof Error ? error.message : String(error), hint)
  return 2
}

const makeProgram = (parts: ProgramParts, terminal: Terminal): Command => {
  const program = new Command('tvm')
    .description('A CI credential broker: one reviewed policy, credentials that belong to one job.')
    .version(version())
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
    .configureOutput({ writeOut: terminal.out, writeErr: terminal.err })
  serveCommand(program, parts)
  auditCommands(program, parts, terminal)
  lockCommands(program, parts, terminal)
  keysCommands(program, parts, terminal)
  return program
}

const version = (): string => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}
