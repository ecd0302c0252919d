import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readChain, verifyChain } from '../../server/audit/verify.ts'
import { openSession } from '../../server/session/session.ts'
import {
  openSqlite,
  openSqliteDesk,
  openSqliteReadOnly,
  startSqliteWorker,
  storeOver,
  type SqliteOptions,
} from '../../server/store/sqlite.ts'
import { StoreError, type Desk, type ReadStore, type Store } from '../../server/store/store.ts'
import { callsTo } from '../../server/store/worker-calls.ts'
import { KEY, MINUTE, NOW } from '../session/rows.ts'
import { because, bucket, intend, lock, look, note, once, refuse, row, settle } from './changes.ts'
import { storeConformance } from './conformance.ts'

const newFolder = (): string => mkdtempSync(join(tmpdir(), 'tvm-store-'))

storeConformance('sqlite', () => {
  const folder = newFolder()
  return Promise.resolve({
    open: () => openSqlite({ path: join(folder, 'tvm.db') }),
    discard: () => rm(folder, { recursive: true }),
  })
})

let folder: string
let path: string
const opened: ReadStore[] = []

beforeEach(() => {
  folder = newFolder()
  path = join(folder, 'tvm.db')
})

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
  rmSync(folder, { recursive: true })
})

const open = async (options: Partial<SqliteOptions> = {}): Promise<Store> => {
  const store = await openSqlite({ path, ...options })
  opened.push(store)
  return store
}

/** A store whose worker the test holds in its hand. */
const openWorker = async (times: { readonly busyTimeout: number; readonly timeout: number }) => {
  const worker = startSqliteWorker({ path, busyTimeout: times.busyTimeout, maxBytes: Infinity })
  const store = storeOver(await callsTo(worker, times.timeout))
  opened.push(store)
  return { worker, store }
}

const openReadOnly = async (): Promise<ReadStore> => {
  const store = await openSqliteReadOnly({ path })
  opened.push(store)
  return store
}

const chainOf = (store: ReadStore) =>
  verifyChain(readChain((from, limit) => store.records(from, limit)))

const openDesk = async (): Promise<Desk> => {
  const desk = await openSqliteDesk({ path })
  opened.push(desk)
  return desk
}

/** What a hand with another tool does to the file. */
const byHand = (sql: string): void => {
  const db = new DatabaseSync(path)
  db.exec(sql)
  db.close()
}

/** Holds the write lock until it is called: to the store, a disk that does not answer. */
const stall = (): (() => void) => {
  const db = new DatabaseSync(path)
  db.exec('BEGIN IMMEDIATE')
  return () => db.close()
}

const turns = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await turn()
}

