import type { Receipt } from '../api.ts'
import { canonicalJson, link } from '../audit/chain.ts'
import type { AuditBody } from '../audit/record.ts'
import type { StoredSession } from '../session/session.ts'
import type { Bucket, Change, Committed, Lock, OneTime } from '../session/store.ts'
import { numberOf, type Sql } from './sqlite-database.ts'
import {
  countOf,
  heldLocks,
  newestSessions,
  readHead,
  readSession,
  usedKeys,
} from './sqlite-rows.ts'

/** Is there room for records that are only of use to a reader, such as refusals? */
export type Room = () => boolean

type Of<Kind extends Change['kind']> = Extract<Change, { readonly kind: Kind }>

/** Writes one change inside the transaction that is open; what is not `done` has written its receipt's record, or nothing. */
export const applyChange = (sql: Sql, change: Change, room: Room): Committed => {
  switch (change.kind) {
    case 'refuse':
      return refuse(sql, change, room)
    case 'intend':
      return intend(sql, change)
    case 'settle':
      return settle(sql, change)
    case 'end':
      return end(sql, change)
    case 'lock':
      return lock(sql, change)
    case 'note':
      return done(append(sql, change.now, change.body))
  }
}

const refuse = (sql: Sql, change: Of<'refuse'>, room: Room): Committed => {
  claim(sql, change.once)
  count(sql, change.buckets)
  if (room()) return done(append(sql, change.now, change.body))
  sql.run(
    `INSERT INTO summarised (one, count, since) VALUES (1, 1, ?)
      ON CONFLICT (one) DO UPDATE SET count = count + 1`,
    change.now,
  )
  return { done: true, receipt: readHead(sql), summarised: true }
}

const intend = (sql: Sql, change: Of<'intend'>): Committed => {
  const used = usedKeys(
    sql,
    change.once.map(({ key }) => key),
  )
  if (used.length > 0) return { done: false, because: 'replayed', keys: used }
  const full = change.buckets.filter(({ key, start, limit }) => countOf(sql, key, start) >= limit)
  if (full.length > 0) return { done: false, because: 'limited', keys: full.map(({ key }) => key) }
  for (const { row, expect } of change.sessions) {
    const newest = newestSessions(sql, row.job, [row.grant])[0]
    if (!asExpected(newest, row, expect)) return { done: false, because: 'raced', keys: [row.id] }
    if (newest?.id === row.id) update(sql, row)
    else insert(sql, row)
  }
  claim(sql, change.once)
  count(sql, change.buckets)
  return done(append(sql, change.now, change.body))
}

const LIVE = ['pending', 'active']

const asExpected = (
  newest: StoredSession | undefined,
  row: StoredSession,
  expect: string | null,
): boolean => {
  if (newest === undefined) return expect === null
  const replaced = newest.id !== row.id
  if (replaced && LIVE.includes(newest.state)) return false
  return newest.mac === expect
}

const settle = (sql: Sql, change: Of<'settle'>): Committed => {
  const subjects = [...change.subjects, ...change.sessions.map(({ row }) => `session:${row.id}`)]
  const locked = heldLocks(sql, subjects, change.now).map(({ subject }) => subject)
  const pending = change.sessions.filter(({ row }) => isPending(sql, row))
  if (locked.length === 0 && pending.length === change.sessions.length) {
    for (const { row } of pending) update(sql, row)
    return done(append(sql, change.now, change.body))
  }
  for (const { withheld } of pending) update(sql, withheld)
  const receipt = append(sql, change.now, change.withheldBody)
  const over = change.sessions.filter((session) => !pending.includes(session))
  const keys = [...locked, ...over.map(({ row }) => `session:${row.id}`)]
  return { done: false, because: 'withheld', receipt, keys }
}

const isPending = (sql: Sql, row: StoredSession): boolean => {
  const stored = readSession(sql, row.id)
  return stored?.state === 'pending' && stored.decisionId === row.decisionId
}

const end = (sql: Sql, change: Of<'end'>): Committed => {
  const { id, decisionId } = change.row
  const stored = readSession(sql, id)
  if (stored?.decisionId !== decisionId || !change.from.includes(stored.state))
    return { done: false, because: 'unchanged', keys: [id] }
  update(sql, change.row)
  return done(append(sql, change.now, change.body))
}

