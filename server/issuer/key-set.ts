import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { KeyFileError, openFileKey, openFileSigner } from './keys.ts'
import type { Signer } from './signer.ts'

/** Every key that the broker holds. */
export interface Keys {
  /** Signs what clouds read, and nothing else. */
  readonly cloud: Signer
  /** Signs the JWTs of the `token` target. */
  readonly tokens: Signer
  /** MAC of session rows. */
  readonly session: Uint8Array
  /** Some of them were made by this very call. */
  readonly fresh: boolean
}

const FILES = ['cloud.pem', 'tokens.pem', 'session.key'] as const

type Random = (bytes: number) => Uint8Array

const folderOf = (data: string): string => join(data, 'keys')

/** Opens the keys below `data`, and makes those that are not there. */
export const createKeys = async (data: string, random: Random): Promise<Keys> => {
  const dir = folderOf(data)
  const [cloud, tokens, session] = FILES
  const opened = {
    cloud: await openFileSigner({ dir, name: cloud, random }),
    tokens: await openFileSigner({ dir, name: tokens, random }),
    session: await openFileKey({ dir, name: session, random }),
  }
  const fresh = Object.values(opened).some((key) => key.fresh)
  return { cloud: opened.cloud, tokens: opened.tokens, session: opened.session.key, fresh }
}

/** Opens the keys that somebody has put there; throws KeyFileError when one is absent. */
export const openKeys = async (data: string, random: Random): Promise<Keys> => {
  const dir = folderOf(data)
  const absent = FILES.filter((name) => !existsSync(join(dir, name)))
  if (absent.length > 0) throw new KeyFileError(dir, `lacks ${absent.join(', ')}`, HINT)
  const keys = await createKeys(data, random)
  // A file that went away after the look above: its replacement is as little wanted as none at all.
  if (keys.fresh) throw new KeyFileError(dir, 'lost a key while the keys were read', HINT)
  return keys
}

const HINT =
  'A broker that others can reach makes no keys in passing: run tvm keys create, and keep a copy safe.'
