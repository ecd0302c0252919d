import type { PartHealth } from './http/admin.ts'
import type { ConfiguredIssuer } from './identity/verify.ts'
import { formatProblem } from './policy/problem.ts'
import { isConfirmed, type PolicySource } from './policy/source.ts'
import type { Health } from './store/store.ts'
import type { World } from './world.ts'

/** The parts whose state decides whether the broker can serve. */
export interface Checked {
  /** Why the public listener takes no requests; null: it does. */
  readonly shut: string | null
  readonly store: { health(): Promise<Health> }
  readonly policies: PolicySource
  /** Milliseconds. */
  readonly maxPolicyAge: number
  readonly issuers: ReadonlyMap<string, ConfiguredIssuer>
  readonly world: Pick<World, 'now'>
}

/** What readyz says, part by part. */
export const healthOf = async (checked: Checked): Promise<readonly PartHealth[]> => [
  part('listener', checked.shut),
  storeHealth(await checked.store.health()),
  ...policyHealth(checked),
  ...[...checked.issuers.values()].map(issuerHealth),
]

const part = (name: string, failure: string | null): PartHealth =>
  failure === null ? { part: name, state: 'ok' } : { part: name, state: 'failed', reason: failure }

const storeHealth = (health: Health): PartHealth => {
  if (!health.ok) return part('store', health.because)
  if (health.summarised === 0) return part('store', null)
  const reason = `past its size: ${health.summarised} refusals were counted and not recorded`
  return { part: 'store', state: 'degraded', reason }
}

/** Too old, or laws in disorder: failed. A file that was refused: degraded, for its own grants are denied. */
const policyHealth = ({ policies, maxPolicyAge, world }: Checked): readonly PartHealth[] => {
  const current = policies.current()
  if (current === null) return [part('policies', 'none are loaded')]
  const { set, seenAt } = current
  if (!isConfirmed(seenAt, world.now(), maxPolicyAge))
    return [part('policies', 'they were not confirmed for too long')]
  if (set.closed !== null) return [part('policies', formatProblem(set.closed))]
  if (set.problems.length === 0) return [part('policies', null)]
  return set.problems.map((problem) => ({
    part: 'policies',
    state: 'degraded',
    reason: formatProblem(problem),
  }))
}

/** Keys that were never asked for are no fault: the first token asks for them. */
const issuerHealth = ({ alias, keys }: ConfiguredIssuer): PartHealth => {
  const { lastError, stale } = keys.health()
  const name = `issuer ${alias}`
  if (lastError === null || stale) return part(name, lastError)
  return { part: name, state: 'degraded', reason: lastError }
}
