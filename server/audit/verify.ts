import type { Receipt } from '../api.ts'
import { GENESIS, canonicalJson, type CanonicalValue, verifyRecord } from './chain.ts'
import type { AuditBody, AuditEvent, AuditRecord } from './record.ts'

export type ChainProblemKind =
  /** Not a record at all. */
  | 'malformed'
  /** One or more records are missing before this one. */
  | 'gap'
  /** It stands after a record of the same or a higher position. */
  | 'out_of_order'
  /** It names another record before it than the one that is there. */
  | 'wrong_previous'
  /** It does not carry the hash of what it says. */
  | 'edited'
  /** The position of a known receipt holds another record. */
  | 'receipt_differs'
  /** The chain ends before the position of a known receipt. */
  | 'receipt_missing'

export interface ChainProblem {
  readonly kind: ChainProblemKind
  /** Where; for a line that is no record, the position that was due. */
  readonly position: number
}

/** An `exchange.intent` that no later record answers: in flight, or its broker died while it was minting. */
export interface Unresolved {
  readonly decision_id: string
  readonly position: number
  readonly at: number
}

export interface ChainReport {
  /** Lines read, good or bad. */
  readonly records: number
  /** No problem found. Unresolved intents are no problem of the chain. */
  readonly ok: boolean
  /** The first 1,000. */
  readonly problems: readonly ChainProblem[]
  readonly unresolved: readonly Unresolved[]
  /** The last record read; keep it, and give it to the next verification. */
  readonly head: Receipt | null
}

export interface VerifyOptions {
  /**
   * Receipts from elsewhere (a job's summary, the last verification). A chain alone cannot tell that its end was cut
   * off, or that the whole of it was written anew; a receipt can.
   */
  readonly known?: readonly Receipt[]
  /** The record before the first one given, for an export that does not start at 1. */
  readonly after?: Receipt
}

const MOST_PROBLEMS = 1_000

/** Reads a chain once, record by record; memory is bounded by the intents without an answer. */
export const verifyChain = async (
  records: AsyncIterable<unknown> | Iterable<unknown>,
  options: VerifyOptions = {},
): Promise<ChainReport> => {
  const check = makeCheck(options)
  for await (const record of records) check.next(record)
  return check.report()
}

interface Check {
  next(value: unknown): void
  report(): ChainReport
}

const makeCheck = (options: VerifyOptions): Check => {
  const problems: ChainProblem[] = []
  const intents = new Map<string, Unresolved>()
  const known = new Map((options.known ?? []).map((receipt) => [receipt.position, receipt.hash]))
  let before: Receipt | null = options.after ?? null
  let records = 0
  const blame = (kind: ChainProblemKind, position: number): void => {
    if (problems.length < MOST_PROBLEMS) problems.push({ kind, position })
  }
  return {
    next: (value) => {
      records += 1
      const record = parseRecord(value)
      if (record === null) {
        blame('malformed', (before?.position ?? 0) + 1)
        return
      }
      for (const kind of placeProblems(before, record)) blame(kind, record.position)
      if (!verifyRecord(record)) blame('edited', record.position)
      if ((known.get(record.position) ?? record.hash) !== record.hash)
        blame('receipt_differs', record.position)
      known.delete(record.position)
      follow(intents, record)
      before = { position: record.position, hash: record.hash }
    },
    report: () => {
      for (const position of known.keys()) blame('receipt_missing', position)
      const unresolved = [...intents.values()]
      return { records, ok: problems.length === 0, problems, unresolved, head: before }
    },
  }
}

const placeProblems = (before: Receipt | null, record: AuditRecord): ChainProblemKind[] => {
  const due = (before?.position ?? 0) + 1
  if (record.position > due) return ['gap']
  if (record.position < due) return ['out_of_order']
  return record.previous === (before?.hash ?? GENESIS) ? [] : ['wrong_previous']
}

const ANSWERS: readonly AuditEvent[] = ['exchange.outcome', 'exchange.failed', 'exchange.withheld']

const follow = (intents: Map<string, Unresolved>, { body, position, at }: AuditRecord): void => {
  const decision = body.decision_id
  if (decision === undefined) return
  if (body.event === 'exchange.intent')
    intents.set(decision, { decision_id: decision, position, at })
  if (ANSWERS.includes(body.event)) intents.delete(decision)
}

const MEMBERS = 'at,body,hash,position,previous'
const HASH = /^[0-9a-f]{64}$/

/** A record from JSON that anyone may have written; null when it is none. */
export const parseRecord = (value: unknown): AuditRecord | null => {
  if (!isObject(value) || Object.keys(value).sort().join() !== MEMBERS) return null
  const { position, at, previous, body, hash } = value
  if (!isCount(position) || position < 1 || !isCount(at)) return null
  if (!isHash(previous) || !isHash(hash) || !isBody(body)) return null
  return { position, at, previous, body, hash }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isCount = (value: unknown): value is number => Number.isSafeInteger(value)

const isHash = (value: unknown): value is string => typeof value === 'string' && HASH.test(value)

/** An event of a later version is a record all the same. Deeper values are JSON, because they came from JSON. */
const isBody = (value: unknown): value is AuditBody =>
  isObject(value) &&
  typeof value['event'] === 'string' &&
  ['string', 'undefined'].includes(typeof value['decision_id']) &&
  ['string', 'undefined'].includes(typeof value['request_id'])

/** The longest line an export may hold, in characters; a longer one is no record of ours. */
const LONGEST_LINE = 1_048_576

/**
 * The values of a JSON lines export, for `verifyChain`. A line that is not the canonical JSON of its value becomes
 * undefined: it might say two things to two readers, by a member named twice.
 */
export const readLines = async function* (
  chunks: AsyncIterable<string> | Iterable<string>,
): AsyncGenerator {
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LONGEST_LINE) throw new RangeError('a line of the export is too long')
    for (const line of lines) yield jsonOf(line)
  }
  if (rest !== '') yield jsonOf(rest)
}

const jsonOf = (line: string): unknown => {
  try {
    const value = JSON.parse(line) as CanonicalValue
    return canonicalJson(value) === line ? value : undefined
  } catch {
    return undefined
  }
}

/** Every record from position `from` on, read page by page, as a store gives them. */
export const readChain = async function* (
  page: (from: number, limit: number) => Promise<readonly AuditRecord[]>,
  from = 1,
): AsyncGenerator<AuditRecord> {
  for (let next = from; ;) {
    const records = await page(next, 500)
    yield* records
    const last = records.at(-1)
    if (last === undefined) return
    next = last.position + 1
  }
}
