import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** A program on the PATH that runs at all. */
export const isInstalled = (command: string, ...version: readonly string[]): boolean => {
  try {
    execFileSync(command, version, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

export interface Ran {
  readonly code: number
  readonly out: string
}

/** A command with this environment and nothing else; never rejects for a command that fails. */
export const run = (
  command: string,
  args: readonly string[],
  options: { readonly env: Readonly<Record<string, string>>; readonly cwd: string },
): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(command, args, { ...options, timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: stdout + stderr })
    })
  })

const MIRRORS = [
  join(homedir(), '.terraform.d/plugins'),
  '/usr/local/share/terraform/plugins',
  '/usr/share/terraform/plugins',
  ...(existsSync('/opt') ? readdirSync('/opt').map((name) => join('/opt', name)) : []),
]

/** A folder that `terraform init -plugin-dir` takes the provider from; null when it would have to be downloaded. */
export const terraformPlugins = (provider: string): string | null =>
  MIRRORS.find((folder) => existsSync(join(folder, 'registry.terraform.io', provider))) ?? null
