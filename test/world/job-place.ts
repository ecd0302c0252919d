import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
  type Dirent,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** The folders of one job. */
export interface Place {
  /** RUNNER_TEMP */
  readonly temp: string
  /** GITHUB_WORKSPACE */
  readonly workspace: string
  /** HOME */
  readonly home: string
  /** TMPDIR */
  readonly tmp: string
  /** RUNNER_TOOL_CACHE */
  readonly tools: string
}

export const makePlace = (root: string): Place => {
  const place = {
    temp: join(root, '_work', '_temp'),
    workspace: join(root, '_work', 'repository', 'repository'),
    home: join(root, 'home'),
    tmp: join(root, 'tmp'),
    tools: join(root, '_work', '_tool'),
  }
  for (const folder of Object.values(place)) mkdirSync(folder, { recursive: true })
  return place
}

/** Folders below RUNNER_TEMP that are the runner's own. */
export const COMMAND_FILES = '_runner_file_commands'
const WORKFLOW = '_github_workflow'

export const eventPath = (place: Place): string => join(place.temp, WORKFLOW, 'event.json')

/** The event, and what a checkout would bring: path below the workspace → text. */
export const furnish = (
  place: Place,
  event: object,
  files: Readonly<Record<string, string>>,
): void => {
  write(eventPath(place), JSON.stringify(event))
  for (const [path, text] of Object.entries(files)) write(join(place.workspace, path), text)
}

const write = (path: string, text: string): void => {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

/** Something that the job left on the disk. */
export interface Left {
  /** Relative, with slashes; a folder ends with one. */
  readonly path: string
  /** Permission bits, e.g. 0o600. */
  readonly mode: number
  /** Of a symbolic link: where it points. Of a folder: empty. */
  readonly text: string
}

export interface AllLeft {
  /** In RUNNER_TEMP, but for the runner's own files. */
  readonly temp: readonly Left[]
  /** In GITHUB_WORKSPACE, but for the files that were there from the start and are unchanged. */
  readonly workspace: readonly Left[]
  /** In HOME. */
  readonly home: readonly Left[]
  /** In TMPDIR. */
  readonly tmp: readonly Left[]
}

export const listLeft = (place: Place, files: Readonly<Record<string, string>>): AllLeft => ({
  temp: below(place.temp).filter(
    ({ path }) => !path.startsWith(`${COMMAND_FILES}/`) && !path.startsWith(`${WORKFLOW}/`),
  ),
  workspace: below(place.workspace).filter(
    ({ path, text }) =>
      files[path] !== text &&
      !(path.endsWith('/') && Object.keys(files).some((file) => file.startsWith(path))),
  ),
  home: below(place.home),
  tmp: below(place.tmp),
})

/** Never follows a symbolic link. */
const below = (root: string, folder = ''): Left[] =>
  readdirSync(join(root, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = folder + entry.name + (entry.isDirectory() ? '/' : '')
      const full = join(root, path)
      const left = { path, mode: lstatSync(full).mode & 0o7777, text: textOf(full, entry) }
      return entry.isDirectory() ? [left, ...below(root, path)] : [left]
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1))

const textOf = (path: string, entry: Dirent): string => {
  if (entry.isSymbolicLink()) return readlinkSync(path)
  return entry.isFile() ? readFileSync(path, 'utf8') : ''
}
