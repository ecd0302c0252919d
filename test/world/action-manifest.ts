import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parse } from 'yaml'

/** When a step runs, of the expressions that matter here. */
export type Condition =
  'always()' | 'success()' | 'failure()' | 'cancelled()' | '!cancelled()' | 'success() || failure()'

export type JobStatus = 'success' | 'failure' | 'cancelled'

const HOLDS: Readonly<Record<Condition, readonly JobStatus[]>> = {
  'always()': ['success', 'failure', 'cancelled'],
  'success()': ['success'],
  'failure()': ['failure'],
  'cancelled()': ['cancelled'],
  '!cancelled()': ['success', 'failure'],
  'success() || failure()': ['success', 'failure'],
}

export const holds = (condition: Condition, status: JobStatus): boolean =>
  HOLDS[condition].includes(status)

export interface ActionInput {
  readonly name: string
  /** Empty when the action names none: the runner then sets an empty variable. */
  readonly default: string
  readonly deprecated: string | null
}

export interface Script {
  /** Absolute. */
  readonly path: string
  readonly condition: Condition
}

/** A JavaScript action as its action.yml describes it. */
export interface Action {
  readonly name: string
  readonly inputs: readonly ActionInput[]
  /** Outputs it declares; the runner takes others as well. */
  readonly outputs: readonly string[]
  readonly pre: Script | null
  readonly main: Script
  readonly post: Script | null
}

type Node = Readonly<Record<string, unknown>>

/** `uses`: an action.yml, or the folder of one. Throws on what this runner cannot run. */
export const readAction = (uses: string): Action => {
  const given = resolve(uses)
  const file = statSync(given).isDirectory() ? join(given, 'action.yml') : given
  // Scalars stay as they are written: the runner's inputs are strings.
  const document = nodeOf(parse(readFileSync(file, 'utf8'), { schema: 'failsafe' }))
  const runs = nodeOf(document['runs'])
  const using = textOf(runs['using'])
  if (!/^node\d+$/.test(using))
    throw new Error(`${file}: runs.using '${using}' is not supported here`)
  const main = scriptOf(file, runs, 'main')
  if (main === null) throw new Error(`${file}: runs.main is missing`)
  return {
    name: textOf(document['name']),
    inputs: Object.entries(nodeOf(document['inputs'])).map(([name, input]) => inputOf(name, input)),
    outputs: Object.keys(nodeOf(document['outputs'])),
    pre: scriptOf(file, runs, 'pre'),
    main,
    post: scriptOf(file, runs, 'post'),
  }
}

const inputOf = (name: string, given: unknown): ActionInput => {
  const input = nodeOf(given)
  const deprecated = input['deprecationMessage']
  return {
    name,
    default: textOf(input['default']),
    deprecated: deprecated === undefined ? null : textOf(deprecated),
  }
}

const scriptOf = (file: string, runs: Node, stage: 'pre' | 'main' | 'post'): Script | null => {
  const script = textOf(runs[stage])
  if (script === '') return null
  const condition = textOf(runs[`${stage}-if`]) || 'always()'
  if (!(condition in HOLDS))
    throw new Error(`${file}: ${stage}-if '${condition}' is not supported here`)
  return { path: join(dirname(file), script), condition: condition as Condition }
}

const nodeOf = (value: unknown): Node =>
  typeof value === 'object' && value !== null ? (value as Node) : {}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
