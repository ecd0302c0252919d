import { DIALECTS } from '../../server/identity/dialects.ts'
import type { Principal } from '../../server/identity/principal.ts'
import { hashToken, type Session } from '../../server/session/session.ts'

export const NOW = 1_800_000_000_000
export const MINUTE = 60_000

export const KEY = new Uint8Array(32).fill(7)

/** One job of octo-org/octo-repo, as `verify` would make it. */
export const principal = (changes: Partial<Principal> = {}): Principal => ({
  issuer: 'github',
  dialect: DIALECTS.github,
  claims: {
    repository: 'octo-org/octo-repo',
    repository_id: '99120',
    repository_owner_id: '8841',
    actor_id: '4242',
    workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
    job_workflow_ref: 'octo-org/shared/.github/workflows/release.yml@refs/tags/v1',
  },
  repositoryId: '99120',
  ownerId: '8841',
  job: 'github/99120/17/1/555',
  jkt: 'the-first-key',
  jti: 'token-1',
  proofJti: 'proof-1',
  kid: 'key-1',
  tokenHash: hashToken('an identity token'),
  replayableUntil: NOW + 10 * MINUTE,
  ...changes,
})

export const session = (changes: Partial<Session> = {}): Session => ({
  id: 'ses_01J00000000000000000000001',
  state: 'pending',
  grant: 'deploy',
  issuer: 'github',
  job: 'github/99120/17/1/555',
  jkt: 'the-first-key',
  tokenHash: hashToken('tvm_'),
  scope: 'end',
  createdAt: NOW,
  expiresAt: NOW + 15 * MINUTE,
  renewUntil: NOW + 15 * MINUTE,
  decisionId: 'dec_01J00000000000000000000001',
  revision: 'abc',
  subjects: ['all', 'grant:deploy'],
  ...changes,
})
