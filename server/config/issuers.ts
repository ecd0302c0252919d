import { resolve } from 'node:path'
import { z } from 'zod'
import {
  DIALECTS,
  withoutJobClaim,
  type Dialect,
  type DialectName,
  type ParameterName,
} from '../identity/dialects.ts'
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

/** What a parameter must be depends on the kind: see `parameterProblems`. */
const PARAMETERS = {
  enterprise: z.string().optional(),
  subdomain: z.string().optional(),
  host: z.string().optional(),
} as const satisfies Record<ParameterName, z.ZodType>

const PARAMETER_NAMES = Object.keys(PARAMETERS) as ParameterName[]

const row = z
  .strictObject({
    dialect: z.enum(DIALECT_NAMES),
    ...PARAMETERS,
    jwks_uri: jwksUri.optional(),
    jwks_file: z.string().min(1).optional(),
    job_key: z.literal('run').optional(),
    default: z.boolean().optional(),
  })
  .refine((issuer) => issuer.jwks_uri === undefined || issuer.jwks_file === undefined, {
    message: 'must have jwks_uri or jwks_file, not both',
  })
  .superRefine((issuer, context) => {
    for (const [key, message] of [...parameterProblems(issuer), ...jobKeyProblems(issuer)])
      context.addIssue({ code: 'custom', path: [key], message })
  })

type Row = Readonly<
  { dialect: DialectName; job_key?: 'run' | undefined } & Partial<
    Record<ParameterName, string | undefined>
  >
>
type Problem = readonly [key: string, message: string]

/** A parameter of the kind must be there and fit; one of another kind must not. */
const parameterProblems = (issuer: Row): readonly Problem[] => {
  const { parameters }: Dialect = DIALECTS[issuer.dialect]
  return PARAMETER_NAMES.flatMap((name): readonly Problem[] => {
    const parameter = parameters[name]
    const given = issuer[name]
    if (parameter === undefined)
      return given === undefined ? [] : [[name, `is no key of the dialect ${issuer.dialect}`]]
    return given !== undefined && parameter.pattern.test(given) ? [] : [[name, parameter.form]]
  })
}

const jobKeyProblems = ({ dialect, job_key }: Row): readonly Problem[] =>
  job_key === undefined || DIALECTS[dialect].mayLackJob
    ? []
    : [['job_key', `is no key of the dialect ${dialect}, whose tokens always name the job`]]

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
  const kind: Dialect = DIALECTS[given.dialect]
  return {
    alias,
    dialect: given.job_key === 'run' ? withoutJobClaim(kind) : kind,
    issuer: fill(kind.issuer, given),
    jwksUri: given.jwks_uri ?? fill(kind.jwks, given),
    jwksFile: given.jwks_file === undefined ? null : resolve(base, given.jwks_file),
    isDefault: given.default === true,
  }
}

/** The parameters have matched their patterns: nothing in them can end a part of a URL. */
const fill = (template: string, given: Row): string =>
  PARAMETER_NAMES.reduce((text, name) => text.replaceAll(`{${name}}`, given[name] ?? ''), template)
