import { createHash } from 'node:crypto'
import type { Variable } from './export/export.ts'
import type { PrivateFolder } from './private-files.ts'
import { parseJson, type Handle } from './reply.ts'

/**
 * What main leaves for post, each part saved before (or, for the key and the sessions, in the same breath as) the thing
 * it tells of exists, so that post cleans up after a main that was killed at any point.
 */
export interface Left {
  readonly key: PrivateFolder
  readonly folder: PrivateFolder
  readonly sessions: { readonly url: string; readonly handles: readonly Handle[] }
  readonly variables: readonly LeftVariable[]
}

/** The value's digest is enough to see whether it is still ours. */
export interface LeftVariable {
  readonly name: string
  readonly digest: string
  readonly after: string
}

/** State names are the members of Left, after a prefix. */
export const stateName = (part: keyof Left): string => `tvm_${part}`

/** A part as main saved it; null when it saved none. Only the runner hands state to post, so its shape is trusted. */
export const readLeft = <Part extends keyof Left>(
  part: Part,
  getState: (name: string) => string,
): Left[Part] | null => (parseJson(getState(stateName(part))) ?? null) as Left[Part] | null

export const leftVariables = (variables: readonly Variable[]): readonly LeftVariable[] =>
  variables.flatMap(({ name, value, after }) =>
    after === null ? [] : [{ name, digest: digest(value), after }],
  )

/** Those variables that still hold what main put there. */
export const stillOurs = (
  variables: readonly LeftVariable[],
  env: NodeJS.ProcessEnv,
): readonly LeftVariable[] =>
  variables.filter((each) => digest(env[each.name] ?? '') === each.digest)

const digest = (value: string): string => createHash('sha256').update(value).digest('base64url')
