import { BlockList, isIPv4 } from 'node:net'

/** Addresses that AWS never sees as a caller's: they stand for another one, or for none (RFC 6890). */
const NOT_PUBLIC: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
]

const notPublic = new BlockList()
for (const [network, bits] of NOT_PUBLIC) notPublic.addSubnet(network, bits)

/**
 * The address to pin credentials to, or null when pinning to it would lock the job out or let others in.
 * IPv4 only: AWS's endpoints answer on IPv4 unless a client asks for dual-stack, so a job that reached
 * us over IPv6 reaches them from an address that we have not seen.
 */
export const pinnable = (address: string | null): string | null => {
  const plain = address?.replace(/^::ffff:(?=\d+\.)/i, '') ?? ''
  return isIPv4(plain) && !notPublic.check(plain) ? plain : null
}
