import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { verifyChain } from '../../server/audit/verify.ts'
import { MIGRATIONS, type Migration } from '../../server/store/migrations.ts'
import { commitAll } from '../../server/store/sqlite-batch.ts'
import { openServed, type ServedDatabase } from '../../server/store/sqlite-database.ts'
import { readRecords, readSession } from '../../server/store/sqlite-rows.ts'
import { intend, note, row, settle } from './changes.ts'

let folder: string
let path: string
const opened: ServedDatabase[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tvm-database-'))
  path = join(folder, 'tvm.db')
})

afterEach(() => {
  for (const database of opened.splice(0)) database.close()
  rmSync(folder, { recursive: true })
})

const open = (migrations: readonly Migration[] = MIGRATIONS): ServedDatabase => {
  const database = openServed(path, 100, migrations)
  opened.push(database)
  return database
}

const close = (): void => opened.pop()?.close()

describe('the connection', () => {
  it('waits for the disk at each commit, and lets readers go beside it', () => {
    const { sql } = open()
    expect(sql.get('PRAGMA synchronous')).toEqual({ synchronous: 2 })
    expect(sql.get('PRAGMA journal_mode')).toEqual({ journal_mode: 'wal' })
    expect(sql.get('PRAGMA foreign_keys')).toEqual({ foreign_keys: 1 })
  })
})

describe('migrations', () => {
  const second: Migration = { version: 2, sql: 'CREATE TABLE second (a) STRICT' }
  const working: Migration = { version: 2, sql: 'CREATE TABLE second (a TEXT) STRICT' }

  it('are numbered from 1 without gaps, for a step is skipped by its place', () => {
    expect(MIGRATIONS.map(({ version }) => version)).toEqual(MIGRATIONS.map((_, n) => n + 1))
  })

  it('leave nothing of a step that fails, and let the next start try again', () => {
    open()
    close()
    const broken = { version: 2, sql: `${working.sql}; CREATE TABLE third (a NONSENSE) STRICT` }
    expect(() => open([...MIGRATIONS, broken])).toThrow(/unknown datatype/)
    expect(() => open([...MIGRATIONS, second])).toThrow(/missing datatype/)
    const { sql } = open([...MIGRATIONS, working])
    expect(sql.all('SELECT version FROM migrations ORDER BY version')).toEqual([
      { version: 1 },
      { version: 2 },
    ])
  })

  it('keep what is there', () => {
    commitAll(open().sql, [note(1)], Infinity)
    close()
    expect(readRecords(open([...MIGRATIONS, working]).sql, 1, 10).length).toBe(1)
  })
})

describe('a disk that is full', () => {
  it('takes the whole transaction with it, for SQLite rolls back by itself; what fits goes on', async () => {
    const { sql } = open()
    commitAll(sql, [intend(row())], Infinity)
    sql.run('PRAGMA max_page_count = 30')
    const big = { ...note(2), body: { event: 'broker.stopped' as const, why: 'x'.repeat(200_000) } }
    const outcomes = commitAll(sql, [note(1), big, settle(row())], Infinity)
    expect(outcomes.map((one) => one.ok || one.because)).toEqual(
      Array(3).fill('the transaction was lost: database or disk is full'),
    )
    expect(readRecords(sql, 1, 10).length).toBe(1)
    expect(readSession(sql, row().id)).toEqual(row())
    expect(commitAll(sql, [settle(row())], Infinity)).toMatchObject([{ ok: true }])
    expect(await verifyChain(readRecords(sql, 1, 10))).toMatchObject({ ok: true, records: 2 })
  })

  it('refuses all where the transaction is lost in any other way', () => {
    const { sql } = open()
    const lost = {
      ...note(1),
      get body(): never {
        sql.db.exec('ROLLBACK')
        throw new Error('the disk is on fire')
      },
    }
    const outcomes = commitAll(sql, [note(1), lost, note(2)], Infinity)
    expect(outcomes.map((one) => one.ok || one.because)).toEqual(
      Array(3).fill('the transaction was lost: the disk is on fire'),
    )
    expect(readRecords(sql, 1, 10)).toEqual([])
    expect(commitAll(sql, [note(3)], Infinity)).toMatchObject([{ ok: true }])
  })
})
