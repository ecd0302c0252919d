import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parsePolicySet } from '../../server/policy/parse.ts'
import {
  openDirectory,
  type DirectoryChange,
  type DirectoryOptions,
  type DirectorySource,
} from '../../server/source/directory.ts'
import { CONTEXT, fileWith } from '../policy/make.ts'

const NEVER = 2 ** 31 - 1
let root: string
let folder: string
let time: number
let changes: DirectoryChange[]
let opened: DirectorySource[]

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'tvm-policies-'))
  folder = join(root, 'policies')
  await mkdir(folder)
  time = 1000
  changes = []
  opened = []
})

afterEach(async () => {
  await Promise.all(opened.map((source) => source.close()))
  await rm(root, { recursive: true, force: true })
})

const write = async (path: string, content: string | Uint8Array = fileWith({})): Promise<void> => {
  await mkdir(join(folder, path, '..'), { recursive: true })
  await writeFile(join(folder, path), content)
}

const openHere = async (more: Partial<DirectoryOptions> = {}): Promise<DirectorySource> => {
  const source = await openDirectory({
    folder,
    parse: (files, revision) => parsePolicySet(files, CONTEXT, revision),
    world: { now: () => time },
    interval: NEVER,
    onChange: (change) => changes.push(change),
    ...more,
  })
  opened.push(source)
  return source
}

const setOf = (source: DirectorySource) => source.current()!.set
const named = (name: string): string => fileWith({ name })

describe('a folder', () => {
  it('gives its grants under a digest of its content', async () => {
    await write('a.yaml', named('one-a'))
    await write('x/y/b.yaml', named('one-b'))
    const source = await openHere()
    expect([...setOf(source).grants.keys()]).toEqual(['one-a', 'one-b'])
    expect(setOf(source).grants.get('one-b')?.at.file).toBe('x/y/b.yaml')
    expect(setOf(source).revision).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(source.current()?.seenAt).toBe(1000)
    expect(changes).toMatchObject([{ kind: 'loaded' }])
  })

  it('has one digest wherever it stands, and another for any change', async () => {
    await write('a.yaml')
    const first = setOf(await openHere()).revision
    await rename(folder, join(root, 'moved'))
    folder = join(root, 'moved')
    expect(setOf(await openHere()).revision).toBe(first)
    await rename(join(folder, 'a.yaml'), join(folder, 'b.yaml'))
    const renamed = setOf(await openHere()).revision
    await write('b.yaml', `${fileWith({})}# a comment\n`)
    const changed = setOf(await openHere()).revision
    expect(new Set([first, renamed, changed]).size).toBe(3)
  })

  it('is not changed by suites, other files and folders that begin with a dot', async () => {
    await write('a.yaml')
    const first = setOf(await openHere()).revision
    await write('a.test.yaml', 'not: [a policy')
    await write('README.md', '# policies')
    await write('action.yml', 'name: check')
    await write('.git/config.yaml', '[')
    await write('.github/workflows/ci.yml', 'on: push')
    const source = await openHere()
    expect(setOf(source).revision).toBe(first)
    expect(setOf(source).problems).toEqual([])
  })

  it('without a policy says so', async () => {
    expect(setOf(await openHere()).problems).toMatchObject([{ code: 'policy_empty' }])
  })

  it('that is not there gives nothing until it is', async () => {
    await rm(folder, { recursive: true })
    const source = await openHere()
    expect(source.current()).toBeNull()
    expect(changes).toMatchObject([{ kind: 'failed' }])
    await write('a.yaml')
    await source.confirm()
    expect(setOf(source).grants.size).toBe(1)
  })
})

