import type { Binding, Identity } from './project.ts'

const OBJECT = {
  get: 'storage.objects.get',
  list: 'storage.objects.list',
  create: 'storage.objects.create',
  delete: 'storage.objects.delete',
} as const
const BUCKET = 'storage.buckets.get'

export type Permission =
  (typeof OBJECT)[keyof typeof OBJECT] | typeof BUCKET | 'iam.serviceAccounts.getAccessToken'

/** Predefined roles, as far as this cloud has anything that they permit. */
export const ROLES: Readonly<Record<string, readonly Permission[]>> = {
  'roles/iam.workloadIdentityUser': ['iam.serviceAccounts.getAccessToken'],
  'roles/iam.serviceAccountTokenCreator': ['iam.serviceAccounts.getAccessToken'],
  'roles/iam.serviceAccountUser': [],
  'roles/storage.objectViewer': [OBJECT.get, OBJECT.list],
  'roles/storage.objectCreator': [OBJECT.create],
  'roles/storage.objectUser': Object.values(OBJECT),
  'roles/storage.objectAdmin': Object.values(OBJECT),
  'roles/storage.admin': [...Object.values(OBJECT), BUCKET],
  'roles/storage.legacyBucketReader': [OBJECT.list, BUCKET],
  'roles/storage.legacyBucketWriter': [OBJECT.list, OBJECT.create, OBJECT.delete, BUCKET],
  'roles/storage.legacyObjectReader': [OBJECT.get],
}

/** Does this policy give the permission to this identity? */
export function permits(
  policy: readonly Binding[],
  { number, identity }: { readonly number: string; readonly identity: Identity },
  permission: Permission,
): boolean {
  const members = membersOf(number, identity)
  return policy.some(
    ({ role, member }) => members.includes(member) && ROLES[role]?.includes(permission) === true,
  )
}

/** Every name under which a policy can speak of an identity. */
function membersOf(number: string, identity: Identity): readonly string[] {
  if (identity.kind === 'account') return [`serviceAccount:${identity.account.email}`]
  const { pool, subject, attributes } = identity
  const base = `//iam.googleapis.com/projects/${number}/locations/global/workloadIdentityPools/${pool.id}`
  return [
    `principal:${base}/subject/${subject}`,
    `principalSet:${base}/*`,
    ...Object.entries(attributes).map(
      ([name, value]) => `principalSet:${base}/attribute.${name}/${value}`,
    ),
  ]
}

/** As Google's audit log and its refusals call it. */
export function nameOf(number: string, identity: Identity): string {
  return membersOf(number, identity)[0]?.replace('serviceAccount:', '') ?? ''
}
