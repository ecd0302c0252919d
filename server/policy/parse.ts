import { valuesOf } from './block.ts'
import { kindOf, nameProblem } from './file-names.ts'
import { readGrantFile, type GrantFile, type PolicyContext } from './grant-file.ts'
import type { Grant, PolicyProblem, PolicySet } from './grant.ts'
import { closedBy, readLaws, type Laws } from './laws.ts'
import { withinOwner, withProblems } from './ownership.ts'
import { faultOf, type PolicyFile } from './policy-file.ts'
import { collectFindings } from './problem.ts'

export type { PolicyContext } from './grant-file.ts'
export type { PolicyFile } from './policy-file.ts'

/**
 * The only maker of policy sets. A bad file denies its own grants and the rest loads; a name that two files claim is
 * denied in both; with a law in disorder nothing is granted.
 */
export const parsePolicySet = (
  files: readonly PolicyFile[],
  context: PolicyContext,
  revision: string,
): PolicySet => {
  const laws = readLaws(files, context)
  const read = refuseShared(readFiles(files, laws, context))
  const lawless = refuseSeveralOwners(read, laws)
  const claims = Map.groupBy(
    read.flatMap(({ names }) => names),
    ({ name }) => name,
  )
  const isClaimedOnce = ({ name }: Grant): boolean => claims.get(name)?.length === 1
  const grants = read.flatMap((file) => file.grants).filter(isClaimedOnce)
  const [disorder] = [...laws.problems, ...lawless]
  return {
    revision,
    grants: new Map(grants.map((grant) => [grant.name, grant])),
    guardrails: laws.guardrails,
    problems: [
      ...laws.problems,
      ...lawless,
      ...read.flatMap(({ problems }) => problems),
      ...[...claims.values()].flatMap(refuseTwice),
      ...refuseEmpty(read),
    ],
    closed: disorder === undefined ? null : closedBy(disorder),
    owners: ownersOf(grants, context),
  }
}

const readFiles = (
  files: readonly PolicyFile[],
  { owners }: Laws,
  context: PolicyContext,
): readonly GrantFile[] =>
  [...files]
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map((file) => readOne(file, context))
    .filter((file) => file !== null)
    .map((file) => (owners === null ? file : withinOwner(file, owners, context)))

const readOne = (file: PolicyFile, context: PolicyContext): GrantFile | null => {
  const kind = kindOf(file.path)
  if (kind !== 'grants' && kind !== 'refused') return null
  const fault = kind === 'refused' ? nameProblem(file.path) : faultOf(file)
  if (fault === null) return readGrantFile(file.path, file.text, context)
  return { path: file.path, owner: null, names: [], grants: [], problems: [fault] }
}

/** Two owners never name one cloud identity. IAM tells names apart without regard to case. */
const refuseShared = (files: readonly GrantFile[]): readonly GrantFile[] => {
  const named = files
    .flatMap(({ grants }) => grants)
    .flatMap((grant) => identitiesOf(grant).map((identity) => ({ identity, grant })))
  const owners = Map.groupBy(named, ({ identity }) => identity)
  return files.map((file) => {
    const { say, problems } = collectFindings()
    for (const grant of file.grants) {
      const other = identitiesOf(grant)
        .flatMap((identity) => owners.get(identity) ?? [])
        .find((one) => one.grant.owner !== grant.owner)
      if (other !== undefined)
        say({
          code: 'owners_overlap',
          at: grant.at,
          message: `'${grant.name}' and '${other.grant.name}' of another owner name one cloud identity`,
          hint: 'a role, an app or a service account belongs to one owner',
        })
    }
    return withProblems(file, problems)
  })
}

/** With direct federation the identity is the grant's own name, which no two grants share. */
const identitiesOf = ({ targets: { aws, azure, gcp } }: Grant): readonly string[] => [
  ...(aws === undefined ? [] : [aws.role.toLowerCase()]),
  ...(azure === undefined ? [] : [`${azure.tenant}/${azure.client}`]),
  ...(typeof gcp?.serviceAccount === 'string' ? [gcp.serviceAccount] : []),
]

/** One team may do without `_owners.yaml`; several are kept apart by it or not at all. */
const refuseSeveralOwners = (
  files: readonly GrantFile[],
  { owners }: Laws,
): readonly PolicyProblem[] => {
  const loaded = files.filter(({ grants }) => grants.length > 0)
  const named = loaded.map(({ owner }) => owner).filter((owner) => owner !== null)
  const other = named.find(({ name }) => name !== named[0]?.name)
  if (other === undefined || (owners !== null && owners.byName !== null)) return []
  return [
    {
      code: 'owner_unknown',
      at: other.at,
      message: `there are several owners ('${other.name}' is one) and no _owners.yaml that lists them`,
      hint: 'say in _owners.yaml what each owner may name',
    },
  ]
}

const refuseTwice = (places: GrantFile['names']): readonly PolicyProblem[] =>
  places.length < 2
    ? []
    : places.map(({ name, at }) => ({
        code: 'grant_duplicate',
        at,
        message: `the name '${name}' is claimed more than once, and granted to nobody`,
        hint: 'a grant has one name and one place',
      }))

const refuseEmpty = (files: readonly GrantFile[]): readonly PolicyProblem[] =>
  files.length > 0
    ? []
    : [
        {
          code: 'policy_empty',
          at: { file: '.', line: 1, column: 1 },
          message: 'there are no policies',
          hint: 'add a *.yaml; see policies/README.md',
        },
      ]

const ownersOf = (grants: readonly Grant[], { issuers }: PolicyContext): ReadonlySet<string> =>
  new Set(
    grants.flatMap(({ allow, issuer }) => {
      const claim = issuers.get(issuer)?.dialect.ownerId ?? ''
      const ids = allow.flatMap((block) => valuesOf(block, claim) ?? [])
      return ids.map(({ source }) => `${issuer}/${source}`)
    }),
  )
