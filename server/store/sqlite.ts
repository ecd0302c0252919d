import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Change, Committed } from '../session/store.ts'
import { MIGRATIONS } from './migrations.ts'
import { commitAll } from './sqlite-batch.ts'
import { openBeside, type Sql } from './sqlite-database.ts'
import { readLocks, readRecords, readSession } from './sqlite-rows.ts'
import { StoreError, type Desk, type ReadStore, type Store } from './store.ts'
import { callsTo, type Calls, type WorkerOptions } from './worker-calls.ts'

export interface SqliteOptions {
  /** The database file. It is made where there is none, 0600, in a folder 0700 that may not be open to others. */
  readonly path: string
  /** Milliseconds that a call may take. */
  readonly timeout?: number
  /**
   * High-water mark in bytes of the database: past it refusals are counted instead of recorded, until there is room again and one
   * record tells how many. Allowed exchanges go on, so leave the disk room beyond it. Default: none.
   */
  readonly maxBytes?: number
}

/** A hand with another tool may hold the database for a moment; less than a call may take. */
const BUSY_MS = 2_000

/**
 * The store of a broker that runs alone: SQLite in a worker thread, for node:sqlite is synchronous, and a slow disk must not stop
 * the thread that answers requests. Rejects with a StoreError when the database cannot be served.
 */
export const openSqlite = async (options: SqliteOptions): Promise<Store> => {
  const { path, timeout = 5_000, maxBytes = Infinity } = options
  const worker = startSqliteWorker({ path, maxBytes, busyTimeout: Math.min(BUSY_MS, timeout) })
  return storeOver(await callsTo(worker, timeout))
}

/** The worker has this file's own extension: `.ts` where types are stripped, `.js` where they were compiled away. */
export const startSqliteWorker = (options: WorkerOptions): Worker => {
  const file = new URL(`./sqlite-worker${extname(import.meta.url)}`, import.meta.url)
  return new Worker(file, { workerData: options, name: 'store', execArgv: [], env: {} })
}

/** A store that asks `calls`; `openSqlite` is made of this and a worker. */
export const storeOver = (calls: Calls): Store => ({
  look: (look) => calls.call({ kind: 'look', look }),
  commit: (change) => calls.call({ kind: 'commit', change }),
  session: (id) => calls.call({ kind: 'session', id }),
  records: (from, limit) => calls.call({ kind: 'records', from, limit }),
  locks: () => calls.call({ kind: 'locks' }),
  health: async () => {
    try {
      return await calls.call({ kind: 'health' })
    } catch (error) {
      return { ok: false, because: error instanceof Error ? error.message : String(error) }
    }
  },
  close: () => calls.close(),
})

/**
 * The same database for an operator's command that reads, beside the broker that serves it or while none does. It works on the
 * calling thread. Rejects with a StoreError when there is no database, or its schema is another version's.
 */
export const openSqliteReadOnly = ({ path }: { readonly path: string }): Promise<ReadStore> =>
  broken(() => readingOf(openBeside({ path, busyTimeout: BUSY_MS, readOnly: true }, MIGRATIONS)))

/**
 * The same for an operator's command that acts. Its commits are as durable and as whole as the broker's, and the broker sees
 * them with its next statement: it keeps nothing of the database in memory.
 */
export const openSqliteDesk = ({ path }: { readonly path: string }): Promise<Desk> =>
  broken(() => {
    const sql = openBeside({ path, busyTimeout: BUSY_MS, readOnly: false }, MIGRATIONS)
    return { ...readingOf(sql), commit: (change) => broken(() => commitOne(sql, change)) }
  })

const readingOf = (sql: Sql): ReadStore => ({
  session: (id) => broken(() => readSession(sql, id)),
  records: (from, limit) => broken(() => readRecords(sql, from, limit)),
  locks: () => broken(() => readLocks(sql)),
  close: () => broken(() => sql.db.close()),
})

const commitOne = (sql: Sql, change: Change): Committed => {
  const [outcome] = commitAll(sql, [change], Infinity)
  if (outcome?.ok !== true) throw new StoreError(outcome?.because ?? 'the commit has no outcome')
  return outcome.value
}

/** Whatever breaks in `work` rejects as a StoreError. */
const broken = async <T>(work: () => T): Promise<T> => {
  try {
    return await Promise.resolve(work())
  } catch (error) {
    if (error instanceof StoreError) throw error
    throw new StoreError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}
