import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StepLog } from './step-log.ts'

/** One `NAME=value` or heredoc of GITHUB_ENV, GITHUB_OUTPUT or GITHUB_STATE. */
export type Pair = readonly [name: string, value: string]

interface Line {
  readonly text: string
  readonly newline: string | null
  readonly next: number
}

/**
 * Reads a command file as the runner on Linux does (actions/runner, FileCommandManager.cs): pairs come one by one, so
 * those before a malformed line count. Throws an Error with the runner's own words.
 */
export function* readPairs(file: string): Generator<Pair> {
  const text = file.replace(/^\uFEFF/, '')
  let line = readLine(text, 0)
  while (line !== null) {
    let next = line.next
    if (line.text !== '') {
      const equals = line.text.indexOf('=')
      const heredoc = line.text.indexOf('<<')
      if (equals >= 0 && (heredoc < 0 || equals < heredoc))
        // The runner means to refuse an empty name here, but looks at the line instead.
        yield [line.text.slice(0, equals), line.text.slice(equals + 1)]
      else if (heredoc >= 0) {
        const [pair, after] = readHeredoc(text, line, heredoc)
        yield pair
        next = after
      } else throw new Error(`Invalid format '${line.text}'`)
    }
    line = readLine(text, next)
  }
}

const readHeredoc = (text: string, first: Line, at: number): readonly [Pair, number] => {
  const name = first.text.slice(0, at)
  const delimiter = first.text.slice(at + 2)
  if (name === '' || delimiter === '')
    throw new Error(
      `Invalid format '${first.text}'. Name must not be empty and delimiter must not be empty`,
    )
  let end = first.next
  let line = readLine(text, first.next)
  while (line?.text !== delimiter) {
    if (line === null) throw new Error(`Invalid value. Matching delimiter not found '${delimiter}'`)
    if (line.newline === null) throw new Error('Invalid value. EOF marker missing new line.')
    end = line.next - line.newline.length
    line = readLine(text, line.next)
  }
  return [[name, text.slice(first.next, end)], line.next]
}

const readLine = (text: string, from: number): Line | null => {
  if (from >= text.length) return null
  const end = text.indexOf('\n', from)
  return end < 0
    ? { text: text.slice(from), newline: null, next: text.length }
    : { text: text.slice(from, end), newline: '\n', next: end + 1 }
}

/** What a step wrote into its command files. */
export interface Changes {
  readonly env: ReadonlyMap<string, string>
  readonly outputs: ReadonlyMap<string, string>
  readonly state: ReadonlyMap<string, string>
  readonly paths: readonly string[]
  /** As written. */
  readonly summary: string
}

/** The command files of one stage of a step, fresh and empty. */
export interface CommandFiles {
  /** GITHUB_ENV and so on → path. */
  readonly env: Readonly<Record<string, string>>
  /** Reads and removes them; what is malformed fails the step. */
  take(log: StepLog): Changes
}

const FILES = {
  GITHUB_PATH: 'add_path_',
  GITHUB_ENV: 'set_env_',
  GITHUB_STEP_SUMMARY: 'step_summary_',
  GITHUB_STATE: 'save_state_',
  GITHUB_OUTPUT: 'set_output_',
} as const

const MAX_SUMMARY = 1024 * 1024

export const openCommandFiles = (folder: string): CommandFiles => {
  mkdirSync(folder, { recursive: true })
  const suffix = randomUUID()
  const pathOf = (name: keyof typeof FILES): string => join(folder, FILES[name] + suffix)
  const names = Object.keys(FILES) as (keyof typeof FILES)[]
  for (const name of names) writeFileSync(pathOf(name), '')
  return {
    env: Object.fromEntries(names.map((name) => [name, pathOf(name)])),
    take: (log) => {
      const texts = Object.fromEntries(names.map((name) => [name, textOf(pathOf(name))]))
      for (const name of names) rmSync(pathOf(name), { force: true })
      return read(texts as Record<keyof typeof FILES, string>, log)
    },
  }
}

/** A step may have removed its file. */
const textOf = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '')

const read = (texts: Readonly<Record<keyof typeof FILES, string>>, log: StepLog): Changes => ({
  paths: texts.GITHUB_PATH.split(/\r\n|\r|\n/).filter((line) => line !== ''),
  env: pairs('env', texts.GITHUB_ENV, log),
  summary: summaryOf(texts.GITHUB_STEP_SUMMARY, log),
  state: pairs('state', texts.GITHUB_STATE, log),
  outputs: pairs('output', texts.GITHUB_OUTPUT, log),
})

const DEBUG = {
  env: (name: string, value: string) => `${name}='${value}'`,
  state: (name: string, value: string) => `Save intra-action state ${name} = ${value}`,
  output: (name: string, value: string) => `Set output ${name} = ${value}`,
} as const

const pairs = (kind: keyof typeof DEBUG, text: string, log: StepLog): Map<string, string> => {
  const read = new Map<string, string>()
  try {
    for (const [name, value] of readPairs(text)) {
      if (kind === 'env' && name.toUpperCase() === 'NODE_OPTIONS') {
        log.issue('error', "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")
        continue
      }
      read.set(name, value)
      log.debug(DEBUG[kind](name, value))
    }
  } catch (error) {
    log.fail(`Unable to process file command '${kind}' successfully.`, error)
  }
  return read
}

const summaryOf = (text: string, log: StepLog): string => {
  const bytes = Buffer.byteLength(text)
  if (bytes <= MAX_SUMMARY) return text
  log.issue(
    'error',
    `$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got ${Math.floor(bytes / 1024)}k. For more information see: https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions#adding-a-markdown-summary`,
  )
  return ''
}