describe('the file', () => {
  it('is 0600, with all that stands beside it, in a folder 0700', async () => {
    path = join(folder, 'new', 'tvm.db')
    const store = await open()
    await store.commit(note(1))
    const modes = ['', '-wal', '-shm', '.serving'].map(
      (end) => statSync(`${path}${end}`).mode & 0o777,
    )
    expect(modes).toEqual([0o600, 0o600, 0o600, 0o600])
    expect(statSync(join(folder, 'new')).mode & 0o777).toBe(0o700)
  })

  it('is made 0600 where it was not', async () => {
    await (await open()).close()
    chmodSync(path, 0o644)
    await open()
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('is refused in a folder that others can enter', async () => {
    chmodSync(folder, 0o755)
    await expect(open()).rejects.toThrow(/is open to others/)
  })

  it.each([
    ['a link', () => symlinkSync(join(folder, 'elsewhere'), path), /not a plain file/],
    ['a folder', () => mkdirSync(path), /not a plain file/],
    ['no database', () => writeFileSync(path, 'x'.repeat(5000)), /not a database/],
    ['a database of something else', () => byHand('CREATE TABLE t (a)'), /of something else/],
  ])('is refused where it is %s', async (_, prepare, message) => {
    prepare()
    await expect(open()).rejects.toThrow(message)
    await expect(open()).rejects.toBeInstanceOf(StoreError)
  })

  it('is refused where its schema is newer, to serve and to read', async () => {
    await (await open()).close()
    byHand('INSERT INTO migrations (version) VALUES (999)')
    await expect(open()).rejects.toThrow(/has schema 999, this version of tvm knows 1/)
    await expect(openReadOnly()).rejects.toThrow(/another version/)
  })
})

describe('one process serves it', () => {
  it('and a second store is refused, until the first has closed', async () => {
    const first = await open()
    await expect(open()).rejects.toThrow(/another process serves/)
    await first.commit(note(1))
    await first.close()
    expect(await (await open()).health()).toMatchObject({ ok: true, position: 1 })
  })

  it('while others read it, and see each commit', async () => {
    const store = await open()
    await store.commit(intend(row()))
    const reader = await openReadOnly()
    expect((await reader.records(1, 10)).length).toBe(1)
    await store.commit(settle(row()))
    expect((await reader.records(1, 10)).length).toBe(2)
    expect(await reader.session(row().id)).toEqual(row({ state: 'active' }))
    expect(await reader.locks()).toEqual([])
    expect(await chainOf(reader)).toMatchObject({ ok: true, records: 2 })
  })

  it('or nobody, and it is read all the same', async () => {
    const store = await open()
    await store.commit(note(1))
    await store.close()
    expect((await (await openReadOnly()).records(1, 10)).length).toBe(1)
  })

  it('while an operator locks, and the broker withholds what is being minted', async () => {
    const store = await open()
    await store.commit(intend(row()))
    const desk = await openDesk()
    expect(because(await desk.commit(lock('grant:deploy')))).toBe('done')
    expect(await desk.locks()).toMatchObject([{ subject: 'grant:deploy' }])
    expect(
      because(await store.commit(settle(row(), 'active', { subjects: ['grant:deploy'] }))),
    ).toBe('withheld')
    expect(await chainOf(store)).toMatchObject({ ok: true, records: 3 })
  })

  it('in one whole chain, though an operator writes between its commits', async () => {
    const store = await open()
    const desk = await openDesk()
    for (let n = 0; n < 30; n++) {
      const ours = Array.from({ length: 10 }, () => store.commit(note(n)))
      await turns(n)
      expect(because(await desk.commit(lock('all', null, `lck_${n}`)))).toBe('done')
      await Promise.all(ours)
    }
    expect(await chainOf(desk)).toMatchObject({ ok: true, records: 330 })
  })

  it.each([
    ['a reader', () => openReadOnly()],
    ['a desk', () => openDesk()],
  ])('and %s makes no database where there is none', async (_, attempt) => {
    await expect(attempt()).rejects.toThrow(/there is no database/)
    expect(() => statSync(path)).toThrow(/ENOENT/)
  })
})

describe('a disk that does not answer', () => {
  it('does not stop the thread that asks: here it is that thread that lets the disk go on', async () => {
    const store = await open()
    const release = stall()
    let settled = false
    const committed = store.commit(note(1)).finally(() => (settled = true))
    await turns(1000)
    expect(settled).toBe(false)
    release()
    expect(because(await committed)).toBe('done')
  })

  it('ends in a rejection, and what waited behind it is not begun', async () => {
    const { store } = await openWorker({ busyTimeout: 60_000, timeout: 200 })
    const release = stall()
    const asked = await Promise.allSettled([1, 2, 3].map((n) => store.commit(note(n))))
    expect(asked.map(({ status }) => status)).toEqual(Array(3).fill('rejected'))
    await expect(store.commit(note(4))).rejects.toThrow('the store did not answer in time')
    release()
    await untilDone(() => store.look(look()))
    const revisions = (await store.records(1, 10)).map(({ body }) => body['revision'])
    expect(revisions).not.toContain('4')
  })

  it('rejects every commit of the transaction that could not begin', async () => {
    const { store } = await openWorker({ busyTimeout: 50, timeout: 30_000 })
    const release = stall()
    const commits = Array.from({ length: 5 }, (_, n) => store.commit(note(n)))
    const outcomes = await Promise.allSettled(commits)
    release()
    expect(outcomes.map(({ status }) => status)).toEqual(Array(5).fill('rejected'))
    expect(await store.records(1, 10)).toEqual([])
    expect(because(await store.commit(note(1)))).toBe('done')
  })

  it('keeps nobody from reading what is there', async () => {
    const store = await open()
    await store.commit(intend(row()))
    const release = stall()
    expect(await store.session(row().id)).toEqual(row())
    release()
  })
})

const untilDone = async (work: () => Promise<unknown>): Promise<void> => {
  for (;;) {
    try {
      await work()
      return
    } catch {
      await turn()
    }
  }
}

describe('a worker that dies', () => {
  it('takes all that was asked with it, at once, and everything after', async () => {
    const { worker, store } = await openWorker({ busyTimeout: 2000, timeout: 5000 })
    const release = stall()
    const asked = [store.commit(note(1)), store.look(look()), store.session('ses_1')]
    const outcomes = Promise.allSettled(asked)
    void worker.terminate()
    expect((await outcomes)[0]).toMatchObject({
      status: 'rejected',
      reason: { name: 'StoreError' },
    })
    await expect(store.commit(note(2))).rejects.toThrow('the store has stopped')
    await expect(store.look(look())).rejects.toBeInstanceOf(StoreError)
    expect(await store.health()).toEqual({ ok: false, because: 'the store has stopped' })
    release()
    await store.close()
    await store.close()
  })

  it('leaves the database to the next', async () => {
    const { worker, store } = await openWorker({ busyTimeout: 2000, timeout: 5000 })
    await store.commit(note(1))
    await worker.terminate()
    expect(await (await open()).health()).toMatchObject({ ok: true, position: 1 })
  })
})

describe('a database that was altered by hand', () => {
  it.each([
    ["state = 'active'"],
    ["jkt = 'mine'"],
    ['expires_at = expires_at + 1'],
    ["token_hash = 'mine'"],
    ["subjects = '[]'"],
    ["grant_name = 'deploy', mac = mac || 'A'"],
    ["revision = 'x'"],
  ])('gives no session where %s', async (change) => {
    const store = await open()
    await store.commit(intend(row()))
    byHand(`UPDATE sessions SET ${change}`)
    const stored = await store.session(row().id)
    expect(stored && openSession(stored, KEY)).toBeNull()
    expect(stored).not.toBeNull()
  })

  it.each([
    ['UPDATE audit SET at = 1 WHERE position = 2', 'edited 2'],
    [`UPDATE audit SET body = '{"event":"broker.stopped"}' WHERE position = 3`, 'edited 3'],
    ['DELETE FROM audit WHERE position = 2', 'gap 3'],
    ['DELETE FROM audit WHERE position = 1', 'gap 2'],
    [
      'DELETE FROM audit WHERE position = 3; UPDATE audit SET position = 3 WHERE position = 4',
      'wrong_previous 3,edited 3',
    ],
  ])('shows it: %s', async (sql, problems) => {
    const store = await open()
    for (let n = 1; n <= 4; n++) await store.commit(note(n))
    expect(() => byHand(sql)).toThrow(/audit records are never/)
    byHand('DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_deleted')
    byHand(sql)
    const report = await chainOf(store)
    expect(report.problems.map((one) => `${one.kind} ${one.position}`).join()).toBe(problems)
  })
})

describe('what was remembered for long enough', () => {
  const count = (table: string): unknown => {
    const db = new DatabaseSync(path)
    const row = db.prepare(`SELECT count(*) AS rows FROM ${table}`).get()
    db.close()
    return row?.['rows']
  }

  it('is forgotten in passing, a bounded number at a time', async () => {
    const store = await open()
    const keys = Array.from({ length: 700 }, (_, n) => `t${n}`)
    await store.commit(refuse({ once: once(...keys), buckets: keys.map((key) => bucket(key, 1)) }))
    const later = (minutes: number) => ({ ...note(1), now: NOW + minutes * MINUTE })
    await store.commit(later(20))
    expect([count('once'), count('buckets')]).toEqual([700, 188])
    await store.commit(later(22))
    expect([count('once'), count('buckets')]).toEqual([188, 0])
    await store.commit(later(22))
    expect([count('once'), count('buckets')]).toEqual([0, 0])
  })
})

describe('past the high-water mark', () => {
  const pages = { event: 'exchange.refused' as const, why: 'x'.repeat(4000) }

  it('refusals are counted and their tokens remembered, allows are recorded, and a record tells of it later', async () => {
    const store = await open({ maxBytes: 200_000 })
    let last = await store.commit(refuse({ body: pages }))
    while (last.done && last.summarised === undefined)
      last = await store.commit(refuse({ body: pages, now: NOW + 1 }))
    const { position } = (await store.records(1, 1000)).at(-1)!
    expect(last).toMatchObject({ done: true, receipt: { position }, summarised: true })
    await store.commit(refuse({ body: pages, once: once('a'), now: NOW + 2 }))
    expect(await store.health()).toMatchObject({ ok: true, summarised: 2, position })
    expect((await store.look(look({ once: once('a') }))).used).toEqual(['a'])
    expect(because(await store.commit(intend(row())))).toBe('done')
    expect(because(await store.commit(settle(row())))).toBe('done')
    expect(await store.health()).toMatchObject({ summarised: 2, position: position + 2 })
    await store.close()

    const roomy = await open({ maxBytes: 400_000 })
    await roomy.commit(refuse({ now: NOW + 3 }))
    const [told, own] = await roomy.records(position + 3, 10)
    expect(told?.body).toEqual({
      event: 'refusals.summary',
      refused: 2,
      since: NOW + 1,
      until: NOW + 3,
    })
    expect(own?.body.event).toBe('exchange.refused')
    expect(await roomy.health()).toMatchObject({ summarised: 0 })
    expect(await chainOf(roomy)).toMatchObject({ ok: true })
  })
})
