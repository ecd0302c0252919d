import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyRecord } from '../../server/audit/chain.ts'
import { auditList } from '../../server/cli/audit.ts'
import type { AuditRecord } from '../../server/audit/record.ts'
import { parseRecord, type ChainReport } from '../../server/audit/verify.ts'
import { ask, endSession } from '../world/caller.ts'
import { startWorld } from '../world/world.ts'
import { expectComplaint, folderWith, tvm } from './process.ts'

/** What a broker left: its folder, and the export of its log. */
let folder: string
let log: readonly AuditRecord[]

const audit = (...args: string[]) => tvm(['audit', ...args, '--config', join(folder, 'tvm.yaml')])
const receiptOf = (position: number): string => `${position}:${log[position - 1]?.hash ?? ''}`
const linesOf = (records: readonly AuditRecord[]): string =>
  readFileSync(join(folder, 'audit.jsonl'), 'utf8')
    .split('\n')
    .filter((_, n) => records.some(({ position }) => position === n + 1))
    .map((line) => `${line}\n`)
    .join('')

beforeAll(async () => {
  folder = folderWith()
  const world = await startWorld()
  const { reply } = await ask(world)
  const { id = '', token = '' } = reply.sessions[0] ?? {}
  await endSession(world, id, token)
  await ask(world, { grants: ['no-such-grant'] })
  await tvm([
    ...['lock', 'add', 'owner:github:1', '--reason', '\u001b[2Jgone\u2028line'],
    ...['--config', world.configFile],
  ])
  await world.stop()
  cpSync(world.folder, folder, { recursive: true })
  await world.close()
  const { stdout } = await audit('list', '--format', 'json')
  writeFileSync(join(folder, 'audit.jsonl'), stdout)
  log = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditRecord)
})
afterAll(() => rmSync(folder, { recursive: true }))

const EVENTS = [
  ...['broker.started', 'exchange.intent', 'exchange.outcome', 'session.ended'],
  ...['exchange.refused', 'lock.added', 'broker.stopped'],
]

describe('tvm audit list', () => {
  it.each(['0', '-1', 'x', '1.5', ''])('refuses --from %j', async (from) => {
    expectComplaint(await audit('list', `--from=${from}`), 2, [/error: --from takes a position/])
  })

  it('exports one record a line, each of which verifies', () => {
    expect(log.map(({ body }) => body.event)).toEqual(EVENTS)
    for (const record of log) {
      expect(parseRecord(record)).toEqual(record)
      expect(verifyRecord(record)).toBe(true)
    }
  })

  it('shows people columns of a fixed width', async () => {
    const { code, stdout, stderr } = await audit('list')
    expect([code, stderr]).toEqual([0, ''])
    const lines = stdout.trimEnd().split('\n')
    const cells = lines.map((line) =>
      [0, 8, 30, 50].map((from, n) => line.slice(from, [8, 30, 50, 82][n]).trim()),
    )
    expect(cells[0]).toEqual(['#', 'time', 'event', 'decision'])
    expect(cells.slice(1).map(([position, , event]) => [position, event])).toEqual(
      EVENTS.map((event, n) => [String(n + 1), event]),
    )
    for (const [, time] of cells.slice(1)) expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:]{8}Z$/)
    expect(cells[2]?.[3]).toBe(log[1]?.body.decision_id)
  })

  it('tells of each record what it is about', async () => {
    const { stdout } = await audit('list')
    const what = stdout.split('\n').map((line) => line.slice(82))
    const session = log[3]?.body['session'] as string
    expect(what[2]).toMatch(new RegExp(`^payments-deploy github/99120/\\S+ ${session}$`))
    expect(what[3]).toBe(session)
    expect(what[4]).toMatch(new RegExp(`^payments-deploy github/99120/\\S+ ${session}$`))
    expect(what[5]).toMatch(/^grant_refused no-such-grant github\/99120\/\S+$/)
    expect(what[6]).toMatch(/^lck_\S+ owner:github:1 \ufffd\[2Jgone\ufffdline$/)
  })

  it('starts at --from', async () => {
    const { stdout } = await audit('list', '--format', 'json', '--from', '6')
    expect(stdout).toBe(linesOf(log.slice(5)))
  })

  it('ends without a word when its reader goes away', async () => {
    const args = ['audit', 'list', '--config', join(folder, 'tvm.yaml')]
    const ended = await tvm(args, { started: (child) => child.stdout?.destroy() })
    expect(ended).toEqual({ code: 0, stdout: '', stderr: '' })
  })
})

