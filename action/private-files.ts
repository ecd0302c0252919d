import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
  type Stats,
} from 'node:fs'
import { dirname, join, relative, isAbsolute, basename } from 'node:path'
import { Failure } from './failure.ts'

/** A folder of ours below RUNNER_TEMP, and exactly the files that were written into it. */
export interface PrivateFolder {
  readonly path: string
  readonly names: readonly string[]
}

export interface PrivateFile {
  readonly name: string
  readonly text: string
}

// Windows has no O_NOFOLLOW, uids or mode bits; there the runner's profile folder is what protects the files.
const NOFOLLOW = process.platform === 'win32' ? 0 : constants.O_NOFOLLOW

/** RUNNER_TEMP, resolved. The runner empties it before and after each job; the workspace gets committed and packed. */
export const tempRoot = (env: NodeJS.ProcessEnv): string => {
  const named = env['RUNNER_TEMP'] ?? ''
  if (named === '') throw new Failure('runner_temp_unusable', 'RUNNER_TEMP is not set.')
  const root = resolved(named)
  if (root === null)
    throw new Failure('runner_temp_unusable', 'RUNNER_TEMP does not name a folder.')
  const workspace = resolved(env['GITHUB_WORKSPACE'] ?? '')
  if (workspace !== null && isWithin(root, workspace))
    throw new Failure('runner_temp_unusable', 'RUNNER_TEMP lies inside the workspace.')
  return root
}

const resolved = (path: string): string | null => {
  try {
    const real = realpathSync(path)
    return path !== '' && lstatSync(real).isDirectory() ? real : null
  } catch {
    return null
  }
}

const isWithin = (path: string, folder: string): boolean => {
  const step = relative(folder, path)
  return !step.startsWith('..') && !isAbsolute(step)
}

/** Makes the folder (0700) and its files (0600), none of which may be there already; false if the folder is. */
export const writePrivate = (path: string, files: readonly PrivateFile[]): boolean => {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
  for (const { name, text } of files) {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | NOFOLLOW
    const handle = openSync(join(path, name), flags, 0o600)
    try {
      writeFileSync(handle, text)
    } finally {
      closeSync(handle)
    }
  }
  return true
}

/** The text of a file of ours, or null when folder or file are not private to this user (or not there). */
export const readPrivate = (path: string): string | null => {
  try {
    const folder = lstatSync(dirname(path))
    if (!folder.isDirectory() || !isOurs(folder)) return null
    const handle = openSync(path, constants.O_RDONLY | NOFOLLOW)
    try {
      const file = fstatSync(handle)
      return file.isFile() && isOurs(file) && file.size <= 4096
        ? readFileSync(handle, 'utf8')
        : null
    } finally {
      closeSync(handle)
    }
  } catch {
    return null
  }
}

const isOurs = (stats: Stats): boolean =>
  process.platform === 'win32' || (stats.uid === process.getuid?.() && (stats.mode & 0o077) === 0)

/**
 * Removes the named files and then the folder, which stays if anything else lies in it. Returns what went wrong,
 * in words. A path that is not a `tvm-` folder directly below `root` is not touched.
 */
export const removePrivate = (root: string, folder: PrivateFolder): readonly string[] => {
  if (dirname(folder.path) !== root || !basename(folder.path).startsWith('tvm-'))
    return ['a path that is not ours was left alone']
  const steps = [
    ...folder.names.map((name) => () => unlinkSync(join(folder.path, basename(name)))),
    () => rmdirSync(folder.path),
  ]
  return steps.flatMap((step) => attempt(step))
}

const attempt = (step: () => void): readonly string[] => {
  try {
    step()
    return []
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? [] : [`${code ?? 'error'} while removing a file`]
  }
}
