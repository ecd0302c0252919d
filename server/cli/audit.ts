import { createReadStream } from 'node:fs'
import { recordLine } from '../audit/chain.ts'
import type { AuditBody, AuditRecord, AuditValue } from '../audit/record.ts'
import { readChain, readLines, verifyChain, type ChainReport } from '../audit/verify.ts'
import type { Receipt } from '../api.ts'
import { rfc3339 } from '../world.ts'
import type { Command } from 'commander'
import { CONFIG, configOf, format, notes, type ProgramParts } from './parts.ts'
import {
  codeOf,
  CommandError,
  printable,
  type ExitCode,
  type Format,
  type Terminal,
} from './terminal.ts'

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
  const text = options.format === 'json' ? (each: AuditRecord) => `${recordLine(each)}\n` : row
  if (options.format === 'text') terminal.out(line('#', 'time', 'event', 'decision', 'what'))
  for await (const record of records) if (!terminal.out(text(record))) break
  return 0
}

const row = ({ position, at, body }: AuditRecord): string =>
  line(String(position), rfc3339(at), body.event, body.decision_id ?? '', gist(body))

const WIDTHS = [6, 20, 18, 30, 0]

/** Widths are fixed, so that a long log can be written as it is read. */
const line = (...cells: readonly string[]): string =>
  `${cells
    .map((cell, i) => printable(cell).padEnd(WIDTHS[i] ?? 0))
    .join('  ')
    .trimEnd()}\n`

const GISTS = [
  ...['code', 'about', 'grants', 'grant', 'job', 'session', 'sessions'],
  ...['lock', 'subject', 'reason', 'refused'],
]

/** The members that tell most, in one line. */
const gist = (body: AuditBody): string =>
  GISTS.flatMap((name) => {
    const value = body[name] ?? null
    const told = (Array.isArray(value) ? (value as readonly AuditValue[]) : [value]).flatMap(word)
    return told.length === 0 ? [] : [told.join(',')]
  }).join(' ')

/** A string or a number as it is; of a session its id. */
const word = (value: AuditValue): string[] => {
  if (typeof value === 'string' || typeof value === 'number') return [String(value)]
  if (value === null || typeof value !== 'object' || !('session' in value)) return []
  return typeof value['session'] === 'string' ? [value['session']] : []
}

export interface VerifyAsk {
  readonly format: Format
  /** Receipts as the job summary prints them: `<position>:<hash>`. */
  readonly receipts: readonly string[]
  /** The receipt before the first record to verify; null: from the first one there is. */
  readonly after: string | null
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
  const after = ask.after === null ? null : readReceipt(ask.after)
  const records =
    ask.file === null
      ? readChain((from, limit) => reader.records(from, limit), (after?.position ?? 0) + 1)
      : readExport(ask.file)
  const report = await verifyChain(records, { known, ...(after === null ? {} : { after }) })
  if (report.records === 0 && after === null)
    throw new CommandError(`there is no record in ${ask.file ?? 'the store'}`, [], 1)
  terminal.out(ask.format === 'json' ? `${JSON.stringify(report)}\n` : verdict(report))
  return report.ok ? 0 : 1
}

const readExport = async function* (file: string): AsyncGenerator {
  try {
    yield* readLines(createReadStream(file, 'utf8') as AsyncIterable<string>)
  } catch (error) {
    const why = error instanceof RangeError ? error.message : codeOf(error)
    throw new CommandError(`${file} cannot be read (${why})`, [
      'An export is what tvm audit list --format json prints.',
    ])
  }
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

const NOTES = notes(
  '0 done, 1 findings (a broken chain), 2 bad input or use',
  'tvm audit list',
  'tvm audit verify',
)

const LIST_NOTES = notes(
  '0 done, 2 bad input or use',
  'tvm audit list --from 41',
  'tvm audit list | grep dec_01M80Z6MJ50EP4XBVY54AYX5N4    what became of one decision',
  'tvm audit list --format json > audit.jsonl              the export',
)

const VERIFY_NOTES = notes(
  '0 the chain is whole and holds every receipt, 1 it is not or there is no record, 2 bad input or use',
  'tvm audit verify',
  'tvm audit verify --receipt 41:9f86d0…                   what a job summary printed',
  'tvm audit verify --file audit.jsonl',
  'tvm audit verify --file later.jsonl --after 41:9f86d0…  an export from position 42 on',
)

export const auditCommands = (program: Command, parts: ProgramParts, terminal: Terminal): void => {
  const audit = program.command('audit').description('what happened').addHelpText('after', NOTES)
  audit
    .command('list')
    .description('the records; --format json is the export, one record a line')
    .option(...CONFIG)
    .option('--from <position>', 'start at this record', '1')
    .addOption(format())
    .addHelpText('after', LIST_NOTES)
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
    .option('--receipt <position:hash>', 'a receipt that must be in the chain; repeatable', collect)
    .option('--after <position:hash>', 'the receipt before the first record to verify')
    .addOption(format())
    .addHelpText('after', VERIFY_NOTES)
    .action(async (options: VerifyOptions) => {
      const file = options.file ?? null
      const { format, receipt: receipts = [], after = null } = options
      const ask = { format, receipts, after, file }
      if (file === null)
        await read(parts, options.config, (reader) => auditVerify(reader, ask, terminal))
      else process.exitCode = await auditVerify(NOTHING, ask, terminal)
    })
}

interface VerifyOptions {
  readonly config?: string
  readonly file?: string
  readonly receipt?: readonly string[]
  readonly after?: string
  readonly format: Format
}

const NOTHING: AuditReader = { records: () => Promise.resolve([]) }

const collect = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
]

const read = async (
  parts: ProgramParts,
  config: string | undefined,
  act: (reader: AuditReader) => Promise<ExitCode>,
): Promise<void> => {
  const reader = await parts.openAudit(configOf(parts, config))
  process.exitCode = await act(reader).finally(() => reader.close())
}
