import type { Change, Committed } from '../session/store.ts'
import { applyChange, purge, tellSummarised, type Room } from './sqlite-commit.ts'
import type { Sql } from './sqlite-database.ts'
import { summarisedCount, usedBytes } from './sqlite-rows.ts'
import { StoreError } from './store.ts'

export type Outcome<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly because: string }

export const attempt = <T>(work: () => T): Outcome<T> => {
  try {
    return { ok: true, value: work() }
  } catch (error) {
    return { ok: false, because: reasonOf(error) }
  }
}

/**
 * Writes all changes in one transaction, each with its own outcome, in their order. What it returns is durable; where the
 * transaction fails, every outcome is that failure and nothing was written.
 */
export const commitAll = (
  sql: Sql,
  changes: readonly Change[],
  maxBytes: number,
): readonly Outcome<Committed>[] => {
  try {
    sql.db.exec('BEGIN IMMEDIATE')
    const outcomes = writeAll(sql, changes, maxBytes)
    sql.db.exec('COMMIT')
    return outcomes
  } catch (error) {
    if (sql.db.isTransaction) sql.db.exec('ROLLBACK')
    return changes.map(() => ({ ok: false, because: reasonOf(error) }))
  }
}

const writeAll = (
  sql: Sql,
  changes: readonly Change[],
  maxBytes: number,
): readonly Outcome<Committed>[] => {
  const now = Math.min(...changes.map((change) => change.now))
  const room = roomIn(sql, maxBytes)
  purge(sql, now)
  if (room()) tellSummarised(sql, now)
  return changes.map((change) => {
    const outcome = attempt(() => writeOne(sql, change, room))
    if (!sql.db.isTransaction) throw new StoreError(`the transaction was lost: ${told(outcome)}`)
    return outcome
  })
}

/** Once refusals are summarised it takes a little more room to record them again, or the two would alternate. */
const roomIn =
  (sql: Sql, maxBytes: number): Room =>
  () =>
    usedBytes(sql) < (summarisedCount(sql) > 0 ? maxBytes * 0.95 : maxBytes)

/**
 * Inside a savepoint of its own: what one change cannot do takes nothing from the others. SQLite itself may roll the whole
 * transaction back (a full disk, an I/O error); then there is no savepoint any more.
 */
const writeOne = (sql: Sql, change: Change, room: Room): Committed => {
  sql.db.exec('SAVEPOINT one')
  try {
    const committed = applyChange(sql, change, room)
    if (!committed.done && committed.receipt === undefined) sql.db.exec('ROLLBACK TO one')
    return committed
  } catch (error) {
    if (sql.db.isTransaction) sql.db.exec('ROLLBACK TO one')
    throw error
  } finally {
    if (sql.db.isTransaction) sql.db.exec('RELEASE one')
  }
}

const told = (outcome: Outcome<Committed>): string => (outcome.ok ? 'no reason' : outcome.because)

const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
