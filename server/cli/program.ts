import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { Command, CommanderError } from 'commander'
import { auditCommands } from './audit.ts'
import { keysCommands } from './keys.ts'
import { lockCommands } from './lock.ts'
import { notes, type ProgramParts } from './parts.ts'
import { serveCommand } from './serve.ts'
import { CommandError, complain, terminalOf, type ExitCode, type Terminal } from './terminal.ts'

const NOTES = notes(
  '0 nothing wrong, 1 findings (a broken chain, no such lock), 2 bad input or use',
  'tvm serve                                  on 127.0.0.1:8080, with ./policies and ./data',
  'tvm serve --config /etc/tvm/tvm.yaml',
  'tvm audit list',
  'tvm audit verify --receipt 41:9f86d0…      what a job summary printed',
  'tvm lock add repository:github:99120 --reason "incident 7" --for 2h',
  'tvm keys create && tvm keys export --out issuer/',
)

/** `tvm …`: parses argv, runs one command, and leaves its exit code. */
export const runProgram = async (parts: ProgramParts): Promise<void> => {
  const terminal = terminalOf(process, parts.env)
  const program = makeProgram(parts, terminal)
  try {
    await program.parseAsync([...parts.argv])
  } catch (error) {
    process.exitCode = exitCodeOf(error, terminal)
  }
}

/** Commander has said its own errors; ours are said here, and nothing shows a stack for what a user did. */
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
    .addHelpText('after', NOTES)
    .exitOverride()
    .configureOutput({
      writeOut: terminal.out,
      writeErr: terminal.err,
      outputError: (text) => misuse(terminal, text),
    })
  serveCommand(program, parts, terminal)
  auditCommands(program, parts, terminal)
  lockCommands(program, parts, terminal)
  keysCommands(program, parts, terminal)
  pointToHelp(program, 'tvm')
  return program
}

/** Commander's `error: …`, and the `(Did you mean …?)` below it, in the form of our own. */
const misuse = (terminal: Terminal, text: string): void => {
  const [, message = text, meant] = /^error: ([^]*?)(?:\n\((.*)\))?\n*$/.exec(text) ?? []
  complain(terminal, message, meant === undefined ? [] : [meant])
}

const pointToHelp = (command: Command, path: string): void => {
  command.showHelpAfterError(`tvm: hint: See ${path} --help.`)
  for (const each of command.commands) pointToHelp(each, `${path} ${each.name()}`)
}

/** Of the package that this file belongs to, run from its sources or compiled. */
const version = (): string => {
  const file = findPackageJSON(import.meta.url)
  if (file === undefined) return 'unknown'
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
