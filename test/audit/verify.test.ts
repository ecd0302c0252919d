import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { link, recordLine } from '../../server/audit/chain.ts'
import type { AuditBody, AuditRecord } from '../../server/audit/record.ts'
import { readChain, readLines, verifyChain } from '../../server/audit/verify.ts'

const chainOf = (bodies: readonly AuditBody[]): AuditRecord[] => {
  const records: AuditRecord[] = []
  for (const body of bodies) records.push(link(records.at(-1) ?? null, 1000 + records.length, body))
  return records
}

const note = (n: number): AuditBody => ({ event: 'broker.stopped', revision: String(n) })

const chain = chainOf(Array.from({ length: 10 }, (_, n) => note(n)))

const at = (position: number): AuditRecord => chain[position - 1]!

const kinds = async (records: Iterable<unknown>, known: readonly AuditRecord[] = []) =>
  (await verifyChain(records, { known })).problems.map((one) => `${one.kind} ${one.position}`)

const all = async (values: AsyncIterable<unknown>): Promise<unknown[]> => {
  const list: unknown[] = []
  for await (const value of values) list.push(value)
  return list
}

/** The chain written anew from `position` on, by someone who knows how. */
const forged = (position: number): AuditRecord[] => {
  const records = chain.slice(0, position - 1)
  for (let next = position; next <= chain.length; next++)
    records.push(link(records.at(-1) ?? null, 1, note(next + 100)))
  return records
}

describe('a chain that was tampered with', () => {
  it.each<[string, unknown[], string[]]>([
    ['an edited body', chain.with(3, { ...at(4), body: note(7) }), ['edited 4']],
    ['an edited time', chain.with(3, { ...at(4), at: 1 }), ['edited 4']],
    [
      'an edited record with its own new hash',
      chain.with(3, link(at(3), 1, note(7))),
      ['wrong_previous 5'],
    ],
    ['a record taken out', chain.toSpliced(3, 1), ['gap 5']],
    ['the first record taken out', chain.slice(1), ['gap 2']],
    [
      'two records turned round',
      chain.with(3, at(5)).with(4, at(4)),
      ['gap 5', 'out_of_order 4', 'gap 6'],
    ],
    ['a record put in twice', chain.toSpliced(4, 0, at(4)), ['out_of_order 4']],
    [
      'a record of another chain put in',
      chain.toSpliced(4, 0, link(null, 1, note(1))),
      ['out_of_order 1', 'gap 5'],
    ],
    ['a record that is none', chain.toSpliced(4, 0, { position: 5 } as never), ['malformed 5']],
    ['a line that is no JSON', chain.toSpliced(4, 0, undefined as never), ['malformed 5']],
    [
      'a record with a member more',
      chain.with(3, { ...at(4), note: 1 } as never),
      ['malformed 4', 'gap 5'],
    ],
    [
      'a position that is no count',
      chain.with(3, { ...at(4), position: 4.5 }),
      ['malformed 4', 'gap 5'],
    ],
  ])('%s is found', async (_, records, problems) => {
    expect(await kinds(records)).toEqual(problems)
  })

  it.each<[string, AuditRecord[], string[]]>([
    ['the end cut off', chain.slice(0, 6), ['receipt_missing 8']],
    ['everything cut off', [], ['receipt_missing 8']],
    ['all written anew', forged(1), ['receipt_differs 8']],
    ['the end written anew', forged(7), ['receipt_differs 8']],
  ])('%s is found by a known receipt alone', async (_, records, problems) => {
    expect(await kinds(records)).toEqual([])
    expect(await kinds(records, [at(8)])).toEqual(problems)
  })

  it('is found wherever one record was changed, taken out or moved', async () => {
    const place = fc.integer({ min: 0, max: chain.length - 2 })
    const tamper = fc.constantFrom(
      (n: number) => chain.toSpliced(n, 1),
      (n: number) => chain.with(n, chain[n + 1]!).with(n + 1, chain[n]!),
      (n: number) => chain.with(n, { ...chain[n]!, body: note(99) }),
      (n: number) => chain.with(n, { ...chain[n]!, hash: chain[n + 1]!.hash }),
      (n: number) => chain.with(n, { ...chain[n]!, previous: chain[n + 1]!.hash }),
    )
    await fc.assert(
      fc.asyncProperty(place, tamper, async (n, change) => {
        expect((await verifyChain(change(n))).ok).toBe(false)
      }),
    )
  })

  it('is reported with a bounded number of problems', async () => {
    const report = await verifyChain(Array.from({ length: 5000 }, () => 'junk'))
    expect(report).toMatchObject({ ok: false, records: 5000, head: null })
    expect(report.problems.length).toBe(1000)
  })
})

describe('a whole chain', () => {
  it('verifies, and tells its head', async () => {
    const { position, hash } = at(10)
    expect(await verifyChain(chain, { known: [at(1), at(10)] })).toEqual({
      records: 10,
      ok: true,
      problems: [],
      unresolved: [],
      head: { position, hash },
    })
  })

  it('verifies from the middle on, after the record that is known to be before', async () => {
    expect((await verifyChain(chain.slice(4), { after: at(4) })).ok).toBe(true)
    expect((await verifyChain(chain.slice(4), { after: { ...at(4), hash: at(3).hash } })).ok).toBe(
      false,
    )
  })

  it('verifies as the lines of an export, however they were cut', async () => {
    const text = chain.map((record) => `${recordLine(record)}\n`).join('')
    const pieces = fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(pieces, async (cuts) => {
        const ends = [0, ...cuts.toSorted((a, b) => a - b), text.length]
        const chunks = ends.slice(1).map((end, n) => text.slice(ends[n], end))
        expect(await verifyChain(readLines(chunks))).toMatchObject({ ok: true, records: 10 })
      }),
      { numRuns: 50 },
    )
  })

  it('does not verify with a line that names a member twice', async () => {
    const lines = chain.map((record) => recordLine(record))
    const twice = lines.with(3, lines[3]!.replace('{"at"', '{"at":7,"at"'))
    expect(await kinds(await all(readLines([twice.join('\n')])))).toEqual(['malformed 4', 'gap 5'])
  })

  it('is read page by page', async () => {
    const page = (from: number) => Promise.resolve(chain.slice(from - 1, from + 2))
    expect(await all(readChain(page))).toEqual(chain)
    expect(await all(readChain(page, 9))).toEqual(chain.slice(8))
  })
})

describe('an intent', () => {
  const intent = (id: string): AuditBody => ({ event: 'exchange.intent', decision_id: id })

  it('without an answer is told, and is no problem of the chain', async () => {
    const records = chainOf([
      intent('dec_1'),
      intent('dec_2'),
      intent('dec_3'),
      intent('dec_4'),
      { event: 'exchange.outcome', decision_id: 'dec_1' },
      { event: 'exchange.failed', decision_id: 'dec_2' },
      { event: 'exchange.withheld', decision_id: 'dec_4' },
      { event: 'exchange.refused', decision_id: 'dec_3' },
    ])
    const report = await verifyChain(records)
    expect(report.ok).toBe(true)
    expect(report.unresolved).toEqual([{ decision_id: 'dec_3', position: 3, at: 1002 }])
  })
})