const lock = (sql: Sql, change: Of<'lock'>): Committed => {
  for (const id of change.remove) sql.run('DELETE FROM locks WHERE id = ?', id)
  for (const one of change.add) addLock(sql, one)
  return done(append(sql, change.now, change.body))
}

const addLock = (sql: Sql, { id, subject, reason, createdAt, expiresAt }: Lock): void => {
  sql.run('INSERT INTO locks VALUES (?, ?, ?, ?, ?)', id, subject, reason, createdAt, expiresAt)
}

const done = (receipt: Receipt): Committed => ({ done: true, receipt })

const append = (sql: Sql, at: number, body: AuditBody): Receipt => {
  const head = readHead(sql)
  const record = link(head.position === 0 ? null : head, at, body)
  const { position, previous, hash } = record
  const text = canonicalJson(body)
  sql.run('INSERT INTO audit VALUES (?, ?, ?, ?, ?)', position, at, previous, text, hash)
  return { position, hash }
}

const claim = (sql: Sql, once: readonly OneTime[]): void => {
  for (const { key, until } of once)
    sql.run(
      `INSERT INTO once (key, until) VALUES (?, ?)
        ON CONFLICT (key) DO UPDATE SET until = max(until, excluded.until)`,
      key,
      until,
    )
}

const count = (sql: Sql, buckets: readonly Bucket[]): void => {
  for (const { key, start, length } of buckets)
    sql.run(
      `INSERT INTO buckets (key, start, ends, count) VALUES (?, ?, ?, 1)
        ON CONFLICT (key, start) DO UPDATE SET count = count + 1`,
      key,
      start,
      start + length,
    )
}

const insert = (sql: Sql, row: StoredSession): void => {
  sql.run(
    `INSERT INTO sessions (id, state, grant_name, issuer, job, jkt, token_hash, scope, created_at, expires_at,
        renew_until, decision_id, revision, subjects, mac)
      VALUES (:id, :state, :grant, :issuer, :job, :jkt, :tokenHash, :scope, :createdAt, :expiresAt,
        :renewUntil, :decisionId, :revision, :subjects, :mac)`,
    columnsOf(row),
  )
}

/** Every column, because the MAC is over all of them. */
const update = (sql: Sql, row: StoredSession): void => {
  sql.run(
    `UPDATE sessions SET state = :state, grant_name = :grant, issuer = :issuer, job = :job, jkt = :jkt,
        token_hash = :tokenHash, scope = :scope, created_at = :createdAt, expires_at = :expiresAt,
        renew_until = :renewUntil, decision_id = :decisionId, revision = :revision, subjects = :subjects, mac = :mac
      WHERE id = :id`,
    columnsOf(row),
  )
}

const columnsOf = (row: StoredSession) => ({
  id: row.id,
  state: row.state,
  grant: row.grant,
  issuer: row.issuer,
  job: row.job,
  jkt: row.jkt,
  tokenHash: row.tokenHash,
  scope: row.scope,
  createdAt: row.createdAt,
  expiresAt: row.expiresAt,
  renewUntil: row.renewUntil,
  decisionId: row.decisionId,
  revision: row.revision,
  subjects: JSON.stringify(row.subjects),
  mac: row.mac,
})

/** A one-time value outlives its time by this much, should our clock be set back. */
const REMEMBER_LONGER = 600_000

/** A commit adds a few rows and may take this many away, so that a purge keeps up and never takes long. */
const PURGE_AT_ONCE = 512

/** Forgets one-time values and buckets whose time is over. */
export const purge = (sql: Sql, now: number): void => {
  const before = now - REMEMBER_LONGER
  sql.run(
    'DELETE FROM once WHERE key IN (SELECT key FROM once WHERE until < ? LIMIT ?)',
    before,
    PURGE_AT_ONCE,
  )
  sql.run(
    'DELETE FROM buckets WHERE (key, start) IN (SELECT key, start FROM buckets WHERE ends < ? LIMIT ?)',
    before,
    PURGE_AT_ONCE,
  )
}

/** Says how many refusals were not recorded, once there is room again. */
export const tellSummarised = (sql: Sql, now: number): void => {
  const row = sql.get('SELECT count, since FROM summarised')
  if (row === undefined) return
  const body: AuditBody = {
    event: 'refusals.summary',
    refused: numberOf(row, 'count'),
    since: numberOf(row, 'since'),
    until: now,
  }
  append(sql, now, body)
  sql.run('DELETE FROM summarised')
}
