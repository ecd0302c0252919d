import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { ROOT } from '../world/world.ts'

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Another program than the sources. */
  readonly main?: string
  /** Sees the process as soon as it runs. */
  readonly started?: (child: ChildProcess) => void
}

/** `tvm …` as a process of its own, in an environment without anything of ours. */
export const tvm = (args: readonly string[], options: RunOptions = {}): Promise<Ended> => {
  const main = options.main ?? join(ROOT, 'server/main.ts')
  const child = spawn(process.execPath, [main, ...args], {
    cwd: options.cwd ?? tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...options.env },
  })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
    })
  const ended = new Promise<Ended>((resolve) =>
    child.once('close', (code) => resolve({ code, ...said })),
  )
  options.started?.(child)
  return ended
}

/** A folder of its own with these files; `mode` of files 0600, of folders 0700. */
export const folderWith = (files: Readonly<Record<string, string>> = {}): string => {
  const folder = mkdtempSync(join(tmpdir(), 'tvm-cli-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, path), text, { mode: 0o600 })
  }
  return folder
}

/** Runs `act` in a folder with these files, and removes it. */
export const inFolder = async (
  files: Readonly<Record<string, string>>,
  act: (folder: string) => Promise<void>,
): Promise<void> => {
  const folder = folderWith(files)
  try {
    await act(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** It said on stderr these lines and no more, in this order and without a stack, nothing on stdout, and ended with `code`. */
export const expectComplaint = (ended: Ended, code: number, says: readonly RegExp[]): void => {
  const lines = ended.stderr.trimEnd().split('\n')
  for (const [n, pattern] of says.entries()) expect(lines[n]).toMatch(pattern)
  expect(lines, ended.stderr).toHaveLength(says.length)
  expect(lines.filter((line) => !/^tvm: (error|hint): \S/.test(line))).toEqual([])
  expect([ended.code, ended.stdout]).toEqual([code, ''])
}
