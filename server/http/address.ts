import type { BlockList } from 'node:net'
import { isIP } from 'node:net'

/** `::ffff:192.0.2.1` is the IPv4 address 192.0.2.1 on a dual-stack socket. */
const unmapped = (address: string): string =>
  address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')

const within = (blocks: BlockList, address: string): boolean =>
  blocks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

/**
 * The caller's address: the socket's peer, or, where that is a trusted proxy, the rightmost hop of
 * X-Forwarded-For that is not one. Anything that is not an address ends the walk: the last proxy stands for it.
 */
export const callerAddress = (
  peer: string | undefined,
  forwardedFor: string | undefined,
  proxies: BlockList,
): string => {
  let address = unmapped(peer ?? '')
  const hops = (forwardedFor ?? '').split(',').map((hop) => unmapped(hop.trim()))
  while (isIP(address) !== 0 && within(proxies, address)) {
    const hop = hops.pop()
    if (hop === undefined || isIP(hop) === 0) break
    address = hop
  }
  return address
}
