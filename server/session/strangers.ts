import { isIP, isIPv4 } from 'node:net'
import type { AuditBody } from '../audit/record.ts'

/** What is refused from memory, before anyone is known: addresses in a hurry, owners that no grant names. */
export interface Strangers {
  /** Takes one request from the bucket of this address; false when it is empty. `now` in milliseconds. */
  takeAddress(address: string, now: number): boolean
  /** Counts one exchange that was refused with `owner_unknown`. */
  countOwner(issuer: string, ownerId: string, now: number): void
  /** All that was counted since the last flush, as one audit body, and forgets it; null when nothing was. Once a minute. */
  flush(now: number): AuditBody | null
}

export interface StrangersOptions {
  /** Requests an address may send at once. */
  readonly burst?: number
  /** Requests a second that it may send after that. */
  readonly perSecond?: number
  /** Addresses remembered; beyond that the one that was silent for longest is forgotten, which can only favour it. */
  readonly addresses?: number
  /** Owners told apart in one summary; those beyond are counted together. */
  readonly owners?: number
}

/** Runners share addresses (NAT, GitHub's own pools): the default lets 600 jobs behind one address start together. */
export const makeStrangers = (options: StrangersOptions = {}): Strangers => {
  const { burst = 600, perSecond = 20, addresses = 50_000, owners = 100 } = options
  return {
    takeAddress: makeBuckets({ burst, perSecond, most: addresses }),
    ...makeSummary(owners),
  }
}

interface Tokens {
  readonly left: number
  readonly at: number
}

const makeBuckets = (rules: { burst: number; perSecond: number; most: number }) => {
  const buckets = new Map<string, Tokens>()
  return (address: string, now: number): boolean => {
    const key = networkOf(address)
    const before = buckets.get(key) ?? { left: rules.burst, at: now }
    const refill = (Math.max(0, now - before.at) / 1000) * rules.perSecond
    const left = Math.min(rules.burst, before.left + refill)
    // Deleted first, so that the map stays in the order of the last request.
    buckets.delete(key)
    if (buckets.size >= rules.most) forgetOldest(buckets)
    buckets.set(key, { left: left >= 1 ? left - 1 : left, at: now })
    return left >= 1
  }
}

const forgetOldest = (buckets: Map<string, Tokens>): void => {
  const oldest = buckets.keys().next()
  if (oldest.done !== true) buckets.delete(oldest.value)
}

/**
 * The address that a bucket stands for: IPv4 whole, also where it is mapped into IPv6; of IPv6 the first 64 bits, for one
 * customer has at least that many. What is no address shares one bucket.
 */
export const networkOf = (address: string): string => {
  const [bare = ''] = address.split('%', 1)
  if (isIPv4(bare)) return bare
  if (isIP(bare) === 0) return 'unknown'
  const groups = groupsOf(bare)
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  return mapped
    ? groups.slice(6).flatMap(bytesOf).join('.')
    : groups
        .slice(0, 4)
        .map((group) => group.toString(16))
        .join(':')
}

const bytesOf = (group: number): number[] => [group >> 8, group & 0xff]

/** The eight groups of an address that `isIP` has accepted. */
const groupsOf = (address: string): number[] => {
  const [head = '', tail] = address.split('::')
  const first = readGroups(head)
  if (tail === undefined) return first
  const last = readGroups(tail)
  return [...first, ...Array<number>(8 - first.length - last.length).fill(0), ...last]
}

const readGroups = (text: string): number[] =>
  text === ''
    ? []
    : text.split(':').flatMap((part) => (isIPv4(part) ? fromIPv4(part) : [hex(part)]))

const hex = (text: string): number => Number.parseInt(text, 16)

const fromIPv4 = (text: string): number[] => {
  const [a = 0, b = 0, c = 0, d = 0] = text.split('.').map(Number)
  return [a * 256 + b, c * 256 + d]
}

interface Stranger {
  readonly issuer: string
  readonly owner_id: string
  readonly count: number
}

const makeSummary = (most: number): Pick<Strangers, 'countOwner' | 'flush'> => {
  const owners = new Map<string, Stranger>()
  let others = 0
  let since = 0
  return {
    countOwner: (issuer, ownerId, now) => {
      if (owners.size === 0) since = now
      const key = `${issuer}/${ownerId}`
      const known = owners.get(key)
      if (known === undefined && owners.size >= most) others += 1
      else owners.set(key, { issuer, owner_id: ownerId, count: (known?.count ?? 0) + 1 })
    },
    flush: (now) => {
      if (owners.size === 0) return null
      const told = [...owners.values()].map((one) => ({ ...one }))
      const refused = told.reduce((sum, { count }) => sum + count, others)
      const body = { since, until: now, refused, owners: told, others }
      owners.clear()
      others = 0
      return { event: 'strangers.summary', ...body }
    },
  }
}
