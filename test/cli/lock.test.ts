import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Lock } from '../../server/session/store.ts'
import { openSqliteDesk } from '../../server/store/sqlite.ts'
import { ask } from '../world/caller.ts'
import { startWorld, type LocalWorld } from '../world/world.ts'
import { expectComplaint, tvm } from './process.ts'

let world: LocalWorld
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())

const lock = (...args: string[]) => tvm(['lock', ...args, '--config', world.configFile])

const added = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await lock('add', ...args)
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toMatch(/^lck_[0-9A-Z]{26}\n$/)
  return stdout.trim()
}

const locks = async (): Promise<readonly Lock[]> => {
  const { code, stdout, stderr } = await lock('list', '--format', 'json')
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as Lock[]
}

const answer = async (): Promise<string> => {
  const { status, problem } = await ask(world)
  return status === 201 ? 'granted' : problem.code
}

const WHY = ['--reason', 'incident 7']

const REFUSED: Readonly<Record<string, readonly [readonly string[], ...RegExp[]]>> = {
  'a subject of no kind': [
    ['acme/payments', ...WHY],
    /error: not a lock subject: a lock is on one of all, issuer, /,
    /hint: Such as repository:github:99120 or grant:payments-deploy\.$/,
  ],
  'a repository by its name': [
    ['repository:github:acme/payments', ...WHY],
    /error: not a lock subject: not a repository that can be locked$/,
    /hint: Write it as repository:github:99120\.$/,
  ],
  'a grant with a wildcard': [
    ['grant:payments-*', ...WHY],
    /error: not a lock subject: not a grant that can be locked$/,
    /hint: Write it as grant:payments-deploy\.$/,
  ],
  'an issuer that is not configured': [
    ['repository:githb:99120', ...WHY],
    /error: no issuer is called githb in this configuration$/,
    /hint: There is github\.$/,
  ],
  'a job of an issuer that is not configured': [
    ['job:gitlab/1/2/3/4', ...WHY],
    /error: no issuer is called gitlab in this configuration$/,
    /hint: There is github\.$/,
  ],
  'an empty reason': [['all', '--reason', ' '], /error: --reason says nothing$/],
  'a time without a unit': [
    ['all', ...WHY, '--for', '30'],
    /error: --for must be a duration from 1s to 9999h/,
  ],
  'no time at all': [
    ['all', ...WHY, '--for', '0s'],
    /error: --for must be a duration from 1s to 9999h/,
  ],
}

describe('tvm lock add refuses', () => {
  it.each(Object.entries(REFUSED))('%s', async (_, [args, ...says]) => {
    expectComplaint(await lock('add', ...args), 2, says)
    expect(await locks()).toEqual([])
  })
})

describe('a lock', () => {
  it('stops beside the running broker, and no longer when it is removed', async () => {
    const id = await added('grant:payments-deploy', ...WHY)
    expect(await answer()).toBe('locked')
    expect(await lock('remove', id)).toEqual({ code: 0, stdout: `removed ${id}\n`, stderr: '' })
    expect(await answer()).toBe('granted')
  })

  it('that is added while the broker is stopped holds when it starts', async () => {
    await world.stop()
    const id = await added('repository:github:99120', ...WHY)
    await world.restart()
    expect(await answer()).toBe('locked')
    await world.stop()
    expect(await lock('remove', id)).toMatchObject({ code: 0 })
    await world.restart()
    expect(await answer()).toBe('granted')
  })

  it('lasts as long as --for says', async () => {
    const id = await added('owner:github:1', ...WHY, '--for', '2h')
    const [row] = await locks()
    expect((row?.expiresAt ?? 0) - (row?.createdAt ?? 0)).toBe(7_200_000)
    await lock('remove', id)
  })

  it('that ran out is listed as over, and stops nothing', async () => {
    const id = 'lck_00000000000000000000000000'
    const desk = await openSqliteDesk({ path: join(world.folder, 'data/tvm.db') })
    const over = { id, subject: 'all', reason: 'drill', createdAt: 0, expiresAt: 1000 }
    const body = { event: 'lock.added', lock: id } as const
    await desk.commit({ kind: 'lock', now: 0, add: [over], remove: [], body })
    await desk.close()
    expect((await lock('list')).stdout).toMatch(
      /^lck_0+ {2}all +1970-01-01T00:00:00Z {2}1970-01-01T00:00:01Z \(over\) {2}drill$/m,
    )
    expect(await answer()).toBe('granted')
    await lock('remove', id)
  })

  it('is listed without the control characters of its reason', async () => {
    const id = await added('owner:github:1', '--reason', '\u001b[31mred\nline')
    const { stdout } = await lock('list')
    expect(stdout.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['id', 'subject', 'since', 'until', 'reason'],
      [id, 'owner:github:1', expect.any(String), 'it is removed', '\ufffd[31mred\ufffdline'],
      [''],
    ])
    await lock('remove', id)
  })

  it('that there is not cannot be removed: 1', async () => {
    expectComplaint(await lock('remove', 'lck_1'), 1, [
      /error: there is no lock of that id$/,
      /hint: See tvm lock list\.$/,
    ])
  })

  it('and its end stand in the audit log', async () => {
    const id = await added('actor:github:583231', ...WHY, '--for', '1h')
    await lock('remove', id)
    const { stdout } = await tvm(['audit', 'list', '--config', world.configFile])
    const told = stdout.split('\n').filter((line) => line.includes(id))
    expect(told.map((line) => line.split(/ {2,}/).slice(2))).toEqual([
      ['lock.added', `${id} actor:github:583231 incident 7`],
      ['lock.removed', `${id} actor:github:583231`],
    ])
  })
})
