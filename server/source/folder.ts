import { constants, type Dirent } from 'node:fs'
import { open, readdir, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { kindOf } from '../policy/file-names.ts'
import { MAX_FILE, TOO_LARGE, type FileFault, type PolicyFile } from '../policy/policy-file.ts'

const MAX_FILES = 10_000
const MAX_DEPTH = 16

/**
 * Every file below the folder that is, or was perhaps meant to be, a policy or a law; sorted by path. Folders whose name
 * begins with a dot (.git, .github, the `..data` of a mounted ConfigMap) and links to folders are not entered. Throws
 * when the folder cannot be read as a whole.
 */
export const readFolder = async (folder: string): Promise<readonly PolicyFile[]> => {
  const root = await realpath(folder)
  const found = await walk(root, '', 0)
  const wanted = found.filter(({ path }) => isWanted(path))
  if (wanted.length > MAX_FILES) throw new Error(`there are more than ${MAX_FILES} policy files`)
  const files: PolicyFile[] = []
  for (const { path, entry } of wanted) files.push(await readOne(root, path, entry))
  return files.sort((a, b) => (a.path < b.path ? -1 : 1))
}

interface Found {
  readonly path: string
  readonly entry: Dirent
}

const walk = async (root: string, below: string, depth: number): Promise<readonly Found[]> => {
  if (depth > MAX_DEPTH) throw new Error(`folders are nested deeper than ${MAX_DEPTH}`)
  const found: Found[] = []
  for (const entry of await readdir(join(root, below), { withFileTypes: true })) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    if (!entry.isDirectory()) found.push({ path, entry })
    else if (!entry.name.startsWith('.')) found.push(...(await walk(root, path, depth + 1)))
  }
  return found
}

const isWanted = (path: string): boolean => !['ignored', 'suite'].includes(kindOf(path))

const readOne = async (root: string, path: string, entry: Dirent): Promise<PolicyFile> => {
  try {
    const target = entry.isSymbolicLink() ? await realpath(join(root, path)) : join(root, path)
    return target.startsWith(root + sep) ? await readText(target, path) : faulty(path, LEADS_OUT)
  } catch (error) {
    if (CLOSED.includes(codeOf(error))) return faulty(path, UNREADABLE)
    if (entry.isSymbolicLink() && codeOf(error) === 'ENOENT') return faulty(path, LEADS_OUT)
    throw error
  }
}

/** Not blocking, so that a pipe called x.yaml is not waited for. */
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

const readText = async (target: string, path: string): Promise<PolicyFile> => {
  await using file = await open(target, FLAGS)
  const stat = await file.stat()
  if (!stat.isFile()) return faulty(path, UNREADABLE)
  if (stat.size > MAX_FILE) return faulty(path, TOO_LARGE)
  const bytes = await file.readFile()
  if (bytes.length > MAX_FILE) return faulty(path, TOO_LARGE)
  const text = decode(bytes)
  return text === null ? faulty(path, NOT_UTF8) : { path, text }
}

const decode = (bytes: Uint8Array): string | null => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}

const faulty = (path: string, fault: FileFault): PolicyFile => ({ path, text: '', fault })

/** A file's own faults; any other error of the disk is a look that failed. */
const CLOSED = ['EACCES', 'EPERM', 'ELOOP', 'EISDIR', 'ENXIO']

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : ''

const LEADS_OUT: FileFault = {
  code: 'file_unreadable',
  message: 'the link leads out of the policy folder, or nowhere',
  hint: 'keep what decides below the one folder that is reviewed',
}
const UNREADABLE: FileFault = {
  code: 'file_unreadable',
  message: 'the file cannot be read',
  hint: 'it must be a regular file that the broker may read',
}
const NOT_UTF8: FileFault = {
  code: 'file_unreadable',
  message: 'the file is not UTF-8',
  hint: 'save it as UTF-8',
}
