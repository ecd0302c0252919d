import { chmodSync, closeSync, lstatSync, mkdirSync, openSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import type { Migration } from './migrations.ts'
import { StoreError } from './store.ts'

/** A database with its prepared statements, each made once. Parameters by position or by name; never by text. */
export interface Sql {
  readonly db: DatabaseSync
  run(text: string, ...values: Values): number
  get(text: string, ...values: Values): Row | undefined
  all(text: string, ...values: Values): readonly Row[]
}

export type Row = Readonly<Record<string, unknown>>

type Values = SQLInputValue[] | [Record<string, SQLInputValue>]

export const sqlOf = (db: DatabaseSync): Sql => {
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>()
  const prepared = (text: string) => {
    const statement = statements.get(text) ?? db.prepare(text)
    statements.set(text, statement)
    return statement
  }
  return {
    db,
    run: (text, ...values) => Number(prepared(text).run(...(values as SQLInputValue[])).changes),
    get: (text, ...values) => prepared(text).get(...(values as SQLInputValue[])),
    all: (text, ...values) => prepared(text).all(...(values as SQLInputValue[])),
  }
}

export interface ServedDatabase {
  readonly sql: Sql
  close(): void
}

/** `TVM1`: tells our databases from others before anything is written to one. */
const APPLICATION = 0x54564d31

/**
 * Opens the database for the one process that serves it, makes it where there is none, and brings its schema up to date.
 * Throws StoreError: another process serves it, it is of a later version or not ours, its folder is open to others.
 */
export const openServed = (
  path: string,
  busyTimeout: number,
  migrations: readonly Migration[],
): ServedDatabase => {
  const file = privateFile(path)
  const claim = claimFile(file)
  try {
    const sql = sqlOf(new DatabaseSync(file, { timeout: busyTimeout }))
    const close = (): void => {
      sql.db.close()
      claim.close()
    }
    checkOurs(sql)
    sql.db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
    migrate(sql, migrations)
    return { sql, close }
  } catch (error) {
    claim.close()
    throw error
  }
}

export interface BesideOptions {
  readonly path: string
  readonly busyTimeout: number
  readonly readOnly: boolean
}

/** Opens a database that another process may be serving. It must be there, and of exactly the schema we know. */
export const openBeside = (options: BesideOptions, migrations: readonly Migration[]): Sql => {
  const { path, busyTimeout, readOnly } = options
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined)
    throw new StoreError(`there is no database ${path}: the broker makes it when it starts`)
  const sql = sqlOf(new DatabaseSync(path, { readOnly, timeout: busyTimeout }))
  try {
    checkOurs(sql)
    if (versionOf(sql) !== migrations.length)
      throw new StoreError(`${path} has the schema of another version of tvm`)
    sql.db.exec('PRAGMA synchronous = FULL')
    return sql
  } catch (error) {
    sql.db.close()
    throw error
  }
}

/** The database file, 0600 in a folder that is open to its owner alone. SQLite gives the files beside it the same mode. */
const privateFile = (path: string): string => {
  const asked = resolve(path)
  mkdirSync(dirname(asked), { recursive: true, mode: 0o700 })
  const folder = realpathSync(dirname(asked))
  if ((lstatSync(folder).mode & 0o077) !== 0)
    throw new StoreError(
      `the folder ${folder} is open to others: make it 0700, or name a folder below it for the database`,
    )
  const file = join(folder, basename(asked))
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() === false)
    throw new StoreError(`${file} is not a plain file`)
  closeSync(openSync(file, 'a', 0o600))
  chmodSync(file, 0o600)
  return file
}

/**
 * One broker serves a database: what brokers keep in memory is not shared, and writers of SQLite wait for each other by polling.
 * The claim is a lock of the kernel on a file of its own: it dies with its process, and does not keep an operator's command out
 * of the database. Not for network file systems.
 */
const claimFile = (file: string): DatabaseSync => {
  const path = `${file}.serving`
  closeSync(openSync(path, 'a', 0o600))
  const claim = new DatabaseSync(path, { timeout: 0 })
  try {
    claim.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return claim
  } catch {
    claim.close()
    throw new StoreError(`another process serves ${file}`)
  }
}

const checkOurs = (sql: Sql): void => {
  const application = numberOf(sql.get('PRAGMA application_id'), 'application_id')
  const tables = numberOf(sql.get('SELECT count(*) AS tables FROM sqlite_schema'), 'tables')
  if (application === APPLICATION || (application === 0 && tables === 0)) return
  throw new StoreError('this is a database of something else')
}

const migrate = (sql: Sql, migrations: readonly Migration[]): void => {
  sql.db.exec(`PRAGMA application_id = ${APPLICATION}`)
  sql.db.exec('CREATE TABLE IF NOT EXISTS migrations (version INTEGER PRIMARY KEY) STRICT')
  const version = versionOf(sql)
  if (version > migrations.length)
    throw new StoreError(
      `the database has schema ${version}, this version of tvm knows ${migrations.length}`,
    )
  for (const migration of migrations.slice(version)) step(sql, migration)
}

/** Each step in a transaction of its own: a step is there as a whole, or not at all. */
const step = (sql: Sql, migration: Migration): void => {
  sql.db.exec('BEGIN IMMEDIATE')
  try {
    sql.db.exec(migration.sql)
    sql.run('INSERT INTO migrations (version) VALUES (?)', migration.version)
    sql.db.exec('COMMIT')
  } catch (error) {
    if (sql.db.isTransaction) sql.db.exec('ROLLBACK')
    throw error
  }
}

const versionOf = (sql: Sql): number =>
  numberOf(sql.get('SELECT coalesce(max(version), 0) AS version FROM migrations'), 'version')

/** A number that a statement of ours yields. */
export const numberOf = (row: Row | undefined, column: string): number => Number(row?.[column] ?? 0)
