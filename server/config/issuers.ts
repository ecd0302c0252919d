import { resolve } from 'node:path'
import { z } from 'zod'
import { DIALECTS, type Dialect, type DialectName } from '../identity/dialects.ts'
import type { Source } from './source.ts'
import { url, type ConfigProblem } from './values.ts'

/** A configured issuer of CI tokens. Its keys come from `jwksUri`, or from a file in a closed network. */
export interface IssuerConfig {
  readonly alias: string
  readonly dialect: Dialect
  readonly issuer: string
  readonly jwksUri: string
  readonly jwksFile: string | null
  readonly isDefault: boolean
}

const DIALECT_NAMES = Object.keys(DIALECTS) as [DialectName, ...DialectName[]]

const jwksUri = z.string().superRefine((given, context) => {
  const read = url({ path: true, port: true })(given, '')
  if ('problem' in read) context.addIssue({ code: 'custom', message: read.problem })
})

const row = z
  .strictObject({
    dialect: z.enum(DIALECT_NAMES),
    jwks_uri: jwksUri.optional(),
    jwks_file: z.string().min(1).optional(),
    default: z.boolean().optional(),
  })
  .refine((issuer) => issuer.jwks_uri === undefined || issuer.jwks_file === undefined, {
    message: 'must have jwks_uri or jwks_file, not both',
  })

const shape = z
  .record(z.string().regex(/^[a-z][a-z0-9-]{0,31}$/, 'must be named with a-z, 0-9 and -'), row)
  .refine((issuers) => Object.keys(issuers).length > 0, { message: 'must name an issuer' })

/** The section `issuers` of tvm.yaml; github.com when there is none. */
export const readIssuers = (source: Source, problems: ConfigProblem[]): readonly IssuerConfig[] => {
  const given = source.values.get('issuers')
  const read = shape.safeParse(
    given === undefined ? { github: { dialect: 'github' } } : given.value,
  )
  if (read.success)
    return Object.entries(read.data).map(([alias, each]) => issuerOf(alias, each, source.base))
  for (const issue of read.error.issues) {
    const key = ['issuers', ...issue.path.map(String)].join('.')
    problems.push({ at: given?.at ?? 'tvm.yaml', key, message: issue.message })
  }
  return []
}

const issuerOf = (alias: string, given: z.infer<typeof row>, base: string): IssuerConfig => {
  const dialect: Dialect = DIALECTS[given.dialect]
  return {
    alias,
    dialect,
    issuer: dialect.issuer,
    jwksUri: given.jwks_uri ?? dialect.issuer + dialect.jwksPath,
    jwksFile: given.jwks_file === undefined ? null : resolve(base, given.jwks_file),
    isDefault: given.default === true,
  }
}
