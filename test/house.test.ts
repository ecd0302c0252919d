import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { TargetName } from '../server/api.ts'

const ROOT = resolve(import.meta.dirname, '..')

const sources = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))

interface Import {
  readonly target: string
  readonly typeOnly: boolean
}

const importsOf = (file: string): Import[] => {
  const text = readFileSync(join(ROOT, file), 'utf8')
  const found = text.matchAll(
    /^(?:import|export)\s+(type\s)?(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm,
  )
  return [...found].map((match) => ({
    target: (match[2] ?? '').startsWith('.')
      ? relative(ROOT, resolve(ROOT, dirname(file), match[2] ?? ''))
      : (match[2] ?? ''),
    typeOnly: match[1] !== undefined,
  }))
}

/** The way of a token: a room imports from rooms of a lower rank, or from itself. */
const RANKS: Readonly<Record<string, number>> = {
  'server/api.ts': 0,
  'server/refusal.ts': 0,
  'server/secret.ts': 0,
  'server/id.ts': 0,
  'server/world.ts': 0,
  'server/log.ts': 0,
  'server/identity': 1,
  'server/policy': 2,
  'server/session': 3,
  'server/audit': 3,
  'server/issuer': 4,
  'server/targets': 5,
  'server/broker': 6,
  'server/http': 7,
  'server/config': 8,
  'server/cli': 8,
  'server/health.ts': 8,
  'server/store': 8,
  'server/source': 8,
  'server/serve.ts': 9,
  'server/main.ts': 10,
}

/** Implementations of others' ports: wired at the edge, imported by nobody else. */
const WIRED = ['server/store', 'server/source']

const roomOf = (path: string): string => {
  const [top = '', second = ''] = path.split('/')
  return `${top}/${second}`
}

const rankOf = (room: string): number => {
  const rank = RANKS[room]
  if (rank === undefined) throw new Error(`${room} has no rank: name it in test/house.test.ts`)
  return rank
}

const serverFiles = sources('server')

const TARGETS = ['aws', 'azure', 'gcp', 'token'] as const satisfies readonly TargetName[]

/** The target that a file belongs to: `targets/aws.ts` or `targets/aws/…`; null: none, or all. */
const targetOf = (file: string): string | null =>
  TARGETS.find((name) => new RegExp(`^server/targets/${name}[./]`).test(file)) ?? null

const targetFiles = serverFiles.filter((file) => targetOf(file) !== null)

describe('imports run one way', () => {
  it.each(serverFiles)('%s', (file) => {
    const own = roomOf(file)
    const wrong = importsOf(file)
      .filter(({ target }) => target.startsWith('server/') && roomOf(target) !== own)
      .filter(({ target, typeOnly }) => {
        const room = roomOf(target)
        const wiring =
          WIRED.includes(room) && !['server/serve.ts', 'server/main.ts'].includes(own) && !typeOnly
        return wiring || rankOf(room) > rankOf(own)
      })
    expect(wrong).toEqual([])
  })

  it.each(sources('action'))(
    '%s takes types of server/api.ts and nothing else of the server',
    (file) => {
      const wrong = importsOf(file).filter(
        ({ target, typeOnly }) =>
          target.startsWith('server/') && !(target === 'server/api.ts' && typeOnly),
      )
      expect(wrong).toEqual([])
    },
  )

  it.each(targetFiles)('%s imports no other target', (file) => {
    const others = importsOf(file)
      .map(({ target }) => targetOf(target))
      .filter((name) => name !== null && name !== targetOf(file))
    expect(others).toEqual([])
  })
})

const PURE = serverFiles.filter(
  (file) =>
    (file.startsWith('server/policy/') && file !== 'server/policy/source.ts') ||
    [
      'server/identity/claims.ts',
      'server/identity/dialects.ts',
      'server/identity/json.ts',
    ].includes(file),
)

describe('the verdict is pure', () => {
  it.each(PURE)('%s reads no clock, network, file or process', (file) => {
    const modules = importsOf(file).map(({ target }) => target)
    expect(modules.filter((name) => /^node:(?!crypto$|net$|buffer$|util$)/.test(name))).toEqual([])
    const text = readFileSync(join(ROOT, file), 'utf8')
    expect(
      text.match(/\bDate\.now\(|new Date\(\)|Math\.random\(|\bprocess\.|\bfetch\(|setTimeout\(/g),
    ).toBeNull()
  })
})

describe('the house', () => {
  it('has no drawers', () => {
    const drawers = [...serverFiles, ...sources('action')].filter((file) =>
      /\b(utils?|common|helpers?|types|constants)\b/.test(file),
    )
    expect(drawers).toEqual([])
  })

  it('names the other ways round too: every rank has a room', () => {
    const rooms = new Set(serverFiles.map(roomOf))
    expect(Object.keys(RANKS).filter((room) => !rooms.has(room))).toEqual([])
  })
})
