import { DIALECTS } from '../../server/identity/dialects.ts'
import type { Principal } from '../../server/identity/principal.ts'
import { parsePolicySet, type PolicyContext } from '../../server/policy/parse.ts'
import type { PolicySet } from '../../server/policy/grant.ts'

/** Every edition of GitHub: the same numbers mean different repositories at each. */
export const CONTEXT: PolicyContext = {
  issuers: new Map([
    ['github', { dialect: DIALECTS.github, default: true }],
    ['ghec', { dialect: DIALECTS['github-enterprise-cloud'], default: false }],
    ['eu', { dialect: DIALECTS['github-data-residency'], default: false }],
    ['ghes', { dialect: DIALECTS['github-enterprise-server'], default: false }],
  ]),
  tokenAudiences: ['https://risk.acme.internal'],
}

export const CLAIMS: Readonly<Record<string, string>> = {
  sub: 'repo:acme/payments:ref:refs/heads/main',
  repository: 'acme/payments',
  repository_id: '99120',
  repository_owner: 'acme',
  repository_owner_id: '8841',
  repository_visibility: 'private',
  actor: 'octocat',
  actor_id: '583231',
  event_name: 'push',
  ref: 'refs/heads/main',
  ref_type: 'branch',
  ref_protected: 'true',
  head_ref: '',
  base_ref: '',
  sha: '2b1c7a5f0e9d8c7b6a594837261504f3e2d1c0ba',
  workflow: 'deploy',
  workflow_ref: 'acme/payments/.github/workflows/deploy.yml@refs/heads/main',
  job_workflow_ref: 'acme/payments/.github/workflows/deploy.yml@refs/heads/main',
  run_id: '18170960955',
  run_number: '10',
  run_attempt: '1',
  check_run_id: '51725241954',
  runner_environment: 'github-hosted',
}

/** Claims as verify makes them: null removes one. */
export const claimsWith = (
  changes: Readonly<Record<string, string | null>>,
  base: Readonly<Record<string, string>> = CLAIMS,
): Principal['claims'] => {
  const kept = Object.entries({ ...base, ...changes }).filter(([, value]) => value !== null)
  const claims = Object.create(null) as Record<string, string>
  for (const [name, value] of kept) if (value !== null) claims[name] = value
  return Object.freeze(claims)
}

export const principalWith = (
  changes: Readonly<Record<string, string | null>> = {},
  more: Partial<Principal> = {},
): Principal => {
  const claims = claimsWith(changes)
  return {
    issuer: 'github',
    dialect: CONTEXT.issuers.get(more.issuer ?? 'github')?.dialect ?? DIALECTS.github,
    claims,
    repositoryId: claims['repository_id'] ?? '',
    ownerId: claims['repository_owner_id'] ?? '',
    job: 'github/99120/18170960955/1/51725241954',
    jkt: 'SBPFGo8bPOMBkZU7zYDmpp9dJyIuyVnbLI4jJQFS7NE',
    jti: '4a576b35-ff09-41c5-af2c-ca62dd89b76a',
    proofJti: 'a1',
    kid: 'k1',
    tokenHash: 'aGFzaA',
    replayableUntil: 0,
    ...more,
  }
}

export const load = (
  files: Readonly<Record<string, string>>,
  context: PolicyContext = CONTEXT,
): PolicySet =>
  parsePolicySet(
    Object.entries(files).map(([path, text]) => ({ path, text })),
    context,
    'rev1',
  )

/** A policy file with one grant; lines replace or add to its parts, as YAML flow. */
export const fileWith = (parts: {
  readonly allow?: string
  readonly aws?: string | null
  readonly more?: string
  readonly name?: string
  readonly top?: string
}): string =>
  [
    'version: 1',
    parts.top ?? '',
    'grants:',
    `  ${parts.name ?? 'payments-deploy'}:`,
    `    allow: ${parts.allow ?? '{repository_owner_id: 8841, repository_id: 99120, repository: acme/payments}'}`,
    parts.more === undefined ? '' : `    ${parts.more}`,
    parts.aws === null ? '' : `    aws: ${parts.aws ?? `{role: '${ROLE}', region: eu-west-1}`}`,
    '',
  ]
    .filter((line, i, all) => line !== '' || i === all.length - 1)
    .join('\n')

export const ROLE = 'arn:aws:iam::111122223333:role/tvm/payments-deploy'
