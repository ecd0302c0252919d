import type { Receipt } from '../api.ts'
import { GENESIS } from '../audit/chain.ts'
import type { AuditBody, AuditRecord } from '../audit/record.ts'
import type { StoredSession } from '../session/session.ts'
import type { Lock, Look, Looked } from '../session/store.ts'
import { numberOf, type Row, type Sql } from './sqlite-database.ts'

/** Reading. Every list goes in as one JSON parameter, so that a statement has one text and is prepared once. */

export const readLook = (sql: Sql, look: Look): Looked => {
  const sessions = newestSessions(sql, look.job, look.grants)
  const subjects = [...look.subjects, ...sessions.map(({ id }) => `session:${id}`)]
  return {
    locks: heldLocks(sql, subjects, look.now),
    full: look.buckets
      .filter((bucket) => countOf(sql, bucket.key, bucket.start) >= bucket.limit)
      .map(({ key }) => key),
    used: usedKeys(
      sql,
      look.once.map(({ key }) => key),
    ),
    sessions,
  }
}

export const heldLocks = (sql: Sql, subjects: readonly string[], now: number): readonly Lock[] =>
  sql
    .all(
      `SELECT * FROM locks WHERE subject IN (SELECT value FROM json_each(?))
        AND (expires_at IS NULL OR expires_at > ?) ORDER BY id`,
      JSON.stringify(subjects),
      now,
    )
    .map(lockOf)

export const countOf = (sql: Sql, key: string, start: number): number =>
  numberOf(sql.get('SELECT count FROM buckets WHERE key = ? AND start = ?', key, start), 'count')

export const usedKeys = (sql: Sql, keys: readonly string[]): readonly string[] =>
  sql
    .all('SELECT key FROM once WHERE key IN (SELECT value FROM json_each(?))', JSON.stringify(keys))
    .map((row) => row['key'] as string)

export const newestSessions = (
  sql: Sql,
  job: string,
  grants: readonly string[],
): readonly StoredSession[] =>
  sql
    .all(
      `SELECT * FROM sessions WHERE seq IN (
        SELECT max(seq) FROM sessions
        WHERE job = ? AND grant_name IN (SELECT value FROM json_each(?)) GROUP BY grant_name)`,
      job,
      JSON.stringify(grants),
    )
    .map(sessionOf)

export const readSession = (sql: Sql, id: string): StoredSession | null => {
  const row = sql.get('SELECT * FROM sessions WHERE id = ?', id)
  return row === undefined ? null : sessionOf(row)
}

export const readLocks = (sql: Sql): readonly Lock[] =>
  sql.all('SELECT * FROM locks ORDER BY id').map(lockOf)

const MOST_RECORDS = 1_000

export const readRecords = (sql: Sql, from: number, limit: number): readonly AuditRecord[] =>
  sql
    .all(
      'SELECT * FROM audit WHERE position >= ? ORDER BY position LIMIT ?',
      from,
      Math.max(0, Math.min(limit, MOST_RECORDS)),
    )
    .map(recordOf)

/** The newest record; position 0 where there is none. */
export const readHead = (sql: Sql): Receipt => {
  const row = sql.get('SELECT position, hash FROM audit ORDER BY position DESC LIMIT 1')
  return row === undefined
    ? { position: 0, hash: GENESIS }
    : { position: row['position'] as number, hash: row['hash'] as string }
}

/** Bytes in use; pages that a purge has freed are room again. */
export const usedBytes = (sql: Sql): number => {
  const pages = numberOf(sql.get('PRAGMA page_count'), 'page_count')
  const free = numberOf(sql.get('PRAGMA freelist_count'), 'freelist_count')
  return (pages - free) * numberOf(sql.get('PRAGMA page_size'), 'page_size')
}

export const summarisedCount = (sql: Sql): number =>
  numberOf(sql.get('SELECT count FROM summarised'), 'count')

/** The tables are STRICT and checked: a column has the type that its name says. */
const sessionOf = (row: Row): StoredSession =>
  ({
    id: row['id'],
    state: row['state'],
    grant: row['grant_name'],
    issuer: row['issuer'],
    job: row['job'],
    jkt: row['jkt'],
    tokenHash: row['token_hash'],
    scope: row['scope'],
    createdAt: row['created_at'],
    expiresAt: row['expires_at'],
    renewUntil: row['renew_until'],
    decisionId: row['decision_id'],
    revision: row['revision'],
    subjects: JSON.parse(row['subjects'] as string) as readonly string[],
    mac: row['mac'],
  }) as StoredSession

const lockOf = (row: Row): Lock => ({
  id: row['id'] as string,
  subject: row['subject'] as string,
  reason: row['reason'] as string,
  createdAt: row['created_at'] as number,
  expiresAt: row['expires_at'] as number | null,
})

const recordOf = (row: Row): AuditRecord => ({
  position: row['position'] as number,
  at: row['at'] as number,
  previous: row['previous'] as string,
  body: JSON.parse(row['body'] as string) as AuditBody,
  hash: row['hash'] as string,
})