describe('a list that nobody reads any more', () => {
  it('reads no further itself', async () => {
    const asked: number[] = []
    const records = (from: number) => {
      asked.push(from)
      return Promise.resolve(asked.length > 2 ? [] : log)
    }
    const written: string[] = []
    const out = (text: string): boolean => written.push(text) < 3
    const terminal = { out, err: () => undefined, color: false }
    expect(await auditList({ records }, { format: 'json', from: 1 }, terminal)).toBe(0)
    expect([written.length, asked]).toEqual([3, [1]])
  })
})

const fileOf = (name: string, text: string): string => {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

describe('tvm audit verify, over a whole chain', () => {
  it('says so, with its head', async () => {
    const stdout = `ok: 7 records, an unbroken chain\nhead ${receiptOf(7)}\n`
    expect(await audit('verify')).toEqual({ code: 0, stdout, stderr: '' })
  })

  it('says so to machines', async () => {
    const { code, stdout } = await audit('verify', '--format', 'json')
    const head = { position: 7, hash: log[6]?.hash }
    const report = { records: 7, ok: true, problems: [], unresolved: [], head }
    expect([code, JSON.parse(stdout)]).toEqual([0, report])
  })

  it('finds the receipts that it holds', async () => {
    const { code } = await audit('verify', '--receipt', receiptOf(3), '--receipt', receiptOf(7))
    expect(code).toBe(0)
  })

  it('an export needs neither database nor configuration', async () => {
    const args = ['audit', 'verify', '--file', join(folder, 'audit.jsonl')]
    expect(await tvm(args)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ok: 7 /) as string,
    })
  })

  it('an export of its end, after a receipt', async () => {
    const file = fileOf('later.jsonl', linesOf(log.slice(4)))
    const { code, stdout } = await audit('verify', '--file', file, '--after', receiptOf(4))
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'ok: 3 records, an unbroken chain'])
  })

  it('the store from a receipt on', async () => {
    const { code, stdout } = await audit('verify', '--after', receiptOf(5))
    expect([code, stdout.split('\n')[0]]).toEqual([0, 'ok: 2 records, an unbroken chain'])
  })

  it('nothing new after its head is no finding', async () => {
    expect(await audit('verify', '--after', receiptOf(7))).toMatchObject({ code: 0 })
  })
})

const NOWHERE = '0'.repeat(64)

const edited = (text: string): string => text.replace('no-such-grant', 'my-such-grant')
const without = (position: number): string =>
  linesOf(log.filter((record) => record.position !== position))
const swapped = (): string => {
  const lines = linesOf(log).trimEnd().split('\n')
  return `${[...lines.slice(0, 5), lines[6], lines[5]].join('\n')}\n`
}

/** The export with one thing changed → kinds and positions of what is found. */
const BROKEN: Readonly<Record<string, readonly [() => string, ...string[]]>> = {
  'a record says something else': [() => edited(linesOf(log)), 'position 5: edited'],
  'a record is missing': [() => without(5), 'position 6: gap'],
  'two records have changed places': [swapped, ...['position 7: gap', 'position 6: out of order']],
  'a line is no record': [() => `${linesOf(log)}{"position":8}\n`, 'position 8: malformed'],
  'a line is no JSON': [() => `${linesOf(log)}ok\n`, 'position 8: malformed'],
  'a member stands there twice': [
    () => linesOf(log).replace('{"at":', '{"at":1,"at":'),
    ...['position 1: malformed', 'position 2: gap'],
  ],
  'its beginning is missing': [() => linesOf(log.slice(3)), 'position 4: gap'],
}

