import { describe, expect, it } from 'vitest'
import { pinnable } from '../../../server/targets/aws/address.ts'

describe('an address to pin credentials to', () => {
  it.each([
    ['no address', null],
    ['nothing', ''],
    ['text that is no address', 'runner.example.com'],
    ['an address with a port', '203.0.113.7:443'],
    ['an address in octal', '0203.0.113.7'],
    ['a block', '203.0.113.0/24'],
    ['the unspecified address', '0.0.0.0'],
    ['loopback', '127.0.0.1'],
    ['private 10/8', '10.1.2.3'],
    ['private 172.16/12, first', '172.16.0.0'],
    ['private 172.16/12, last', '172.31.255.255'],
    ['private 192.168/16', '192.168.178.2'],
    ['link-local, where cloud metadata lives', '169.254.169.254'],
    ['carrier-grade NAT', '100.64.0.1'],
    ['multicast', '224.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['a private address in IPv6 clothes', '::ffff:10.1.2.3'],
    ['IPv6 loopback', '::1'],
    ['IPv6 unique local', 'fd00::1'],
    ['IPv6 link-local', 'fe80::1'],
    ['IPv6, which the endpoints of AWS do not see', '2001:db8::7'],
  ])('is not %s', (_, address) => {
    expect(pinnable(address)).toBeNull()
  })

  it.each([
    ['a public one', '203.0.113.7', '203.0.113.7'],
    ['the first after 172.16/12', '172.32.0.0', '172.32.0.0'],
    ['the last before 100.64/10', '100.63.255.255', '100.63.255.255'],
    ['a public one as a dual-stack socket shows it', '::ffff:203.0.113.7', '203.0.113.7'],
  ])('is %s', (_, address, plain) => {
    expect(pinnable(address)).toBe(plain)
  })
})
