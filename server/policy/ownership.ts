import { valuesOf } from './block.ts'
import { matches } from './glob.ts'
import type { GrantFile, PolicyContext } from './grant-file.ts'
import type { GcpGrant, Grant, Place, PolicyProblem } from './grant.ts'
import type { Owner, Owners } from './owners.ts'
import { collectFindings, suggest, type Say } from './problem.ts'

/** The file without its grants, if it is not what its owner may write. A name out of its bounds lays claim to nothing. */
export const withinOwner = (file: GrantFile, owners: Owners, context: PolicyContext): GrantFile => {
  const { say, problems } = collectFindings()
  refuseRetired(file, owners, say)
  if (owners.byName === null) return withProblems(file, problems)
  const owner = ownerOf(file, owners.byName, say)
  if (owner === null) return withProblems({ ...file, names: [] }, problems)
  refusePlace(file, owner, say)
  for (const grant of file.grants)
    for (const excess of excessesOf(grant, owner, context))
      say(exceeded(grant.at, `'${grant.name}' names ${excess}, which '${owner.name}' may not`))
  const names = file.names.filter(({ name }) => name.startsWith(owner.prefix))
  return withProblems({ ...file, names }, problems)
}

export const withProblems = (file: GrantFile, problems: readonly PolicyProblem[]): GrantFile =>
  problems.length === 0 ? file : { ...file, grants: [], problems: [...file.problems, ...problems] }

const refuseRetired = ({ names }: GrantFile, { retired }: Owners, say: Say): void => {
  for (const { name, at } of names)
    if (retired.has(name))
      say({
        code: 'grant_retired',
        at,
        message: `the name '${name}' is retired`,
        hint: 'whoever still asks for it means the old grant: choose another name',
      })
}

const ownerOf = (
  { owner, path }: GrantFile,
  byName: ReadonlyMap<string, Owner>,
  say: Say,
): Owner | null => {
  const known = owner === null ? undefined : byName.get(owner.name)
  if (known !== undefined) return known
  return say({
    code: 'owner_unknown',
    at: owner?.at ?? { file: path, line: 1, column: 1 },
    message: owner === null ? 'the file has no owner' : `no owner is called '${owner.name}'`,
    hint: `write owner: <name> as in _owners.yaml; ${suggest(owner?.name ?? '', [...byName.keys()])}`,
  })
}

const refusePlace = ({ path, names, owner }: GrantFile, limits: Owner, say: Say): void => {
  const top = owner?.at ?? { file: path, line: 1, column: 1 }
  if (!path.startsWith(`${limits.folder}/`))
    say(exceeded(top, `files of '${limits.name}' stand in ${limits.folder}/`))
  for (const { name, at } of names)
    if (!name.startsWith(limits.prefix))
      say(exceeded(at, `grants of '${limits.name}' begin with '${limits.prefix}'`))
}

const exceeded = (at: Place, message: string) => ({
  code: 'owner_scope_exceeded' as const,
  at,
  message,
  hint: 'what an owner may name stands in _owners.yaml',
})

/** What a grant names and its owner may not. */
const excessesOf = (
  { allow, issuer, targets: { aws, azure, gcp, token } }: Grant,
  owner: Owner,
  { issuers }: PolicyContext,
): readonly string[] => {
  const claim = issuers.get(issuer)?.dialect.ownerId ?? ''
  const ids = allow.flatMap((block) => valuesOf(block, claim) ?? []).map(({ source }) => source)
  const scopes = token === undefined ? [] : (owner.audiences.get(token.audience) ?? null)
  return [
    ...ids.filter((id) => !owner.ids.has(`${issuer}/${id}`)).map((id) => `${claim} ${id}`),
    ...(aws !== undefined && !owner.roles.some((role) => matches(role, aws.role))
      ? [aws.role]
      : []),
    ...(azure !== undefined && !owner.clients.includes(`${azure.tenant}/${azure.client}`)
      ? [`the Entra app ${azure.client}`]
      : []),
    ...Object.keys(aws?.tags ?? {})
      .filter((tag) => !owner.tags.includes(tag))
      .map((tag) => `the tag '${tag}'`),
    ...(gcp === undefined ? [] : gcpExcess(gcp, owner)),
    ...(scopes === null ? [`the audience ${token?.audience ?? ''}`] : []),
    ...(token?.scope ?? [])
      .filter((scope) => scopes !== null && !scopes.includes(scope))
      .map((scope) => `the scope '${scope}'`),
  ]
}

/** An account is named, or with direct federation the provider that the job's own identity is of. */
const gcpExcess = ({ serviceAccount, provider }: GcpGrant, owner: Owner): readonly string[] => {
  if (serviceAccount === null) return owner.providers.includes(provider) ? [] : [provider]
  const known = owner.serviceAccounts.some((account) => matches(account, serviceAccount))
  return known ? [] : [serviceAccount]
}
