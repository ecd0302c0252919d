import { spawn } from 'node:child_process'
import { once as event } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Receipt } from '../../server/api.ts'
import { readChain, verifyChain } from '../../server/audit/verify.ts'
import { openSqlite, openSqliteReadOnly } from '../../server/store/sqlite.ts'
import type { ReadStore } from '../../server/store/store.ts'
import { look, once } from './changes.ts'

let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tvm-crash-'))
  path = join(folder, 'tvm.db')
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

interface Told {
  readonly intended?: string
  readonly settled?: string
  readonly receipt: Receipt
}

/** Lets a process commit until it has told of `count` commits, and kills it in the middle of the next ones. */
const storm = async (round: number, count: number): Promise<readonly Told[]> => {
  const script = join(import.meta.dirname, 'storm.ts')
  const child = spawn(process.execPath, [script, path, String(round)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = event(child, 'exit')
  const told: Told[] = []
  for await (const line of createInterface(child.stdout)) {
    if (line.endsWith('}')) told.push(JSON.parse(line) as Told)
    if (told.length === count) child.kill('SIGKILL')
  }
  expect((await gone)[1]).toBe('SIGKILL')
  return told
}

/** The sessions that the chain tells of as intended. */
const intendedIn = async (store: ReadStore): Promise<string[]> => {
  const ids: string[] = []
  for await (const { body } of readChain((from, limit) => store.records(from, limit)))
    if (body.event === 'exchange.intent' && typeof body['session'] === 'string')
      ids.push(body['session'])
  return ids
}

const verify = (store: ReadStore, known: readonly Receipt[]) =>
  verifyChain(
    readChain((from, limit) => store.records(from, limit)),
    { known },
  )

describe('a process killed in a storm of commits', () => {
  it('has lost nothing that it acknowledged, and left nothing half done', async () => {
    const told: Told[] = []
    for (const round of [1, 2, 3]) {
      told.push(...(await storm(round, 400 * round)))
      const store = await openSqlite({ path })
      const receipts = told.map(({ receipt }) => receipt)
      expect((await verify(store, receipts)).problems).toEqual([])
      const intended = await intendedIn(store)
      const keys = intended.map((id) => `token ${id}`)
      const { used } = await store.look(look({ once: once(...keys) }))
      expect(used.toSorted()).toEqual(keys.toSorted())
      for (const id of intended) expect(await store.session(id)).toMatchObject({ id })
      for (const { intended: id } of told) if (id !== undefined) expect(intended).toContain(id)
      for (const { settled: id } of told)
        if (id !== undefined) expect(await store.session(id)).toMatchObject({ state: 'active' })
      await store.close()
    }
  })

  it('can be read as it was left, before it is served again', async () => {
    const told = await storm(1, 200)
    const reader = await openSqliteReadOnly({ path })
    const report = await verify(
      reader,
      told.map(({ receipt }) => receipt),
    )
    expect(report.problems).toEqual([])
    await reader.close()
  })
})
