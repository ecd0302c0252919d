import { createReadStream } from 'node:fs'
import { recordLine } from '../audit/chain.ts'
import type { AuditBody, AuditRecord } from '../audit/record.ts'
import { readChain, readLines, verifyChain, type ChainReport } from '../audit/verify.ts'
import type { Receipt } from '../api.ts'
import { rfc3339 } from '../world.ts'
import type { Command } from 'commander'
import { CONFIG, configOf, format, type ProgramParts } from './parts.ts'
import { CommandError, printable, type ExitCode, type Format, type Terminal } from './terminal.ts'

/** Where records come from: a page of them, from a position on. */
export interface AuditReader {
  records(from: number, limit: number): Promise<readonly AuditRecord[]>
}

/** `tvm audit list`: a table for people, or the export (one record a line) for machines. */
export const auditList = async (
  reader: AuditReader,
  options: { readonly format: Format; readonly from: number },
  terminal: Terminal,
): Promise<ExitCode> => {
  const records = readChain((from, limit) => reader.records(from, limit), options.from)
  if (options.format === 'json') {
    for await (const record of records) terminal.out(`${recordLine(record)}\n`)
    return 0
  }
  terminal.out(line('#', 'time', 'event', 'decision', 'what'))
  for await (const { position, at, body } of records)
    terminal.out(
      line(String(position), rfc3339(at), body.event, body.decision_id ?? '', gist(body)),
    )
  return 0
}

const WIDTHS = [6, 20, 18, 30, 0]

/** Widths are fixed, so that a long log can be written as it is read. */
const line = (...cells: readonly string[]): string =>
  `${cells
    .map((cell, i) => printable(cell).padEnd(WIDTHS[i] ?? 0))
    .join('  ')
    .trimEnd()}\n`

const GISTS = ['code', 'about', 'grants', 'job', 'session', 'subject', 'reason', 'refused']

/** The members that tell most, in one line. */
const gist = (body: AuditBody): string =>
  GISTS.flatMap((name) => {
    const value = body[name]
    if (Array.isArray(value)) return [value.join(',')]
    return typeof value === 'string' || typeof value === 'number' ? [String(value)] : []
  }).join(' ')

export interface VerifyAsk {
  readonly format: Format
  /** Receipts as the job summary prints them: `<position>:<hash>`. */
  readonly receipts: readonly string[]
  /** An export to verify instead of the store; null: the store. */
  readonly file: string | null
}

/** `tvm audit verify`: 0 when the chain is whole and holds every receipt, 1 when not. */
export const auditVerify = async (
  reader: AuditReader,
  ask: VerifyAsk,
  terminal: Terminal,
): Promise<ExitCode> => {
  const known = ask.receipts.map(readReceipt)
  const records =
    ask.file === null
      ? readChain((from, limit) => reader.records(from, limit))
      : readLines(createReadStream(ask.file, 'utf8') as AsyncIterable<string>)
  const report = await verifyChain(records, { known })
  terminal.out(ask.format === 'json' ? `${JSON.stringify(report)}\n` : verdict(report))
  return report.ok ? 0 : 1
}

const readReceipt = (text: string): Receipt => {
  const match = /^([1-9]\d{0,15}):([0-9a-f]{64})$/.exec(text)
  if (match === null)
    throw new CommandError('a receipt is <position>:<hash>', [
      'The job summary prints it in this form.',
    ])
  return { position: Number(match[1]), hash: match[2] ?? '' }
}

const verdict = ({ ok, records, problems, unresolved, head }: ChainReport): string => {
  const lines = [
    ok ? `ok: ${records} records, an unbroken chain` : `BROKEN: ${records} records`,
    ...problems.map(({ kind, position }) => `  position ${position}: ${kind.replaceAll('_', ' ')}`),
    ...unresolved.map(
      ({ position, decision_id }) => `  position ${position}: ${decision_id} has no outcome`,
    ),
    ...(head === null ? [] : [`head ${head.position}:${head.hash}`]),
  ]
  return `${lines.join('\n')}\n`
}

export const auditCommands = (program: Command, parts: ProgramParts, terminal: Terminal): void => {
  const audit = program.command('audit').description('what happened')
  audit
    .command('list')
    .description('the records; --format json is the export, one record a line')
    .option(...CONFIG)
    .option('--from <position>', 'start at this record', '1')
    .addOption(format())
    .action(async (options: { config?: string; from: string; format: Format }) => {
      if (!/^[1-9]\d{0,14}$/.test(options.from))
        throw new CommandError('--from takes a position from 1')
      const from = Number(options.from)
      await read(parts, options.config, (reader) =>
        auditList(reader, { format: options.format, from }, terminal),
      )
    })
  audit
    .command('verify')
    .description('check that the chain of records is whole')
    .option(...CONFIG)
    .option('--file <file>', 'an export (JSON lines) instead of the store')
    .option('--receipt <position:hash>', 'a receipt that must be in the chain', collect, [])
    .addOption(format())
    .action(async (options: VerifyOptions) => {
      const file = options.file ?? null
      const ask = { format: options.format, receipts: options.receipt, file }
      if (file === null)
        await read(parts, options.config, (reader) => auditVerify(reader, ask, terminal))
      else process.exitCode = await auditVerify(NOTHING, ask, terminal)
    })
}

interface VerifyOptions {
  readonly config?: string
  readonly file?: string
  readonly receipt: readonly string[]
  readonly format: Format
}

const NOTHING: AuditReader = { records: () => Promise.resolve([]) }

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value]

const read = async (
  parts: ProgramParts,
  config: string | undefined,
  act: (reader: AuditReader) => Promise<ExitCode>,
): Promise<void> => {
  const reader = await parts.openAudit(configOf(parts, config))
  process.exitCode = await act(reader).finally(() => reader.close())
}
