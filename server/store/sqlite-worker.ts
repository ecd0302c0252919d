import { parentPort, workerData } from 'node:worker_threads'
import { MIGRATIONS } from './migrations.ts'
import { attempt, commitAll } from './sqlite-batch.ts'
import { openServed, type Sql } from './sqlite-database.ts'
import {
  readHead,
  readLocks,
  readLook,
  readRecords,
  readSession,
  summarisedCount,
  usedBytes,
} from './sqlite-rows.ts'
import { StoreError } from './store.ts'
import type { Answer, Answers, Call, Request, WorkerOptions } from './worker-calls.ts'

/**
 * The thread that owns the database. Calls that arrive while one transaction runs wait, and go into the next one
 * together: one fsync for all of them. No answer leaves before its transaction is durable.
 */

const MOST_AT_ONCE = 256

const serve = (options: WorkerOptions): void => {
  const port = parentPort
  if (port === null) throw new Error('the store runs in a worker thread')
  const database = openServed(options.path, options.busyTimeout, MIGRATIONS)
  const { sql } = database
  const queue: Call[] = []
  const drain = (): void => {
    const calls = queue.splice(0, MOST_AT_ONCE).filter(isAwaited)
    if (queue.length > 0) setImmediate(drain)
    // Reads first: they see what is durable, and nothing of a transaction that may yet fail.
    port.postMessage(answerReads(sql, calls))
    port.postMessage(answerCommits(sql, calls, options.maxBytes))
    if (!calls.some(({ request }) => request.kind === 'close')) return
    database.close()
    port.close()
  }
  port.on('message', (call: Call) => {
    if (queue.push(call) === 1) setImmediate(drain)
  })
  port.postMessage('open')
}

/** A call whose caller has given up is not begun: nobody would hear what became of it. */
const isAwaited = ({ deadline }: Call): boolean => process.hrtime.bigint() < deadline

const answerReads = (sql: Sql, calls: readonly Call[]): readonly Answer[] =>
  calls
    .filter(({ request }) => request.kind !== 'commit')
    .map(({ id, request }) => ({ id, ...attempt(() => read(sql, request)) }))

const answerCommits = (sql: Sql, calls: readonly Call[], maxBytes: number): readonly Answer[] => {
  const asked = calls.flatMap(({ id, request }) =>
    request.kind === 'commit' ? [{ id, change: request.change }] : [],
  )
  if (asked.length === 0) return []
  const changes = asked.map(({ change }) => change)
  const outcomes = commitAll(sql, changes, maxBytes)
  return asked.flatMap(({ id }, n) => (outcomes[n] === undefined ? [] : [{ id, ...outcomes[n] }]))
}

const read = (sql: Sql, request: Request): Answers[Request['kind']] => {
  switch (request.kind) {
    case 'look':
      return snapshot(sql, () => readLook(sql, request.look))
    case 'session':
      return readSession(sql, request.id)
    case 'records':
      return readRecords(sql, request.from, request.limit)
    case 'locks':
      return readLocks(sql)
    case 'health': {
      const { position } = readHead(sql)
      return { ok: true, position, bytes: usedBytes(sql), summarised: summarisedCount(sql) }
    }
    case 'close':
      return null
    case 'commit':
      throw new StoreError('a commit is no read')
  }
}

/** This connection is the only one that writes, but a hand with another tool would not tell us. */
const snapshot = <T>(sql: Sql, work: () => T): T => {
  sql.db.exec('BEGIN')
  try {
    return work()
  } finally {
    sql.db.exec('COMMIT')
  }
}

serve(workerData as WorkerOptions)
