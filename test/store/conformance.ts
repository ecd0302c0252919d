import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { canonicalJson } from '../../server/audit/chain.ts'
import { readChain, verifyChain } from '../../server/audit/verify.ts'
import { openSession, sealSession } from '../../server/session/session.ts'
import type { Change } from '../../server/session/store.ts'
import type { Store } from '../../server/store/store.ts'
import { KEY, MINUTE, NOW } from '../session/rows.ts'
import {
  because,
  bucket,
  end,
  intend,
  lock,
  look,
  note,
  once,
  refuse,
  row,
  settle,
  unlock,
} from './changes.ts'

/** One empty database: opened as often as a test likes, one store at a time. */
export interface Database {
  open(): Promise<Store>
  discard(): Promise<void>
}

/** What every store must hold to; run by the tests of each. */
export const storeConformance = (name: string, make: () => Promise<Database>): void => {
  let database: Database
  let store: Store

  beforeEach(async () => {
    database = await make()
    store = await database.open()
  })

  afterEach(async () => {
    await store.close()
    await database.discard()
  })

  const commit = async (change: Change): Promise<string> => because(await store.commit(change))

  const all = async (...changes: Change[]): Promise<string[]> =>
    (await Promise.all(changes.map((change) => store.commit(change)))).map(because)

  const reopen = async (): Promise<void> => {
    await store.close()
    store = await database.open()
  }

  const chain = () => verifyChain(readChain((from, limit) => store.records(from, limit)))

  const events = async (): Promise<string[]> =>
    (await store.records(1, 1000)).map(({ body }) => body.event)

  describe(`${name}: what a refusal leaves`, () => {
    it('its record, its one-time values and its counts', async () => {
      await commit(refuse({ once: once('a'), buckets: [bucket('b', 2)] }))
      const asked = { once: once('a', 'c'), buckets: [bucket('b', 1), bucket('b', 2)] }
      expect(await store.look(look(asked))).toMatchObject({ used: ['a'], full: ['b'] })
      expect(await events()).toEqual(['exchange.refused'])
    })

    it('also where the values were used and the buckets are full', async () => {
      const change = refuse({ once: once('a'), buckets: [bucket('b', 1)] })
      expect(await all(change, change, change)).toEqual(['done', 'done', 'done'])
      const found = await store.look(look({ buckets: [bucket('b', 3)] }))
      expect(found.full).toEqual(['b'])
    })
  })

  describe(`${name}: an intent`, () => {
    it('is replayed where a one-time value was used, and writes nothing', async () => {
      await commit(refuse({ once: once('a') }))
      const change = intend(row(), { once: once('a', 'c'), buckets: [bucket('b', 1)] })
      expect(await store.commit(change)).toEqual({ done: false, because: 'replayed', keys: ['a'] })
      const asked = { once: once('c'), buckets: [bucket('b', 1)] }
      expect(await store.look(look(asked))).toEqual({ locks: [], full: [], used: [], sessions: [] })
      expect(await events()).toEqual(['exchange.refused'])
    })

    it('is limited where a bucket is full, and writes nothing', async () => {
      await commit(refuse({ buckets: [bucket('b', 1)] }))
      const change = intend(row(), { once: once('c'), buckets: [bucket('d', 1), bucket('b', 1)] })
      expect(await store.commit(change)).toEqual({ done: false, because: 'limited', keys: ['b'] })
      const asked = { once: once('c'), buckets: [bucket('d', 1)] }
      expect(await store.look(look(asked))).toEqual({ locks: [], full: [], used: [], sessions: [] })
    })

    it('is replayed before it is limited', async () => {
      await commit(refuse({ once: once('a'), buckets: [bucket('b', 1)] }))
      const change = intend(row(), { once: once('a'), buckets: [bucket('b', 1)] })
      expect(await commit(change)).toBe('replayed')
    })

    it('counts in the next window anew', async () => {
      await commit(refuse({ buckets: [bucket('b', 1)] }))
      const next = { ...bucket('b', 1), start: NOW + MINUTE }
      expect(await commit(intend(row(), { buckets: [next] }))).toBe('done')
    })

    it('of two with one token at once, one wins', async () => {
      const other = row({ id: 'ses_2', job: 'github/99120/17/1/556' })
      const outcomes = await all(
        intend(row(), { once: once('a') }),
        intend(other, { once: once('a') }),
      )
      expect(outcomes.toSorted()).toEqual(['done', 'replayed'])
    })

    it('of fifty on one job and grant at once, one wins and the rest raced', async () => {
      const fifty = Array.from({ length: 50 }, (_, n) => intend(row({ id: `ses_${n}` })))
      const outcomes = (await all(...fifty)).toSorted()
      expect(outcomes).toEqual(['done', ...Array<string>(49).fill('raced')])
      expect(await events()).toEqual(['exchange.intent'])
    })

    it('of a bucket with room for three, three pass', async () => {
      const ten = Array.from({ length: 10 }, (_, n) =>
        intend(row({ id: `ses_${n}`, job: `job ${n}` }), { buckets: [bucket('b', 3)] }),
      )
      const outcomes = (await all(...ten)).filter((outcome) => outcome === 'done')
      expect(outcomes.length).toBe(3)
    })

    it.each<[string, (mac: string) => string | null, string]>([
      ['a stranger to what is there', () => 'x', 'raced'],
      ['one that saw nothing where a session is live', () => null, 'raced'],
      ['one that saw the session as it is', (mac) => mac, 'done'],
    ])('renewing as %s is %s', async (_, expected, outcome) => {
      await commit(intend(row()))
      const taken = row({ decisionId: 'dec_2', tokenHash: 'new' })
      expect(await commit(intend(taken, { expect: expected(row().mac) }))).toBe(outcome)
      expect((await store.session(row().id))?.decisionId).toBe(
        outcome === 'done' ? 'dec_2' : row().decisionId,
      )
    })

    it('never puts a second live session beside the first, though it saw the first', async () => {
      await commit(intend(row()))
      expect(await commit(intend(row({ id: 'ses_2' }), { expect: row().mac }))).toBe('raced')
    })

    it.each<[string, (mac: string) => string | null, string]>([
      ['that was seen', (mac) => mac, 'done'],
      ['that nobody looked for', () => null, 'raced'],
      ['that was other when it was seen', () => row().mac, 'raced'],
    ])('may follow a session that is over, %s', async (_, expected, outcome) => {
      await commit(intend(row()))
      await commit(end(row()))
      const over = await store.session(row().id)
      const expect_ = expected(over?.mac ?? '')
      expect(await commit(intend(row({ id: 'ses_2' }), { expect: expect_ }))).toBe(outcome)
    })

    it('is raced where it saw a session and there is none', async () => {
      expect(await commit(intend(row(), { expect: row().mac }))).toBe('raced')
    })

    it('of two grants is written for both or for none', async () => {
      await commit(intend(row({ grant: 'read' })))
      const both = [row({ id: 'ses_2' }), row({ id: 'ses_3', grant: 'read' })]
      const sessions = both.map((one) => ({ row: one, expect: null }))
      expect(await commit(intend(row(), { sessions }))).toBe('raced')
      expect(await store.session('ses_2')).toBeNull()
      expect(await commit(intend(row(), { sessions: sessions.slice(0, 1) }))).toBe('done')
    })
  })

  describe(`${name}: a settlement`, () => {
    it('hands out what is pending', async () => {
      await commit(intend(row()))
      expect(await commit(settle(row()))).toBe('done')
      expect(await store.session(row().id)).toEqual(row({ state: 'active' }))
      expect(await events()).toEqual(['exchange.intent', 'exchange.outcome'])
    })

    it.each(['grant:deploy', 'all', `session:${row().id}`])(
      'is withheld where %s was locked meanwhile',
      async (subject) => {
        await commit(intend(row()))
        await commit(lock(subject))
        const settled = await store.commit(settle(row()))
        expect(settled).toMatchObject({ because: 'withheld', receipt: { position: 3 } })
        expect(settled).toMatchObject({ keys: [subject] })
        expect(await store.session(row().id)).toEqual(row({ state: 'withheld' }))
        expect((await events()).at(-1)).toBe('exchange.withheld')
      },
    )

    it.each([
      ['on something else', lock('grant:other')],
      ['that has run out', lock('all', NOW)],
      ['that was removed', unlock()],
    ])('is not withheld by a lock %s', async (_, change) => {
      await commit(intend(row()))
      if (change.kind === 'lock' && change.remove.length > 0) await commit(lock('all'))
      await commit(change)
      expect(await commit(settle(row()))).toBe('done')
    })

    it('is withheld where the session was ended meanwhile, and leaves it ended', async () => {
      await commit(intend(row()))
      await commit(end(row()))
      const settled = await store.commit(settle(row()))
      expect(settled).toMatchObject({ because: 'withheld', keys: [`session:${row().id}`] })
      expect((await store.session(row().id))?.state).toBe('ended')
      expect((await events()).at(-1)).toBe('exchange.withheld')
    })

    it('is withheld where a newer exchange has taken the session over, and leaves it to that', async () => {
      await commit(intend(row()))
      const taken = row({ decisionId: 'dec_2' })
      await commit(intend(taken, { expect: row().mac }))
      expect(await commit(settle(row()))).toBe('withheld')
      expect(await store.session(row().id)).toEqual(taken)
      expect(await commit(settle(taken))).toBe('done')
    })

    it('happens once', async () => {
      await commit(intend(row()))
      expect((await all(settle(row()), settle(row()))).toSorted()).toEqual(['done', 'withheld'])
      expect((await store.session(row().id))?.state).toBe('active')
    })

    it('of two grants withholds both, where one was ended', async () => {
      const [one, two] = [row(), row({ id: 'ses_2', grant: 'read' })]
      const sessions = [one, two].map((each) => ({ row: each, expect: null }))
      await commit(intend(one, { sessions }))
      await commit(end(one))
      const each = (state: 'active' | 'withheld') => row({ id: 'ses_2', grant: 'read', state })
      const settled = settle(one, 'active', {
        sessions: [
          { row: row({ state: 'active' }), withheld: row({ state: 'withheld' }) },
          { row: each('active'), withheld: each('withheld') },
        ],
      })
      expect(await commit(settled)).toBe('withheld')
      expect((await store.session('ses_2'))?.state).toBe('withheld')
      expect((await store.session(one.id))?.state).toBe('ended')
    })
  })

  describe(`${name}: an end`, () => {
    it('is recorded once, and unchanged after that', async () => {
      await commit(intend(row()))
      await commit(settle(row()))
      expect((await all(end(row()), end(row()))).toSorted()).toEqual(['done', 'unchanged'])
      expect((await events()).filter((event) => event === 'session.ended').length).toBe(1)
    })

    it('of a session that is not there changes nothing', async () => {
      expect(await commit(end(row()))).toBe('unchanged')
      expect(await events()).toEqual([])
    })

    it('of a session that another exchange has taken over since changes nothing', async () => {
      await commit(intend(row()))
      const seen = (await store.session(row().id))?.mac ?? ''
      await commit(intend(row({ decisionId: 'dec_2' }), { expect: seen }))
      expect(await commit(end(row()))).toBe('unchanged')
      expect((await store.session(row().id))?.state).toBe('pending')
    })

    it('of a session that was handed out since it was read pending changes nothing', async () => {
      await commit(intend(row()))
      await commit(settle(row()))
      expect(await commit(end(row(), { from: ['pending'] }))).toBe('unchanged')
      expect((await store.session(row().id))?.state).toBe('active')
    })

    it('of a session that has failed changes nothing', async () => {
      await commit(intend(row()))
      await commit(settle(row(), 'failed'))
      expect(await commit(end(row()))).toBe('unchanged')
      expect((await store.session(row().id))?.state).toBe('failed')
    })
  })

  describe(`${name}: a look`, () => {
    it('finds the newest session of each grant of the job, and of no other', async () => {
      await commit(intend(row()))
      await commit(end(row()))
      const rows = [
        row({ id: 'ses_2' }),
        row({ id: 'ses_3', grant: 'read' }),
        row({ id: 'ses_4', grant: 'other' }),
        row({ id: 'ses_5', job: 'another job' }),
      ]
      const over = (await store.session(row().id))?.mac ?? null
      for (const [i, one] of rows.entries())
        expect(await commit(intend(one, { expect: i === 0 ? over : null }))).toBe('done')
      const { sessions } = await store.look(look({ grants: ['deploy', 'read', 'none'] }))
      expect(sessions.map(({ id }) => id).toSorted()).toEqual(['ses_2', 'ses_3'])
      expect(sessions.every((one) => openSession(one, KEY) !== null)).toBe(true)
    })

    it('finds locks that hold on a subject, or on a session it finds', async () => {
      await commit(intend(row()))
      await commit(lock('grant:deploy', NOW + 1, 'lck_1'))
      await commit(lock(`session:${row().id}`, null, 'lck_2'))
      await commit(lock('grant:other', null, 'lck_3'))
      const found = await store.look(look({ subjects: ['grant:deploy'] }))
      expect(found.locks.map(({ id }) => id)).toEqual(['lck_1', 'lck_2'])
      const later = await store.look(look({ subjects: ['grant:deploy'], now: NOW + 1 }))
      expect(later.locks.map(({ id }) => id)).toEqual(['lck_2'])
    })

    it('takes text for text, and nothing for a query', async () => {
      const nasty = `'; DROP TABLE sessions; -- \u0001 " ] % _ 😀`
      await commit(intend(row({ grant: nasty, job: nasty, subjects: [nasty] })))
      await commit(refuse({ once: once(nasty), buckets: [bucket(nasty, 1)] }))
      await commit(lock(nasty))
      const found = await store.look(
        look({
          job: nasty,
          grants: [nasty],
          subjects: [nasty],
          once: once(nasty, '%'),
          buckets: [bucket(nasty, 1)],
        }),
      )
      expect(found).toMatchObject({
        full: [nasty],
        used: [nasty],
        locks: [{ subject: nasty }],
        sessions: [{ grant: nasty, subjects: [nasty] }],
      })
    })
  })

  describe(`${name}: what it keeps`, () => {
    it('a used token, a full bucket, a session, a lock and the chain, over a restart', async () => {
      await commit(intend(row(), { once: once('a'), buckets: [bucket('b', 1)] }))
      await commit(lock('grant:deploy'))
      const before = await store.records(1, 10)
      await reopen()
      const asked = { once: once('a'), buckets: [bucket('b', 1)], subjects: ['grant:deploy'] }
      expect(await store.look(look(asked))).toMatchObject({
        used: ['a'],
        full: ['b'],
        locks: [{ id: 'lck_1' }],
        sessions: [row()],
      })
      expect(await commit(intend(row({ job: 'other' }), { once: once('a') }))).toBe('replayed')
      expect(await store.records(1, 10)).toEqual(before)
      await commit(note(1))
      expect(await chain()).toMatchObject({ ok: true, records: 3 })
    })

    it('a session as it was sealed, with every field', async () => {
      const odd = row({ jkt: null, scope: 'vend', subjects: [], revision: '', expiresAt: 0 })
      await commit(intend(odd))
      expect(await store.session(odd.id)).toEqual(odd)
    })

    it('locks, until they are removed', async () => {
      await commit(lock('all', NOW - 1))
      expect(await store.locks()).toMatchObject([{ id: 'lck_1', expiresAt: NOW - 1 }])
      await commit(unlock())
      expect(await store.locks()).toEqual([])
    })

    it('receipts that are true: each names the record that the change left', async () => {
      const changes = [note(1), refuse(), intend(row()), settle(row()), end(row())]
      const committed = await Promise.all(changes.map((change) => store.commit(change)))
      const records = await store.records(1, 10)
      expect(committed.map((one) => one.receipt)).toEqual(
        records.map(({ position, hash }) => ({ position, hash })),
      )
      expect(records.map(({ body }) => canonicalJson(body))).toEqual(
        changes.map(({ body }) => canonicalJson(body)),
      )
    })

    it('pages of records that are never longer than a thousand', async () => {
      await all(...Array.from({ length: 1100 }, (_, n) => note(n)))
      expect((await store.records(1, 5000)).length).toBe(1000)
      expect((await store.records(1099, 5)).map(({ position }) => position)).toEqual([1099, 1100])
      expect(await store.records(1101, 5)).toEqual([])
      expect(await store.health()).toMatchObject({ ok: true, position: 1100 })
    })
  })

  describe(`${name}: commits in company`, () => {
    it('have each their own outcome, and one that breaks takes nothing from the others', async () => {
      const mixed = [
        note(1),
        intend(row(), { once: once('a') }),
        intend(row({ id: 'ses_2', job: 'j2' }), { once: once('a') }),
        { ...note(2), body: { event: 'broker.stopped' as const, bad: 'a\ud800' } },
        intend(row({ id: 'ses_3', job: 'j3', state: 'nonsense' as never }), { once: once('c') }),
        refuse({ once: once('d'), body: { event: 'exchange.refused', bad: 'a\ud800' } }),
        intend(row({ id: 'ses_4', job: 'j4' }), { once: once('c') }),
        note(3),
      ]
      const outcomes = await Promise.allSettled(mixed.map((change) => commit(change)))
      expect(outcomes.map((one) => (one.status === 'fulfilled' ? one.value : 'rejected'))).toEqual([
        'done',
        'done',
        'replayed',
        'rejected',
        'rejected',
        'rejected',
        'done',
        'done',
      ])
      expect((await store.look(look({ once: once('c', 'd') }))).used).toEqual(['c'])
      expect(await chain()).toMatchObject({ ok: true, records: 4 })
      expect(await store.session('ses_3')).toBeNull()
      expect(await store.session('ses_2')).toBeNull()
    })

    it('stay in one whole chain, however many and however mixed', async () => {
      const jobs = Array.from({ length: 300 }, (_, n) => row({ id: `ses_${n}`, job: `job ${n}` }))
      const lives = jobs.map(async (one, n) => {
        await store.commit(intend(one, { once: once(`t${n}`), buckets: [bucket('b', 1000)] }))
        await store.look(look({ job: one.job }))
        await store.commit(settle(sealed(one), n % 3 === 0 ? 'failed' : 'active'))
        await store.commit(end(one))
        await store.commit(intend(row({ id: `again_${n}`, job: one.job }), { once: once(`t${n}`) }))
      })
      await Promise.all(lives)
      const report = await chain()
      expect(report).toMatchObject({ ok: true, records: 300 + 300 + 200, unresolved: [] })
    })
  })

  const sealed = (one: ReturnType<typeof row>) => sealSession(one, KEY)
}