describe('a file', () => {
  it.each<[string, string | Uint8Array, string]>([
    ['that is not UTF-8', Uint8Array.of(0x76, 0xff, 0xfe), 'file_unreadable'],
    ['that is UTF-16', Buffer.from(fileWith({}), 'utf16le'), 'yaml_malformed'],
    ['with a cut-off character', Uint8Array.of(0x23, 0xe2, 0x82), 'file_unreadable'],
    ['over 1 MiB', `#${'x'.repeat(1024 * 1024)}`, 'file_too_large'],
  ])('%s denies its own grants and no others', async (_, content, code) => {
    await write('good.yaml')
    await write('bad.yaml', content)
    const set = setOf(await openHere())
    expect(set.problems).toMatchObject([{ code, at: { file: 'bad.yaml' } }])
    expect(set.grants.size).toBe(1)
    expect(set.closed).toBeNull()
  })

  it.each(['_owners.yaml', '_guardrails.yaml'])('%s that is not UTF-8 closes all', async (law) => {
    await write('good.yaml')
    await write(law, Uint8Array.of(0xff))
    expect(setOf(await openHere()).closed).toMatchObject({
      code: 'laws_malformed',
      at: { file: law },
    })
  })

  it('of a refused name is complained of', async () => {
    await write('good.yaml')
    await write('a.yml')
    expect(setOf(await openHere()).problems).toMatchObject([
      { code: 'file_name_refused', at: { file: 'a.yml' } },
    ])
  })

  it('may begin with a byte order mark', async () => {
    await write('a.yaml', `\ufeff${fileWith({})}`)
    expect(setOf(await openHere()).problems).toEqual([])
  })

  it.each<[string, () => Promise<string>]>([
    [
      'out of the folder',
      async () => {
        await writeFile(join(root, 'outside.yaml'), named('evil-grant'))
        return join(root, 'outside.yaml')
      },
    ],
    [
      'out of the folder to one whose name begins alike',
      async () => {
        await mkdir(`${folder}-evil`)
        await writeFile(`${folder}-evil/x.yaml`, named('evil-grant'))
        return '../policies-evil/x.yaml'
      },
    ],
    ['to nowhere', () => Promise.resolve('nowhere.yaml')],
    ['to itself', () => Promise.resolve('link.yaml')],
    ['to a folder', () => Promise.resolve('.')],
  ])('that links %s is not read', async (_, makeTarget) => {
    await write('good.yaml')
    await symlink(await makeTarget(), join(folder, 'link.yaml'))
    const set = setOf(await openHere())
    expect([...set.grants.keys()]).toEqual(['payments-deploy'])
    expect(set.problems).toMatchObject([{ code: 'file_unreadable', at: { file: 'link.yaml' } }])
  })

  it('that links out closes all where it is a law', async () => {
    await writeFile(join(root, 'laws.yaml'), 'version: 1\nretired: [x-y]\n')
    await write('good.yaml')
    await symlink(join(root, 'laws.yaml'), join(folder, '_owners.yaml'))
    expect(setOf(await openHere()).closed).not.toBeNull()
  })

  it('that links inside is read, as in a mounted ConfigMap', async () => {
    await write('..2026_11_22/a.yaml')
    await symlink('..2026_11_22', join(folder, '..data'))
    await symlink('..data/a.yaml', join(folder, 'a.yaml'))
    const set = setOf(await openHere())
    expect(set.problems).toEqual([])
    expect(set.grants.size).toBe(1)
  })

  it('in a folder that is a link is not read', async () => {
    await write('good.yaml')
    await mkdir(join(root, 'other'))
    await writeFile(join(root, 'other/x.yaml'), named('evil-grant'))
    await symlink(join(root, 'other'), join(folder, 'linked'))
    expect([...setOf(await openHere()).grants.keys()]).toEqual(['payments-deploy'])
  })
})

describe('a look', () => {
  it('that finds the same renews when it was seen, and keeps the very set', async () => {
    await write('a.yaml')
    const source = await openHere()
    const before = setOf(source)
    time = 61_000
    await source.confirm()
    expect(source.current()?.seenAt).toBe(61_000)
    expect(setOf(source)).toBe(before)
    expect(changes).toHaveLength(1)
  })

  it('that finds a change swaps the set', async () => {
    await write('a.yaml', named('old-grant'))
    const source = await openHere()
    await write('a.yaml', named('new-grant'))
    await source.confirm()
    expect([...setOf(source).grants.keys()]).toEqual(['new-grant'])
    expect(changes.map(({ kind }) => kind)).toEqual(['loaded', 'loaded'])
  })

  it('that fails keeps the last set and when that was seen', async () => {
    await write('a.yaml')
    const source = await openHere()
    await rename(folder, `${folder}-gone`)
    time = 61_000
    await source.confirm()
    expect(setOf(source).grants.size).toBe(1)
    expect(source.current()?.seenAt).toBe(1000)
    expect(changes.map(({ kind }) => kind)).toEqual(['loaded', 'failed'])
  })

  it('that cannot be parsed keeps the last set', async () => {
    await write('a.yaml')
    let isBroken = false
    const source = await openHere({
      parse: (files, revision) => {
        if (isBroken) throw new Error('broken')
        return parsePolicySet(files, CONTEXT, revision)
      },
    })
    isBroken = true
    time = 61_000
    await write('b.yaml', named('other-grant'))
    await source.confirm()
    expect(setOf(source).grants.size).toBe(1)
    expect(source.current()?.seenAt).toBe(1000)
  })

  it('that meets more files than it takes keeps the last set', async () => {
    await write('a.yaml')
    const source = await openHere()
    for (let i = 0; i <= 10_000; i++) await writeFile(join(folder, `f${i}.yaml`), '')
    await source.confirm()
    expect(setOf(source).grants.size).toBe(1)
    expect(changes.at(-1)).toMatchObject({ kind: 'failed' })
  })

  it('is taken again and again without being asked', async () => {
    await write('a.yaml', named('old-grant'))
    const loaded = Promise.withResolvers<undefined>()
    const source = await openHere({
      interval: 5,
      onChange: (change) => {
        if (change.kind === 'loaded' && change.set.grants.has('new-grant'))
          loaded.resolve(undefined)
      },
    })
    await write('a.yaml', named('new-grant'))
    await loaded.promise
    expect([...setOf(source).grants.keys()]).toEqual(['new-grant'])
  })

  it('joins one that is under way', async () => {
    await write('a.yaml')
    const source = await openHere()
    expect(source.confirm()).toBe(source.confirm())
  })
})