describe('tvm audit verify ends with 1, and tells kind and position, when', () => {
  it.each(Object.entries(BROKEN))('%s', async (name, [text, ...found]) => {
    const file = fileOf(`${name.replaceAll(' ', '-')}.jsonl`, text())
    const { code, stdout, stderr } = await audit('verify', '--file', file)
    const lines = stdout.trimEnd().split('\n').slice(0, -1)
    expect([code, stderr]).toEqual([1, ''])
    expect(lines.shift()).toMatch(/^BROKEN: \d records$/)
    expect(lines.filter((line) => line.includes('position') && !line.includes('dec_'))).toEqual(
      found.map((each) => `  ${each}`),
    )
  })

  it('the database was edited by hand', async () => {
    const data = join(folder, 'edited')
    mkdirSync(data, { mode: 0o700 })
    cpSync(join(folder, 'data'), data, { recursive: true })
    const db = new DatabaseSync(join(data, 'tvm.db'))
    db.exec('DROP TRIGGER audit_is_never_changed')
    db.exec("UPDATE audit SET body = json_set(body, '$.grants[0]', 'x') WHERE position = 5")
    db.close()
    const { code, stdout } = await tvm(['audit', 'verify', '--format', 'json'], {
      env: { TVM_DATA: data },
    })
    const { ok, problems } = JSON.parse(stdout) as ChainReport
    expect([code, ok, problems]).toEqual([1, false, [{ kind: 'edited', position: 5 }]])
  })

  it.each([
    ['a receipt names another record', () => `3:${NOWHERE}`, 'position 3: receipt differs'],
    ['a receipt is past the end', () => `8:${NOWHERE}`, 'position 8: receipt missing'],
  ])('%s', async (_, receipt, found) => {
    const { code, stdout } = await audit(
      'verify',
      '--receipt',
      receiptOf(1),
      '--receipt',
      receipt(),
    )
    expect([code, stdout.split('\n').slice(0, 2)]).toEqual([1, ['BROKEN: 7 records', `  ${found}`]])
  })

  it('the receipt before the first record is another', async () => {
    const { code, stdout } = await audit('verify', '--after', `4:${NOWHERE}`)
    expect([code, stdout.split('\n')[1]]).toEqual([1, '  position 5: wrong previous'])
  })

  it('there is no record at all', async () => {
    const file = fileOf('empty.jsonl', '')
    expectComplaint(await audit('verify', '--file', file), 1, [/error: there is no record in \S+$/])
  })

  it('its reader went away: the exit code still tells', async () => {
    const file = fileOf('broken.jsonl', without(5))
    const args = ['audit', 'verify', '--file', file]
    const ended = await tvm(args, { started: (child) => child.stdout?.destroy() })
    expect(ended).toEqual({ code: 1, stdout: '', stderr: '' })
  })
})

describe('tvm audit verify ends with 2 when', () => {
  it.each(['x', '3', '3:abc', `0:${NOWHERE}`, `3:${NOWHERE.toUpperCase().replace('0', 'A')}`])(
    'a receipt is %s',
    async (receipt) => {
      expectComplaint(await audit('verify', '--receipt', receipt), 2, [
        /error: a receipt is <position>:<hash>$/,
        /hint: The job summary prints it in this form\.$/,
      ])
    },
  )

  it.each([
    ['is not there', 'none.jsonl', 'ENOENT'],
    ['is a folder', '.', 'EISDIR'],
  ])('the export %s', async (_, name, code) => {
    expectComplaint(await audit('verify', '--file', join(folder, name)), 2, [
      new RegExp(`error: \\S+ cannot be read \\(${code}\\)$`),
      /hint: An export is what tvm audit list --format json prints\.$/,
    ])
  })

  it('a line of the export is longer than any record', async () => {
    const file = fileOf('long.jsonl', 'x'.repeat(1_100_000))
    expectComplaint(await audit('verify', '--file', file), 2, [
      /error: \S+ cannot be read \(a line of the export is too long\)$/,
      /hint: An export is what/,
    ])
  })
})
