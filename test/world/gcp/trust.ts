import type { ProviderInput } from './project.ts'

/** The provider that a pool needs to take the broker's tokens, and nobody else's. */
export interface TvmProvider {
  readonly pool: string
  readonly id: string
  readonly issuerUri: string
}

/** The job is the subject, so that audit logs name it; the grant is what bindings speak of. */
export function tvmProvider({ pool, id, issuerUri }: TvmProvider): ProviderInput {
  return {
    pool,
    id,
    issuerUri,
    attributeMapping: {
      'google.subject': 'assertion.job',
      'attribute.grant': 'assertion.grant',
      'attribute.repository_id': 'assertion.repository_id',
    },
    attributeCondition: "assertion.sub == 'grant:' + attribute.grant",
  }
}

/** Whoever holds a grant, whichever job it is: the member of a binding. `provider` is the name of the broker's provider. */
export function tvmMember(provider: string, grant: string): string {
  const pool = provider.replace(/\/providers\/[^/]+$/, '')
  return `principalSet://iam.googleapis.com/${pool}/attribute.grant/${grant}`
}
