import { createHash } from 'node:crypto'
import type { PolicySet } from '../policy/grant.ts'
import type { PolicyFile } from '../policy/policy-file.ts'
import type { PolicySource } from '../policy/source.ts'
import type { World } from '../world.ts'
import { readFolder } from './folder.ts'

const MINUTE = 60_000

export interface DirectoryOptions {
  readonly folder: string
  readonly parse: (files: readonly PolicyFile[], revision: string) => PolicySet
  readonly world: Pick<World, 'now'>
  /** Milliseconds between two looks at the folder; a minute when absent. */
  readonly interval?: number
  /** Told of every new set, and of every look that failed; for the log. */
  readonly onChange?: (change: DirectoryChange) => void
}

export type DirectoryChange =
  | { readonly kind: 'loaded'; readonly set: PolicySet }
  | { readonly kind: 'failed'; readonly cause: string }

export interface DirectorySource extends PolicySource {
  /** Looks now; resolves when the look is over, whatever it found. */
  confirm(): Promise<void>
}

/**
 * Policies from a folder of this machine, looked at once a minute. The first look is over when this resolves; where it
 * failed, `current()` is null until a later one succeeds.
 */
export const openDirectory = async (options: DirectoryOptions): Promise<DirectorySource> => {
  let held: { readonly set: PolicySet; readonly seenAt: number } | null = null
  let looking: Promise<void> | null = null

  const look = async (): Promise<void> => {
    const seenAt = options.world.now()
    try {
      const set = await nextSet(options, held?.set ?? null)
      const isNew = set !== held?.set
      held = { set, seenAt }
      if (isNew) options.onChange?.({ kind: 'loaded', set })
    } catch (error) {
      options.onChange?.({ kind: 'failed', cause: String(error) })
    }
  }
  const confirm = (): Promise<void> =>
    (looking ??= look().finally(() => {
      looking = null
    }))

  await confirm()
  const timer = setInterval(() => void confirm(), options.interval ?? MINUTE).unref()
  return {
    current: () => held,
    confirm,
    close: async () => {
      clearInterval(timer)
      await looking
    },
  }
}

/** The set that is held, if the folder still says the same. A change counts once two looks in a row agree on it. */
const nextSet = async (
  { folder, parse }: DirectoryOptions,
  held: PolicySet | null,
): Promise<PolicySet> => {
  const files = await readFolder(folder)
  const revision = revisionOf(files)
  if (held?.revision === revision) return held
  if (revisionOf(await readFolder(folder)) !== revision)
    throw new Error('the folder changed while it was read')
  return parse(files, revision)
}

/** Over paths and contents, each with its length before it, so that no two folders spell the same. */
const revisionOf = (files: readonly PolicyFile[]): string => {
  const hash = createHash('sha256')
  for (const { path, text, fault } of files)
    for (const part of [path, fault?.message ?? '', text])
      hash.update(`${Buffer.byteLength(part)}:`).update(part)
  return `sha256:${hash.digest('hex')}`
}
