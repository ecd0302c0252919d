import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Option } from 'commander'
import { readConfig, type Config } from '../config/config.ts'
import type { Signer } from '../issuer/signer.ts'
import type { Log } from '../log.ts'
import type { World } from '../world.ts'
import type { AuditReader } from './audit.ts'
import type { LockDesk } from './lock.ts'
import { codeOf, CommandError } from './terminal.ts'

export interface Closable {
  close(): Promise<void>
}

/** What main hands to the commands: the process, and the parts that only main may wire. */
export interface ProgramParts {
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  readonly world: World
  readonly startBroker: (config: Config, world: World, log: Log) => Promise<Closable>
  /** Makes the keys that are not there. */
  readonly createKeys: (config: Config, world: World) => Promise<{ readonly cloud: Signer }>
  /** Throws when one is not there. */
  readonly openKeys: (config: Config, world: World) => Promise<{ readonly cloud: Signer }>
  readonly openAudit: (config: Config) => Promise<AuditReader & Closable>
  readonly openDesk: (config: Config) => Promise<LockDesk & Closable>
}

export const CONFIG = [
  '-c, --config <file>',
  'configuration file (default: TVM_CONFIG, or ./tvm.yaml if there is one)',
] as const
export const format = (): Option =>
  new Option('--format <format>', 'text for people, json for machines')
    .choices(['text', 'json'])
    .default('text')

/** What stands below the options in a command's help. */
export const notes = (exitCodes: string, ...examples: readonly string[]): string =>
  [
    '',
    `Exit codes: ${exitCodes}.`,
    '',
    'Examples:',
    ...examples.map((each) => `  $ ${each}`),
    '',
  ].join('\n')

/** The configuration, or every problem with it as one error. */
export const configOf = ({ env, cwd }: ProgramParts, given: string | undefined): Config => {
  const path = given ?? env['TVM_CONFIG']
  const found = readConfig({ env, cwd, file: configFile(path, cwd) })
  if (!isProblems(found)) return found
  throw new CommandError(
    `the configuration has ${found.length === 1 ? 'a problem' : `${found.length} problems`}`,
    found.map(({ at, key, message }) => `${at}: ${key} ${message}`),
  )
}

const isProblems = (found: ReturnType<typeof readConfig>): found is Exclude<typeof found, Config> =>
  Array.isArray(found)

const configFile = (path: string | undefined, cwd: string) => {
  try {
    return {
      path: path ?? 'tvm.yaml',
      text: readFileSync(resolve(cwd, path ?? 'tvm.yaml'), 'utf8'),
    }
  } catch (error) {
    if (path === undefined && codeOf(error) === 'ENOENT') return null
    throw new CommandError(`${path ?? 'tvm.yaml'} cannot be read (${codeOf(error)})`, [
      'The configuration file is what --config names, else TVM_CONFIG, else ./tvm.yaml.',
    ])
  }
}
