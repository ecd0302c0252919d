import type { TargetName } from '../api.ts'
import type { Dialect } from '../identity/dialects.ts'
import type { TargetSpecs } from './grant.ts'
import type { Say } from './problem.ts'
import type { Fields } from './read.ts'
import { readAws } from './target-aws.ts'
import { readAzure } from './target-azure.ts'
import { readGcp } from './target-gcp.ts'
import { readToken } from './target-token.ts'
import type { Node } from './yaml.ts'

/** What a target section may depend on beside itself. */
export interface TargetScope {
  readonly dialect: Dialect
  readonly tokenAudiences: readonly string[]
  /** Seconds: the grant's. */
  readonly ttl: number
  /** Seconds: the grant's; null where it has none. */
  readonly acceptLifetime: number | null
  readonly say: Say
}

type Read<Name extends TargetName> = (
  node: Node,
  scope: TargetScope,
) => Required<TargetSpecs>[Name] | null

const READERS: { readonly [Name in TargetName]: Read<Name> } = {
  aws: (node, { dialect, say }) => readAws(node, dialect, say),
  azure: (node, { acceptLifetime, say }) => readAzure(node, { acceptLifetime, say }),
  gcp: (node, { say }) => readGcp(node, say),
  token: (node, { tokenAudiences, ttl, say }) =>
    readToken(node, { audiences: tokenAudiences, ttl, say }),
}

export const TARGET_NAMES = Object.keys(READERS) as readonly TargetName[]

/** Words of the language that other versions know. */
export const FOREIGN_TARGETS: readonly string[] = ['github']

/** The target sections of a grant: at least one. */
export const readTargets = (fields: Fields, scope: TargetScope): TargetSpecs => {
  refuseForeign(fields, scope.say)
  if (![...TARGET_NAMES, ...FOREIGN_TARGETS].some((name) => fields.entries.has(name)))
    scope.say({
      code: 'target_missing',
      at: fields.at,
      message: 'the grant has no target',
      hint: `add a section: ${TARGET_NAMES.join(', ')}`,
    })
  const aws = section('aws', fields, scope)
  const azure = section('azure', fields, scope)
  const gcp = section('gcp', fields, scope)
  const token = section('token', fields, scope)
  return {
    ...(aws !== null && { aws }),
    ...(azure !== null && { azure }),
    ...(gcp !== null && { gcp }),
    ...(token !== null && { token }),
  }
}

const section = <Name extends TargetName>(name: Name, fields: Fields, scope: TargetScope) => {
  const node = fields.get(name)
  return node === null ? null : READERS[name](node, scope)
}

const refuseForeign = ({ entries }: Fields, say: Say): void => {
  for (const name of FOREIGN_TARGETS) {
    const at = entries.get(name)?.key.at
    if (at !== undefined)
      say({
        code: 'target_unknown',
        at,
        message: `this version lacks the target '${name}'`,
        hint: `it has ${TARGET_NAMES.join(', ')}`,
      })
  }
}
