import { createHash } from 'node:crypto'
import type { GcpGrant } from '../../policy/grant.ts'
import { accessBoundaryOptions } from '../../policy/target-gcp.ts'
import type { Secret } from '../../secret.ts'
import { rfc3339 } from '../../world.ts'
import { unlike } from './error.ts'
import type { AccessToken } from './sts.ts'
import type { Minted, MintOrder, MintRefusal, SealedGcp } from '../target.ts'

/** Neither a federated token nor a service account's can be taken back: they end with their time. */
export const GCP_REVOCABLE = 'expiry_only'

/** Milliseconds that Google's clock and the way to it may add to what we asked for. */
const CLOCK_SLACK = 60_000

/** The last token of the chain as the job gets it, or a refusal: one that lives longer than asked protects less. */
export const readMinted = (
  { token, expiresAt: end }: AccessToken,
  spec: GcpGrant,
  order: MintOrder,
): Minted<SealedGcp> | MintRefusal => {
  if (end === null || end <= order.now || end > order.expiresAt + CLOCK_SLACK)
    return unlike('ExpirationNotAsAsked')
  const expiresAt = Math.floor(Math.min(order.expiresAt, end) / 1000) * 1000
  return {
    ok: true,
    reply: {
      access_token: token,
      project_id: spec.project,
      service_account: spec.serviceAccount,
      scopes: spec.scopes,
      expires_at: rfc3339(expiresAt),
      revocable: GCP_REVOCABLE,
    },
    facts: factsOf(token, end, spec, order),
    expiresAt,
    revocable: GCP_REVOCABLE,
  }
}

const factsOf = (token: Secret, end: number, spec: GcpGrant, { principal }: MintOrder) => ({
  provider: spec.provider,
  subject: principal.job,
  service_account: spec.serviceAccount,
  project: spec.project,
  scopes: spec.scopes,
  access_boundary_sha256:
    spec.accessBoundary === null ? null : sha256(accessBoundaryOptions(spec.accessBoundary)),
  access_token_sha256: sha256(token.reveal()),
  expiration: rfc3339(end),
})

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
