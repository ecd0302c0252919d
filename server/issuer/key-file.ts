import { constants } from 'node:fs'
import { link, mkdir, open, stat, unlink, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'

/** A key file that must not be used, and how to mend it. Start-up ends on it; the text holds no key material. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError'
  readonly path: string
  readonly hint: string

  constructor(path: string, problem: string, hint: string) {
    super(`${path}: ${problem}`)
    this.path = path
    this.hint = hint
  }
}

/** Where a key stands, and how a fresh one is made. */
export interface KeyFile {
  readonly dir: string
  readonly name: string
  readonly random: (bytes: number) => Uint8Array
}

export interface KeyBytes {
  readonly bytes: Buffer
  /** True when this call made the key. */
  readonly fresh: boolean
}

/** No private key we accept comes near this. */
const MAX_BYTES = 16_384

/**
 * The content of the key file, made by `make` when there is none. Two processes that start at once end up
 * with one key. Throws KeyFileError for a file that others could have read or replaced.
 */
export const openKeyFile = async (
  file: KeyFile,
  make: () => Promise<Uint8Array>,
): Promise<KeyBytes> => {
  const path = join(file.dir, file.name)
  await readyFolder(file.dir)
  const present = await readKey(path)
  if (present !== null) return { bytes: present, fresh: false }
  const fresh = await publish(path, join(file.dir, temporaryName(file)), await make())
  const bytes = await readKey(path)
  if (bytes === null) throw new KeyFileError(path, 'was removed while it was made', 'Start again.')
  return { bytes, fresh }
}

const readyFolder = async (dir: string): Promise<void> => {
  await mkdir(dir, { recursive: true, mode: 0o700 })
  const { mode } = await stat(dir)
  if ((mode & 0o022) !== 0)
    throw new KeyFileError(dir, `others may write in it (mode ${octal(mode)})`, `chmod 700 ${dir}`)
}

const temporaryName = ({ name, random }: KeyFile): string =>
  `.${name}.${Buffer.from(random(8)).toString('hex')}`

/** Content first, name last: `link` fails on an existing name, so a half-written key is never seen under it. */
const publish = async (path: string, temporary: string, bytes: Uint8Array): Promise<boolean> => {
  const handle = await open(temporary, 'wx', 0o600)
  try {
    await written(handle, bytes)
    await link(temporary, path)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await unlink(temporary)
  }
}

const written = async (handle: FileHandle, bytes: Uint8Array): Promise<void> => {
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const readKey = async (path: string): Promise<Buffer | null> => {
  const handle = await openWithoutFollowing(path)
  if (handle === null) return null
  try {
    await refuseExposed(path, handle)
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

/** O_NONBLOCK: a named pipe under this name must not hold up the start. */
const openWithoutFollowing = async (path: string): Promise<FileHandle | null> => {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    if (hasCode(error, 'ELOOP'))
      throw new KeyFileError(path, 'is a symbolic link', 'Put the key itself there.')
    throw error
  }
}

/** Judged on the open file, so that it cannot be exchanged between the look and the read. */
const refuseExposed = async (path: string, handle: FileHandle): Promise<void> => {
  const found = await handle.stat()
  if (!found.isFile()) throw new KeyFileError(path, 'is not a plain file', 'Put a key file there.')
  if ((found.mode & 0o077) !== 0)
    throw new KeyFileError(
      path,
      `others than its owner may use it (mode ${octal(found.mode)})`,
      `Make a new key if it was exposed; otherwise chmod 600 ${path}`,
    )
  if (found.size > MAX_BYTES)
    throw new KeyFileError(path, `is larger than ${MAX_BYTES} bytes`, 'Put a key file there.')
}

const octal = (mode: number): string => (mode & 0o777).toString(8).padStart(4, '0')

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code
